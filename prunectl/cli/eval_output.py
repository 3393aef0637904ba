"""The latency lines of `eval`."""

from collections.abc import Mapping
from typing import Any

from prunectl.checkpoints.options.runtimes import EAGER
from prunectl.cli import output


def latency_lines(record: Mapping[str, Any]) -> list[str]:
    """A line per batch size, and one for the time of torch.compile; none without a measurement."""
    timings = record.get("latency", [])
    batches: dict[int, list[str]] = {}
    for timing in timings:
        batches.setdefault(timing["batch"], []).append(_shown(timing))
    lines = [
        f"latency of {output.many(batch, 'image')} ({record['device']}, one CPU thread): {', '.join(found)}"
        for batch, found in batches.items()
    ]
    compiling = sum(timing.get("compile_s", 0.0) for timing in timings)
    return [*lines, f"torch.compile took {compiling:.1f} s, which is not counted"] if compiling else lines


def _shown(timing: Mapping[str, Any]) -> str:
    """A runtime's median with its 95 % interval, in milliseconds."""
    value = f"{timing.get('runtime', EAGER)} {1e3 * timing['median_s']:.3g} ms"
    if "low_s" not in timing:
        return value
    return f"{value} ({1e3 * timing['low_s']:.3g} to {1e3 * timing['high_s']:.3g})"
