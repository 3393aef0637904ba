"""Neither read nor write what belongs to the user."""

from pathlib import Path

import pytest

from prunectl.data.sets import idx


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put folders of the test's own in place of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PRUNECTL_DATA_DIR", raising=False)
    monkeypatch.setattr(idx, "DEBIAN", tmp_path / "debian")
