"""Networks in other types than float32, and networks that no training can change."""

from pathlib import Path

import pytest

from prunectl.checkpoints.checkpoint import read
from tests.helpers.marks import quick
from tests.helpers.odd_networks import TYPES, UNTRAINABLE
from tests.helpers.running import run_cli, run_line

NETWORK = ["--model", "tests.helpers.odd_networks:pick", "--data", "synthetic", "--subset", 128]


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")


@pytest.mark.parametrize("which", quick([*TYPES, "lazy", "spectral norm"], ["bfloat16", "lazy"]))
def test_networks_of_any_type_go_through_every_command(which: str, tmp_path: Path) -> None:
    begun = run_cli(tmp_path, "train", *NETWORK, "-M", f"which={which}", "--epochs", 1, "-o", "a.safetensors")
    assert (begun.code, begun.out) == (0, "a.safetensors\n"), begun.err
    line = "prunectl prune a.safetensors -c snap -s 0.3 | prunectl shrink | prunectl train --epochs 1"
    ran = run_line(tmp_path, f"{line} | prunectl eval --no-latency")
    assert ran.code == 0, ran.err
    end = read(tmp_path / ran.out.strip())
    assert end.history[-2].result["proof"]["float64"] < 1e-10
    if which in TYPES:
        assert {str(p.dtype) for p in end.model.parameters()} == {f"torch.{which}"}
        assert end.proof.keys() == {"float64", "float32", which}


@pytest.mark.parametrize(("which", "words"), [(which, words) for which, (_, words) in UNTRAINABLE.items()])
def test_what_cannot_be_trained_is_one_line(which: str, words: str, tmp_path: Path) -> None:
    network = [*NETWORK, "-M", f"which={which}"]
    trained = run_cli(tmp_path, "train", *network, "--epochs", 1)
    assert (trained.code, trained.out) == (1, "")
    assert words in trained.err
    assert trained.err.count("\n") == 1
    line = "prunectl shrink x.safetensors | prunectl eval --no-latency"
    assert run_cli(tmp_path, "prune", *network, "-c", "structured-random", "-s", 0.3, "-o", "x.safetensors").code == 0
    assert run_line(tmp_path, line).code == 0


def test_a_criterion_that_needs_gradients_says_that_there_are_none(tmp_path: Path) -> None:
    for which, words in {"in place": "an in-place operation", "without gradients": "no parameter"}.items():
        ran = run_cli(tmp_path, "prune", *NETWORK, "-M", f"which={which}", "-c", "snip", "-s", 0.5)
        assert ran.code == 1
        assert f"no backward pass: {words}" in ran.err.replace("its outputs depend on ", "")
        assert ran.err.count("\n") == 1
