"""The latency lines of `eval`."""

from collections.abc import Mapping
from typing import Any

from prunectl.checkpoints.options.runtimes import EAGER
from prunectl.cli import output


def latency_lines(record: Mapping[str, Any]) -> list[str]:
    """A line per batch size and runtime, and one for the time of torch.compile; none without a measurement."""
    timings = record.get("latency", [])
    lines = [
        f"latency of {output.many(timing['batch'], 'image')} ({record['device']}, 1 CPU thread): {_shown(timing)}"
        for timing in timings
    ]
    compiling = sum(timing.get("compile_s", 0.0) for timing in timings)
    return [*lines, f"torch.compile took {compiling:.1f} s, which is not counted"] if compiling else lines


def show_against(record: Mapping[str, Any], name: str) -> None:
    """A table of this network and that of a name: accuracies, medians of latencies, and how this one compares."""
    other, rows = record["against"], []
    if "accuracy" in other:
        accuracies = [output.percent(each["accuracy"]) for each in (record, other)]
        rows.append(["accuracy", *accuracies, f"{100 * other['accuracy_difference']:+.2f} points"])
    for ours, theirs in zip(record.get("latency", []), other.get("latency", []), strict=False):
        medians = [f"{1e3 * each['median_s']:.3g} ms" for each in (ours, theirs)]
        rows.append([f"{output.many(ours['batch'], 'image')}, {ours['runtime']}", *medians, _speed(theirs)])
    how = ["on the same images"] if "accuracy" in other else []
    how += ["in turns, with 95 % intervals"] if "latency" in other else []
    output.say(f"against {name}, {', '.join(how)}:")
    output.table(["", "this", "other", "difference"], rows)


def _speed(timing: Mapping[str, Any]) -> str:
    """How a time differs from that of another network, with the 95 % interval."""
    value, low, high = (timing[key] for key in ("ratio", "ratio_low", "ratio_high"))
    if low > 1:
        return f"{value:.2f}x slower ({low:.2f} to {high:.2f})"
    faster = f"({1 / high:.2f} to {1 / low:.2f})"
    return f"{output.times(1 / value)} faster {faster}" if high < 1 else f"no difference {faster}"


def _shown(timing: Mapping[str, Any]) -> str:
    """A runtime's median with its 95 % interval, in milliseconds."""
    value = f"{timing.get('runtime', EAGER)} {1e3 * timing['median_s']:.3g} ms"
    if "low_s" not in timing:
        return value
    return f"{value} ({1e3 * timing['low_s']:.3g} to {1e3 * timing['high_s']:.3g})"
