"""Tables in a Markdown file: what follows a marker is replaced, the words around it stay."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path


def fill(path: Path, tables: Mapping[str, Sequence[str]]) -> None:
    """Put each table between `<!-- NAME -->` and the next empty line; every name has a marker in the file."""
    text = path.read_text(encoding="utf-8")
    for name, lines in tables.items():
        marker = f"<!-- {name} -->\n"
        assert text.count(marker) == 1, f"{path.name} has no marker {marker.strip()}"
        table = marker + "\n".join(lines) + "\n\n"
        text = re.sub(re.escape(marker) + r"(?:.+\n?)*\n*", lambda _, new=table: new, text)  # type: ignore[misc]
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
