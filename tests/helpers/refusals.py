"""What is printed, and what a folder holds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prunectl.errors import FileError


def refusal(call: Callable[[], object]) -> str:
    """The one line of a refused call."""
    with pytest.raises(FileError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
