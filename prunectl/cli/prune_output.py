"""What `prune` says of a pruned network: what was reached, and what `--criterion auto` tried."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prunectl.checkpoints.options.runtimes import EAGER
from prunectl.cli import output

if TYPE_CHECKING:
    from prunectl.checkpoints.checkpoint import Checkpoint
    from prunectl.pruning.latency_trials import LatencyTrial

_HOW = "one image on one CPU thread"
_NOT_TARGETS = ("candidate", "at_once", "repaired", "loss", "kept", "refused")


def tell(criterion: str, pruned: "Checkpoint") -> None:
    """The target, and what was reached."""
    from prunectl.pruning.budget import BUDGET_UNITS, in_runtime

    chosen, reached, dense = pruned.history[-1].options, pruned.history[-1].result, pruned.dense
    asked = next(
        f"{kind.replace('_', ' ')} {chosen[kind]}"
        for kind in ("sparsity", *BUDGET_UNITS, "threshold", "min_accuracy", "scope")
        if kind in chosen
    )
    kept = pruned.masks.kept(pruned.model)
    trainings = [entry.data for entry in pruned.history if entry.command == "train" and entry.data is not None]
    _show_trials(reached, trained_on_all=any("tuning" not in data for data in trainings))
    nodes = f"node sparsity {reached['node_sparsity']:.6f}; " if "node_sparsity" in reached else ""
    line = (
        f"{criterion}: asked for {asked}; {nodes}weight sparsity {reached['weight_sparsity']:.6f}, "
        f"{kept:,} of {dense.weights:,} weights kept"
    )
    output.say("; ".join([line, *output.unreached(reached)]))
    for line in output.repaired(reached) if "layers" in reached else ():
        output.say(line)
    odd = output.odd_widths(reached, chosen.get("multiple_of", 1))
    for warning in (output.thin_groups(reached), output.multiples(reached), odd):
        if warning is not None:
            output.say(warning)
    if "node_sparsity" in reached:
        saved = output.times(dense.flops / max(reached["flops"], 1))
        output.say(
            f"without the pruned nodes: {reached['parameters']:,} parameters, "
            f"{output.counted(reached['flops'])} FLOPs ({saved} fewer), {output.counted(reached['bytes'])}B"
        )
    if "latency" in reached:
        output.say(f"measured again, {_interval(reached)} of the dense latency{in_runtime(chosen)}, {_HOW}")


def _interval(reached: Mapping[str, Any]) -> str:
    """A latency with its 95 % interval."""
    return _ratio(*(reached[key] for key in ("latency", "latency_low", "latency_high")))


def _ratio(value: float, low: float, high: float) -> str:
    """A relative latency as a speed-up, and with its interval."""
    return f"{output.times(1 / value)}, {value:.3f} ({low:.3f} to {high:.3f})"


def tell_trial(asked: str, runtime: str | None, trial: "LatencyTrial") -> None:
    """One network that was measured for the target `asked`, in a line; before the first, what they measure."""
    if trial.number == 1:
        from prunectl.pruning.budget import in_runtime

        where = in_runtime({"runtime": runtime or EAGER})
        output.say(f"--latency {asked}: {trial.limit:.3g} of the dense latency{where}, {_HOW} (95 % intervals):")
    found, who = trial.latency, f"{trial.candidate}, " if trial.candidate else ""
    small = "smallest network, " if trial.smallest else ""
    verdict = "fast enough" if trial.fits else "perhaps fast enough" if trial.may_fit else "too slow"
    number = f"trial {trial.number} of at most {trial.most}"
    ratio = _ratio(found.value, found.low, found.high)
    output.say(f"{who}{number}, {small}{100 * trial.kept:.1f}% of nodes: {ratio}, {verdict}")


def _show_trials(result: Mapping[str, Any], *, trained_on_all: bool) -> None:
    """Print every candidate with its accuracy at once and after the repair; the kept one is marked."""
    if "tried" not in result:
        return
    rows = [_row(trial) for trial in result["tried"]]
    has_targets = any(row[1] for row in rows)
    head = ["candidate", "target", "at once", "repaired", ""]
    shown = [row if has_targets else [row[0], *row[2:]] for row in rows]
    output.table(head if has_targets else [head[0], *head[2:]], shown)
    for trial in result["tried"]:
        if "refused" in trial:
            output.say(f"{trial['candidate']}: {trial['refused']}")
    images = output.many(result["held_out"], "held-out training image")
    output.say(f"accuracy on {images}, before pruning {output.percent(result['dense_accuracy'])}")
    if trained_on_all:
        output.say(
            "the network was trained on these images too, so this is optimistic; `train --tuning` leaves them out"
        )


def _row(trial: Mapping[str, Any]) -> list[str]:
    """The cells of one trial: candidate, target where trials differ in it, accuracies, mark."""
    target = " ".join(f"{key} {value}" for key, value in trial.items() if key not in _NOT_TARGETS)
    mark = "kept" if trial.get("kept") else "refused" if "refused" in trial else ""
    accuracies = [output.percent(trial.get(key)) for key in ("at_once", "repaired")]
    return [trial["candidate"], target, *accuracies, mark]
