"""An export takes the place of an earlier one, and the files of others stay."""

from pathlib import Path

import pytest

from prunectl.exchange import swapped
from prunectl.exchange.swapped import take_place
from tests.helpers.running import listing

OURS = ("config.json", "model.safetensors", "model.py")


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """A new export, and an earlier one with files of others."""
    new, old = tmp_path / ".hub", tmp_path / "hub"
    for folder, name in ((new, "model.safetensors"), (old, "model.py")):
        folder.mkdir()
        (folder / name).write_text(folder.name)
        (folder / "config.json").write_text(folder.name)
    (old / ".git").mkdir()
    (old / ".git" / "HEAD").write_text("main")
    (old / "notes").write_text("mine")
    (old / "link").symlink_to("nowhere")
    old.chmod(0o750)
    return new, old


def check(folder: Path) -> None:
    assert listing(folder).keys() == {".git", ".git/HEAD", "config.json", "link", "model.safetensors", "notes"}
    texts = {name: (folder / name).read_text() for name in ("config.json", "model.safetensors", "notes", ".git/HEAD")}
    assert list(texts.values()) == [".hub", ".hub", "mine", "main"]
    assert folder.stat().st_mode & 0o777 == 0o750
    assert (folder / "link").readlink() == Path("nowhere")


def test_it_takes_the_place_in_one_step(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = two
    possible = swapped._exchanged(new, old) and swapped._exchanged(old, new)
    moved: list[str] = []
    move = Path.replace
    monkeypatch.setattr(Path, "replace", lambda one, other: moved.append(one.name) or move(one, other))
    take_place(new, old, OURS)
    assert moved == ([] if possible else ["config.json", "model.safetensors"])
    check(old)
    assert (new / "config.json").read_text() == "hub"


@pytest.mark.parametrize("why", ["no exchange", "no links", "runs there", "a link leads there"])
def test_else_its_files_move_one_by_one(why: str, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = two
    place = old
    if why == "no exchange":
        monkeypatch.setattr(swapped, "_exchanged", lambda *_: False)
    elif why == "no links":
        monkeypatch.setattr("os.link", lambda *_, **__: (_ for _ in ()).throw(OSError("no links")))
    elif why == "runs there":
        monkeypatch.chdir(old)
    else:
        place = old.with_name("leads")
        place.symlink_to(old)
    identity = old.stat().st_ino
    take_place(new, place, OURS)
    check(old)
    assert old.stat().st_ino == identity
