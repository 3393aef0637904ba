"""The page that `prunectl report -o` writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prunectl.cli import output, progress
from prunectl.errors import FileError, OptionError, PrunectlError

if TYPE_CHECKING:
    from prunectl.checkpoints.checkpoint import Checkpoint
    from prunectl.data.images import ImageData
    from prunectl.reporting.findings import Look
    from prunectl.reporting.sources import Source, Sources

SUFFIXES = (".html", ".htm")


def write_page(
    paths: Sequence[Path],
    path: Path,
    *,
    parents: bool = False,
    inside: Path | None = None,
    run: bool = True,
    data_dir: Path | None = None,
    force: bool = False,
) -> None:
    """Read, look into one network, draw, write, and print the page's path."""
    from prunectl.checkpoints import files
    from prunectl.reporting.page.data import focus_of
    from prunectl.reporting.page.figures.figure import require
    from prunectl.reporting.page.page import render
    from prunectl.reporting.sources import collect

    if not path.name.endswith(SUFFIXES):
        raise OptionError(f"a page's name ends in .html, got {path}")
    files.check_target(path, force=force)
    require()
    with progress.progress_bar("report", 3) as bar:
        sources = collect([*paths, *([inside] if inside is not None and inside not in paths else [])], parents=parents)
        focus = _named(sources, inside) if inside is not None else focus_of(sources)
        bar.update(1, lambda: f"looking into {focus.path}" if focus else "drawing")
        look = None if focus is None else _look(sources, focus, must=inside is not None, run=run, data_dir=data_dir)
        bar.update(2, lambda: "drawing")
        files.write(path, render(sources, focus, look).encode())
    for notice in sources.notices:
        output.say(f"report: {notice}")
    output.emit(path)


def _named(sources: "Sources", inside: Path) -> "Source":
    """The network of --inside.

    Raises:
        FileError: only its results are left.
    """
    found = next((source for source in sources.given if source.path == inside and source.seen is not None), None)
    if found is None:
        raise FileError(f"cannot look into {inside}: no such checkpoint; give a NAME.safetensors that is there")
    return found


def _look(sources: "Sources", focus: "Source", *, must: bool, run: bool, data_dir: Path | None) -> "Look | None":
    """Look into a network; unless it `must` be, a failure is a line on stderr."""
    from prunectl.reporting.network.look import look

    def images(checkpoint: "Checkpoint") -> "ImageData":
        from prunectl.cli.start import images_for

        return images_for(checkpoint, None, data_dir)

    try:
        return look(focus, sources.lineage[focus.path], images=images, run=run)
    except PrunectlError as error:
        if must:
            raise
        output.say(f"report: cannot look into {focus.path}: {error}")
        return None
