"""Tables in a Markdown file: what follows a marker is replaced, the words around it stay."""

from collections.abc import Mapping, Sequence
from pathlib import Path


def fill(path: Path, tables: Mapping[str, Sequence[str]]) -> None:
    """Put each table between `<!-- NAME -->` and the next empty line; every name has a marker in the file."""
    text = path.read_text(encoding="utf-8")
    for name, lines in tables.items():
        marker = f"<!-- {name} -->\n"
        assert text.count(marker) == 1, f"{path.name} has no marker {marker.strip()}"
        before, _, after = text.partition(marker)
        rest = f"\n{after}".partition("\n\n")[2].lstrip("\n")  # the table may be empty
        text = f"{before}{marker}" + "\n".join(lines) + f"\n\n{rest}"
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
