"""Whether a pruning has met the latency that was asked for, by the measurement that follows it."""

from collections.abc import Mapping
from typing import Any

from prunectl.measuring.latency import Ratio
from prunectl.pruning.budget import Budget, in_runtime


def missed(options: Mapping[str, Any], result: Mapping[str, Any]) -> str | None:
    """A message for a pruning whose latency, measured once more, misses the target: its whole interval does."""
    found = _measured_again(options, result)
    if found is None or found.low <= _asked(options):
        return None
    return (
        f"`latency` {options['latency']} was requested, measured again it is {_shown(found, options)}; the file is "
        "written: ask for a smaller speed-up, or prune on an idle machine"
    )


def undecided(options: Mapping[str, Any], result: Mapping[str, Any]) -> str | None:
    """A message for a latency whose interval holds the target and could not be narrowed below 5 %."""
    found = _measured_again(options, result)
    if found is None or found.is_exact or not found.low <= _asked(options) < found.high:
        return None
    return (
        f"it is not certain that the latency meets {options['latency']}: measured again it is "
        f"{_shown(found, options)}; measure on an idle machine"
    )


def _measured_again(options: Mapping[str, Any], result: Mapping[str, Any]) -> Ratio | None:
    """The last latency of a pruning with its interval; None where none was asked for."""
    value = result.get("latency")
    if value is None or options.get("latency") is None:
        return None
    return Ratio(value, result.get("latency_low", value), result.get("latency_high", value))


def _asked(options: Mapping[str, Any]) -> float:
    return Budget.read("latency", options["latency"]).limit(1.0)


def _shown(found: Ratio, options: Mapping[str, Any]) -> str:
    where = in_runtime(options)
    return f"{found.value:.3f} of the dense latency{where} (95 % interval {found.low:.3f} to {found.high:.3f})"
