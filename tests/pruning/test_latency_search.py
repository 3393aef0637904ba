"""The search for a latency: what it measures, how often, what it says of it, and what it refuses at once."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.errors import OptionError, OutOfReach
from prunectl.measuring.latency import Ratio
from prunectl.pruning import node_costs
from prunectl.pruning.budget import Budget
from prunectl.pruning.by_criterion import pruned_by_criterion
from prunectl.pruning.latency_trials import LatencyTrial, LatencyTrials
from prunectl.pruning.node_costs import BudgetMeter
from prunectl.pruning.prune import StandalonePruning, prune
from prunectl.pruning.rules import NodeRules
from tests.helpers.marks import quick_rows
from tests.helpers.networks import checkpoint_of, fresh_checkpoint, image_data
from tests.helpers.node_networks import SHAPE, Chain

Curve = Callable[[float], float]


def wide() -> Checkpoint:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 3)]
    return checkpoint_of(nn.Sequential(*layers), SHAPE)


@pytest.fixture
def follows(monkeypatch: pytest.MonkeyPatch) -> Callable[[Curve], list[float]]:
    """Latencies that follow a curve of the share of the FLOPs, 2 % wide; the list has those of all measurements."""

    def follow(curve: Curve, width: float = 0.02) -> list[float]:
        found: list[float] = []

        def latency(self: BudgetMeter, gone: torch.Tensor, limit: float | None = None) -> Ratio:
            value = curve(self.flops(gone) / self.checkpoint.dense.flops)
            found.append(value)
            return Ratio(value, value * (1 - width / 2), value * (1 + width / 2))

        monkeypatch.setattr(BudgetMeter, "latency", latency)
        return found

    return follow


def searched(start: Checkpoint, text: str, **options: object) -> tuple[Checkpoint, list[LatencyTrial]]:
    trials: list[LatencyTrial] = []
    chosen = StandalonePruning(criterion="efficient-convnets", latency=text, **options)  # type: ignore[arg-type]
    return pruned_by_criterion(start, None, chosen, latencies=LatencyTrials(trials.append)), trials


CURVES: dict[str, Curve] = {
    "line": lambda x: x,
    "overhead": lambda x: 0.2 + 0.8 * x,
    "concave": lambda x: 0.05 + 0.95 * math.sqrt(x),
    "convex": lambda x: 0.1 + 0.9 * x**2,
}
CASES = [(name, text) for name in CURVES for text in ("1.1x", "2x", "3x", "0.7x")]


@pytest.mark.parametrize(("name", "text"), quick_rows(CASES, [5, 14]))
def test_few_trials_lead_to_a_latency_within_5_percent_of_the_limit(name: str, text: str, follows) -> None:
    measured = follows(CURVES[name])
    pruned, trials = searched(wide(), text)
    limit = Budget.read("latency", text).limit(1.0)
    assert 0.95 * limit <= pruned.history[-1].result["latency"] <= limit
    assert len(trials) <= 6
    assert measured == [trial.latency.value for trial in trials] + [pruned.history[-1].result["latency"]]
    assert [trial.number for trial in trials] == list(range(1, len(trials) + 1))
    assert [trial.smallest for trial in trials] == [True] + [False] * (len(trials) - 1)
    kept = 1 - pruned.history[-1].result["node_sparsity"]
    assert min(abs(trial.kept - kept) for trial in trials if trial.fits) < 1e-9


def test_steps_in_the_curve_end_after_eight_trials_with_one_that_fits(follows) -> None:
    follows(lambda x: math.ceil(4 * x) / 4)
    pruned, trials = searched(wide(), "0.55x")
    assert pruned.history[-1].result["latency"] == 0.5
    assert len(trials) <= 1 + 8
    assert {trial.most for trial in trials} == {1 + 8}
    assert 0.4 < pruned.history[-1].result["flops"] / pruned.dense.flops <= 0.5


def test_what_no_network_reaches_is_refused_after_one_trial_and_before_any_score(follows, monkeypatch) -> None:
    measured = follows(lambda x: 0.3 + 0.7 * x)
    monkeypatch.setattr("prunectl.pruning.by_criterion.scored", lambda *_, **__: pytest.fail("it scored"))
    line = r"`latency` 4x allows 0\.25 of the dense latency in onnx, but 0\.301 \(3\.3\dx\) is the minimum with 1 or"
    with pytest.raises(OutOfReach, match=line):
        prune(wide(), None, criterion="efficient-convnets", budget=Budget.read("latency", "4x", "onnx"))
    assert len(measured) == 1


def test_the_smallest_network_obeys_the_rules(follows) -> None:
    follows(lambda x: x)
    least: list[int] = []
    for rules in ({}, {"min_nodes": 20}, {"max_pruned": 0.5}, {"keep": ("1",)}, {"multiple_of": 8}):
        _, (first, *_) = searched(wide(), "0.9x", **rules)
        least.append(round(500 * first.kept))
    assert least == [2, 40, 250, 301, 16]  # 300 rounded up to multiples leaves 8, as 200 does


def test_of_criteria_that_are_compared_the_first_refusal_holds_for_all(follows, monkeypatch) -> None:
    measured, data = follows(lambda x: 0.3 + 0.7 * x), image_data(600)
    monkeypatch.setattr("prunectl.pruning.auto.check_trained", lambda _: None)
    with pytest.raises(OutOfReach, match="is the minimum"):
        prune(wide(), data, criterion="auto", budget=Budget.read("latency", "4x"))
    assert len(measured) == 1


def test_criteria_that_are_compared_share_what_was_measured(follows) -> None:
    measured, start, shown = follows(lambda x: 0.2 + 0.8 * x), wide(), list[LatencyTrial]()
    shared = LatencyTrials(shown.append)
    for criterion in ("efficient-convnets", "depgraph"):
        shared.candidate = criterion
        chosen = StandalonePruning(criterion=criterion, latency="2x")
        pruned = pruned_by_criterion(start, None, chosen, latencies=shared)
        assert 0.95 * 0.5 <= pruned.history[-1].result["latency"] <= 0.5
    assert [trial.number for trial in shown] == list(range(1, len(shown) + 1))
    assert [trial.smallest for trial in shown] == [True] + [False] * (len(shown) - 1)
    assert {trial.candidate for trial in shown} == {"efficient-convnets", "depgraph"}
    assert len(measured) == len(shown) + 2  # each result is measured once more


def test_the_dense_network_is_run_as_it_was_though_the_pruned_one_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[object] = []
    monkeypatch.setattr(
        node_costs, "relative_latency", lambda _, dense, limit: runs.append(dense()) or Ratio(0.48, 0.48, 0.48)
    )
    start = wide()
    image = torch.full((1, *SHAPE), 0.5)
    with torch.no_grad():
        expected = start.model.eval()(image)
        searched(start, "2x")
        assert all(torch.equal(found, expected) for found in runs if isinstance(found, torch.Tensor))


def test_the_smallest_network_will_do_where_its_interval_holds_the_limit(follows) -> None:
    follows(lambda x: 0.3 + 0.7 * x, width=0.08)
    pruned, trials = searched(wide(), "0.305x")
    assert trials[0].may_fit and not trials[0].fits
    assert pruned.history[-1].result["flops"] / pruned.dense.flops < 0.02


def test_networks_of_equal_widths_are_measured_once_and_the_dense_one_never(follows) -> None:
    measured = follows(lambda x: x)
    searched(wide(), "2x", multiple_of=100)
    assert len(set(measured[:-1])) == len(measured) - 1 and 1.0 not in measured
    with pytest.raises(OptionError, match=r"already has 1 of the dense latency, `latency` 1x allows 1 of the dense"):
        searched(wide(), "1x")


def test_the_network_that_is_kept_is_timed_again_without_being_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    before = node_costs.without

    def counted(model: nn.Module, analysis: object, gone: torch.Tensor, shape: object) -> nn.Module:
        built.append(int(gone.sum()))
        return before(model, analysis, gone, shape)  # type: ignore[arg-type]

    ratios = iter([0.1, 0.7, 0.48, 0.49])
    monkeypatch.setattr(node_costs, "without", counted)
    monkeypatch.setattr(node_costs, "relative_latency", lambda *_, limit: Ratio(value := next(ratios), value, value))
    pruned, trials = searched(wide(), "2x")
    assert len(trials) == 3 == len(built) and pruned.history[-1].result["latency"] == 0.49
    assert built[-1] == round(500 * pruned.history[-1].result["node_sparsity"])


def test_later_rounds_begin_with_what_is_known(follows) -> None:
    measured = follows(lambda x: 0.1 + 0.9 * x)
    data, rules = image_data(), NodeRules(max_pruned=1.0)
    start = fresh_checkpoint(Chain, SHAPE)
    asked = Budget.read("latency", "2x")
    prune(start, data, criterion="snapit", budget=asked, batch_size=16, steps=4, rules=rules)
    assert len(measured) <= 1 + 4 * 4 + 1


def test_prune_prints_a_line_for_every_trial(net: Path, raw, monkeypatch: pytest.MonkeyPatch) -> None:
    ratios = iter([Ratio(0.1, 0.09, 0.12), Ratio(0.7, 0.68, 0.73), Ratio(0.49, 0.47, 0.5), Ratio(0.48, 0.47, 0.49)])
    monkeypatch.setattr(BudgetMeter, "latency", lambda *_, **__: next(ratios))
    ran = raw("prune", net.name, "-c", "depgraph", "--latency", "2x", "--runtime", "onnx", "-o", "x.safetensors")
    assert ran.code == 0, ran.err
    before, *lines, last = [line for line in ran.err.splitlines() if "of the dense latency" in line or "trial" in line]
    how = "one image on one CPU thread"
    assert before == f"--latency 2x: 0.5 of the dense latency in onnx, {how} (95 % intervals):"
    assert [line.partition(",")[0] for line in lines] == [f"trial {number} of at most 9" for number in (1, 2, 3)]
    assert lines[0].startswith("trial 1 of at most 9, smallest network, ")
    assert [line.partition("% of nodes: ")[2] for line in lines] == [
        "10.0x, 0.100 (0.090 to 0.120), fast enough",
        "1.43x, 0.700 (0.680 to 0.730), too slow",
        "2.04x, 0.490 (0.470 to 0.500), fast enough",
    ]
    assert last == f"measured again, 2.08x, 0.480 (0.470 to 0.490) of the dense latency in onnx, {how}"
