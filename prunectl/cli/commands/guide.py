"""prunectl guide."""

from typing import Annotated

import typer

from prunectl.cli import output
from prunectl.cli.guide_pages import page, pages


def _starting_with(incomplete: str) -> list[str]:
    return [name for name in pages() if name.startswith(incomplete)]


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="PAGE", help="Read this page of the guide.", autocompletion=_starting_with)
    ] = None,
) -> None:
    """Read the guide: the list of its pages, or one page."""
    if name is not None:
        output.markdown(page(name))
        return
    known = pages()
    width = max(map(len, known))
    for each, about in known.items():
        output.emit(f"{each:{width}}  {about}")
