"""The guide: Markdown pages beside the code, listed by `guide/README.md`."""

import re
from pathlib import Path

import prunectl
from prunectl.errors import FileError
from prunectl.plugins.registry import unknown

FOLDER = Path(prunectl.__file__).parent / "guide"
INDEX = "README"
_LISTED = re.compile(r"^- \[(?P<name>[\w-]+)\]\([\w-]+\.md\): (?P<about>.+)$", re.MULTILINE)
_PICTURE = re.compile(r"!\[(?P<text>[^\]]+)\]\((?P<name>[\w-]+\.svg)\)")
_PAGE = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<name>[\w-]+)\.md(?:#[\w-]+)?\)")


def pages() -> dict[str, str]:
    """The subject of each page, by name, in reading order."""
    return {found["name"]: found["about"] for found in _LISTED.finditer(_read(INDEX))}


def page(name: str) -> str:
    """The Markdown of a page, with links to other pages as commands and pictures as text.

    Raises:
        UnknownName: no page has this name; the message suggests the nearest one.
    """
    wanted = name.lower().removesuffix(".md")
    known = pages()
    if wanted not in known:
        raise unknown("page of the guide", name, known)
    return _PAGE.sub(_as_command, _PICTURE.sub(r"Picture `\g<name>`: \g<text>.", _read(wanted)))


def _as_command(link: re.Match[str]) -> str:
    command = f"`prunectl guide {link['name']}`"
    return command if link["text"] == link["name"] else f"{link['text']} ({command})"


def _read(name: str) -> str:
    path = FOLDER / f"{name}.md"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}; reinstall prunectl") from error
