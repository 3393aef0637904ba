"""Files that an earlier prunectl wrote: every command reads them, and the same commands make the same tensors again."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.marks import one_in
from tests.helpers.running import run_cli

EARLIER = Path(__file__).parent / "earlier"
NAMES = sorted(
    path.name.removesuffix(".safetensors")
    for path in EARLIER.glob("*.safetensors")
    if path.name.count(".") == 1 or path.name.endswith(".prune.safetensors")
)
READING = ("inspect", "inspect --json", "log", "log --json", "explain", "eval --no-latency", "report")
RESUMED = ("imp", "gates")
ROUNDING = 2e-4
"""What rounding makes of these few steps on other processors, at most; other draws make 100 times that."""
CHANGED = ("rigl.safetensors", "rigl.mask.safetensors")
"""A connection that is dropped and grown in one round now starts anew, as in its source: other ones grow after it."""


@pytest.fixture
def earlier(tmp_path, monkeypatch) -> Path:
    """A copy of the fixture, from which its commands run, with its code trusted and the settings it was made with."""
    folder = tmp_path / "earlier"
    shutil.copytree(EARLIER, folder)
    monkeypatch.chdir(folder)
    for name, value in {"TRUST": "1", "SUBSET": "128", "NORMALIZE": "none", "MAX_PRUNED": "1"}.items():
        monkeypatch.setenv(f"PRUNECTL_{name}", value)
    return folder


def _script() -> list[str]:
    """The pipelines of make.sh, with `$small` filled in."""
    text = (EARLIER / "make.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    small = next(line for line in text.splitlines() if line.startswith("small=")).partition("=")[2].strip('"')
    return [line.replace("$small", small) for line in text.splitlines() if line.startswith("prunectl ")]


def _same(found: Path, expected: Path, *, exactly: bool) -> None:
    """The same tensors: to the bit, or on another processor, whose sums round otherwise, within ROUNDING.

    What was changed on purpose has the same names and shapes.
    """
    ours, theirs = load_file(found), load_file(expected)
    assert ours.keys() == theirs.keys()
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}
    if expected.name in CHANGED:
        return
    if exactly:
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), expected.name
    else:
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], atol=ROUNDING, rtol=0, msg=f"{expected.name}: {name}")


def _rounds_alike(folder: Path) -> bool:
    """Whether torch and this processor round as those that made the fixture: its first training comes out equal."""
    ours, theirs = (load_file(each / "dense.safetensors") for each in (folder, EARLIER))
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_fixture_holds_every_kind() -> None:
    """Dense, masked by weights, nodes, both and a pattern, shrunk in each way, pruned during training, stopped."""
    made = "alive both dense dense.prune during gates graph imp masked modules nodes pattern rigl swapped vit vit.prune"
    assert made.split() == NAMES


@pytest.mark.parametrize("name", one_in(2, NAMES))
def test_every_reading_command_takes_it(earlier, name) -> None:
    for line in READING:
        ran = run_cli(earlier, *line.split(), f"{name}.safetensors")
        refused = name == "alive" and line.startswith("explain")
        assert ran.code == refused, (line, ran.err)
        assert ("equals no masked one" in ran.err) == refused


@pytest.mark.parametrize("name", one_in(5, NAMES))
def test_it_can_be_pruned_trained_and_shrunk_further(earlier, name) -> None:
    line = f"prune {name}.safetensors --criterion magnitude --sparsity 0.9 --seed 3 -o next.safetensors"
    assert run_cli(earlier, *line.split()).code == 0
    assert run_cli(earlier, "train", "next.safetensors", "--epochs", 1).code == 0
    ran = run_cli(earlier, "shrink", "next.train.safetensors")
    assert ran.code == (name == "alive"), ran.err


def test_the_differences_of_two_are_told(earlier) -> None:
    assert run_cli(earlier, "diff", "dense.safetensors", "masked.safetensors").code == 0
    assert run_cli(earlier, "diff", "dense.safetensors", "modules.safetensors").code == 0


def test_a_history_leads_to_the_same_tensors(earlier) -> None:
    """Headers have got more fields since then."""
    ran = run_cli(earlier, "rerun", "modules.safetensors", "--json")
    record = json.loads(ran.out)
    assert record["same_masks"], ran.err
    assert max(record["largest_difference"].values(), default=0) <= ROUNDING, ran.err


@pytest.mark.parametrize("name", RESUMED)
def test_a_training_that_was_stopped_goes_on(earlier, name) -> None:
    ran = run_cli(earlier, "train", "--resume", f"{name}.resume.safetensors", "-o", "done.safetensors")
    assert ran.code == 0, ran.err
    resumed = load_file(earlier / "done.safetensors")
    line = next(line for line in _script() if f"-o {name}.safetensors" in line)
    whole = shlex.split(line.replace(" --max-minutes 0", "").replace(f"-o {name}", f"-o {name}-whole"))
    assert run_cli(earlier, *whole[1:]).code == 0
    at_once = load_file(earlier / f"{name}-whole.safetensors")
    assert resumed.keys() == at_once.keys()
    assert {k: v.shape for k, v in resumed.items()} == {k: v.shape for k, v in at_once.items()}


def test_a_sweep_that_is_done_has_nothing_to_do(earlier) -> None:
    ran = run_cli(earlier, "sweep", "plan.toml", "--out", "swept", "--dry-run")
    assert ran.code == 0, ran.err
    assert "6 already done" in ran.err, ran.err
    assert run_cli(earlier, "report", "swept", "--json").code == 0


def test_the_same_commands_make_the_same_tensors(earlier, tmp_path) -> None:
    """Every pipeline that made the fixture, but the sweep: what it writes equals what was written."""
    folder = tmp_path / "again"
    folder.mkdir()
    shutil.copy(EARLIER / "networks.py", folder)
    for line in _script()[:-1]:
        out = ""
        for command in line.split(" | "):
            ran = run_cli(folder, *shlex.split(command)[1:], stdin=out)
            assert ran.code == 0, (command, ran.err)
            out = ran.out
    exactly = _rounds_alike(folder)
    for path in (EARLIER / f"{name}{kind}safetensors" for name in NAMES for kind in (".", ".mask.")):
        if path.exists():
            _same(folder / path.name, path, exactly=exactly)
    records = [json.loads(line)["accuracy"] for line in _lines(folder, "modules")]
    assert records == [json.loads(line)["accuracy"] for line in _lines(EARLIER, "modules")]


def _lines(folder: Path, name: str) -> list[str]:
    return (folder / f"{name}.results.jsonl").read_text(encoding="utf-8").splitlines()
