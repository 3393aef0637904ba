"""The page that `prunectl report -o` writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prunectl.cli import output
from prunectl.errors import OptionError, PrunectlError

if TYPE_CHECKING:
    from prunectl.checkpoint import Checkpoint
    from prunectl.images import ImageData
    from prunectl.report.sources import Source, Sources

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
    from prunectl import files
    from prunectl.report.figures.figure import require
    from prunectl.report.page import render
    from prunectl.report.sources import collect

    if not path.name.endswith(SUFFIXES):
        raise OptionError(f"a page's name ends in .html, got {path}")
    files.check_target(path, force=force)
    require()
    sources = collect([*paths, *([inside] if inside is not None and inside not in paths else [])], parents=parents)
    focus = _focus(sources, inside)
    look = None
    if focus is not None:
        from prunectl.report.network.look import look as look_into

        def images(checkpoint: "Checkpoint") -> "ImageData":
            from prunectl.cli.start import images_for

            return images_for(checkpoint, None, data_dir)

        try:
            look = look_into(focus, sources.lineage[focus.path], images=images, run=run)
        except PrunectlError as error:
            if inside is not None:
                raise
            output.say(f"report: cannot look into {focus.path}: {error}")
    files.write(path, render(sources, focus, look).encode())
    for notice in sources.notices:
        output.say(f"report: {notice}")
    output.emit(path)


def _focus(sources: "Sources", inside: Path | None) -> "Source | None":
    """The network that the page looks into: the one asked for, else the last one that is there."""
    there = [source for source in sources.given if source.seen is not None]
    if inside is not None:
        return next(source for source in there if source.path == inside)
    return there[-1] if there else None
