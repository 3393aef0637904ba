"""Limits of a pruned network's costs: parameters, FLOPs, bytes or latency."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prunectl.checkpoints.options.runtimes import EAGER
from prunectl.errors import OptionError

_COUNTS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
BUDGET_UNITS: dict[str, dict[str, int]] = {"params": _COUNTS, "flops": _COUNTS, "size": _BYTES, "latency": {}}
_EXAMPLES = {"params": ", or a count (1.2M)", "flops": ", or a count (300M)", "size": ", or bytes (200KB)"}
_NO_TIME = "; a latency is relative to the dense network's on this machine, not in seconds"


def in_runtime(options: Mapping[str, Any]) -> str:
    """The runtime of a latency, for the end of a phrase; empty for plain torch."""
    return f" in {options['runtime']}" if options.get("runtime", EAGER) != EAGER else ""


@dataclass(frozen=True)
class Budget:
    """A limit: `kind` is params, flops, size or latency; `amount` is absolute, or a share of the dense network's.

    A latency is measured in this `runtime`.
    """

    kind: str
    text: str
    amount: float
    relative: bool
    runtime: str = EAGER

    def limit(self, dense: float) -> float:
        """The limit for a network whose dense original costs `dense`."""
        return self.amount * dense if self.relative else self.amount

    @staticmethod
    def read(kind: str, text: str, runtime: str | None = None) -> "Budget":
        """Read `0.125x` (the share that remains), `8x` (above 1: this many times less), or `1.2M`, `200KB`.

        Raises:
            OptionError: the text is none of these, or nothing would remain.
        """
        found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([A-Za-z]*)\s*", text)
        number, unit = (float(found[1]), found[2]) if found else (0.0, "")
        if number > 0 and unit == "x":
            return Budget(kind, text, number if number < 1 else 1 / number, relative=True, runtime=runtime or EAGER)
        if unit in BUDGET_UNITS[kind] and number * BUDGET_UNITS[kind][unit] >= 1:
            return Budget(kind, text, number * BUDGET_UNITS[kind][unit], relative=False)
        known = f"`{kind}` takes how many times less (8x) or the share that remains (0.125x){_EXAMPLES.get(kind, '')}"
        raise OptionError(f"{known}, got '{text}'{_NO_TIME if kind == 'latency' else ''}")
