"""Writes the page of `prunectl report -o`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prunectl.cli import output, progress
from prunectl.errors import FileError, OptionError, PrunectlError

if TYPE_CHECKING:
    from prunectl.checkpoints.checkpoint import Checkpoint
    from prunectl.data.images import ImageData
    from prunectl.reporting.findings import Look
    from prunectl.reporting.page.best import Network
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
    """Read, analyse up to twelve networks, draw, write, and print the page's path."""
    from prunectl.checkpoints import files
    from prunectl.reporting.page.data import shown_networks
    from prunectl.reporting.page.figures.figure import require
    from prunectl.reporting.page.page import render
    from prunectl.reporting.sources import collect, unmeasured_text

    if not path.name.endswith(SUFFIXES):
        raise OptionError(f"the name of a page must end in .html, got {path}; --csv, --json and so on print tables")
    files.check_target(path, force=force)
    require()
    with progress.progress_bar("report") as bar:
        bar.step("reading checkpoints, results and logs")
        sources = collect([*paths, *([inside] if inside is not None and inside not in paths else [])], parents=parents)
        focus = None if inside is None else _named(sources, inside)
        networks = shown_networks(sources, focus)
        waiting = unmeasured_text(sources)
        if waiting is not None:
            output.say(f"report: no accuracy yet: {waiting}; run `prunectl eval` on them first")
        looks = _looks(sources, networks, bar.step, must=inside, run=run, data_dir=data_dir)
        bar.step("drawing")
        files.write(path, render(sources, focus, looks).encode(), force=force)
    for notice in sources.notices:
        output.say(f"report: {notice}")
    output.emit(path)


def _named(sources: "Sources", inside: Path) -> "Source":
    """The network of --inside.

    Raises:
        FileError: only its results exist.
    """
    found = next((source for source in sources.given if source.path == inside and source.seen is not None), None)
    if found is None:
        raise FileError(
            f"cannot show the layers of {inside}: no such checkpoint; expected an existing NAME.safetensors"
        )
    return found


def _looks(
    sources: "Sources",
    networks: "Sequence[Network]",
    stage: Callable[[str], None],
    *,
    must: Path | None,
    run: bool,
    data_dir: Path | None,
) -> "dict[Path, Look]":
    """Analyse networks; a failure prints a line on stderr, except for the one that `must` be analysed."""
    from prunectl.reporting.network.looks import looks

    def images(checkpoint: "Checkpoint") -> "ImageData":
        from prunectl.cli.start import images_for

        return images_for(checkpoint, None, data_dir)

    def fails(path: Path, error: PrunectlError) -> None:
        if path == must:
            raise error
        output.say(f"report: cannot analyse {path}: {error}")

    return looks(sources, networks, images=images, run=run, fails=fails, stage=stage)
