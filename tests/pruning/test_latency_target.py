"""A latency is missed only where its whole interval is above the target: in the exit code, in Python, in the file."""

import warnings
from pathlib import Path

import pytest
from torch import nn

import prunectl
from prunectl.checkpoints.checkpoint import read
from prunectl.measuring.latency import Ratio
from prunectl.pruning.latency_target import missed, undecided
from prunectl.pruning.node_costs import BudgetMeter

FITS, HOLDS, WIDE, MISSES = (
    Ratio(0.48, 0.47, 0.49),
    Ratio(0.505, 0.495, 0.515),
    Ratio(0.52, 0.45, 0.6),
    Ratio(0.52, 0.501, 0.53),
)


def result(found: Ratio) -> dict[str, float]:
    return {"latency": found.value, "latency_low": found.low, "latency_high": found.high}


@pytest.mark.parametrize(
    ("found", "says"), [(FITS, (False, False)), (HOLDS, (False, False)), (WIDE, (False, True)), (MISSES, (True, False))]
)
def test_only_a_whole_interval_above_the_target_misses_it(found: Ratio, says: tuple[bool, bool]) -> None:
    for text in ("2x", "0.5x"):
        messages = [verdict({"latency": text}, result(found)) for verdict in (missed, undecided)]
        assert tuple(message is not None for message in messages) == says


def test_a_file_without_an_interval_is_judged_by_its_value() -> None:
    assert missed({"latency": "2x"}, {"latency": 0.51}) is not None
    assert missed({"latency": "2x"}, {"latency": 0.5}) is None is undecided({"latency": "2x"}, {"latency": 0.51})
    assert missed({"flops": "2x"}, {"flops": 10}) is None


@pytest.mark.parametrize(("last", "code"), [(HOLDS, 0), (WIDE, 0), (MISSES, 3)])
def test_the_exit_code_and_the_history(last: Ratio, code: int, net: Path, raw, monkeypatch) -> None:
    monkeypatch.setattr(BudgetMeter, "latency", lambda _, gone, limit=None: last if limit is None else FITS)
    ran = raw("prune", net.name, "-c", "depgraph", "--latency", "2x", "-o", "x.safetensors")
    assert (ran.code, ran.out) == (code, "x.safetensors\n"), ran.err
    assert f"x, {last.value:.3f} ({last.low:.3f} to {last.high:.3f}) of the dense latency, one image on" in ran.err
    line = "warning: it is not certain that the latency meets 2x: measured again it is 0.520 of the dense latency (95 %"
    assert (line in ran.err) == (last is WIDE)
    stored = read(net.with_name("x.safetensors")).history[-1].result
    assert {key: stored[key] for key in result(last)} == result(last)


@pytest.mark.parametrize(("last", "said"), [(HOLDS, []), (WIDE, ["it is not certain"]), (MISSES, ["`latency"])])
def test_python_warns_by_the_same_rule(last: Ratio, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BudgetMeter, "latency", lambda _, gone, limit=None: last if limit is None else FITS)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 3))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prunectl.prune(network, criterion="efficient-convnets", latency="2x", input=(1, 8, 8))
    assert [str(each.message)[: len(start)] for each, start in zip(caught, said, strict=True)] == said
