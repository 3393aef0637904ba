"""How time and memory of scores, selection and masks grow with the number of weights.

    python -m tests.benchmarks.scale [--rounds 3] [--scope global layer] [SIZE ...]

Linear layers of random weights are scored by their magnitude, selected at sparsity 0.9 and their masks packed, each
size and scope in a process of its own. Writes scale.json beside this file, where other sizes and scopes stay, and
prints the table: processor seconds for 1e6 weights (median, least and most), and the growth of resident memory from
before the scores to the highest point, in bytes for every byte of the weights; masks take 0.25 of that. One thread.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

FILE = Path(__file__).parent / "scale.json"
SCOPES = ("global", "layer", "lamp")
LAYERS = 16
SPARSITY = 0.9


def measured(size: int, scope: str) -> dict[str, float]:
    """One run in this process."""
    import torch

    from prunectl.criteria.base.absolute import absolute
    from prunectl.masks import Masks, pack
    from prunectl.measuring.memory import forget_peak, memory_in_use
    from prunectl.pruning.select import select

    torch.set_num_threads(1)
    torch.manual_seed(0)
    side = math.isqrt(size // LAYERS)
    with torch.device("meta"):
        layers = torch.nn.ModuleList(torch.nn.Linear(side, side, bias=False) for _ in range(LAYERS))
    for layer in layers:
        layer.weight = torch.nn.Parameter(torch.randn(side, side) / side)
    weights = LAYERS * side * side
    cpu = torch.device("cpu")
    select(absolute(torch.nn.Linear(64, 64), iter(())), Masks.dense(), 400, scope)  # loads what it needs
    forget_peak(cpu)
    begun, started = memory_in_use(cpu), time.process_time()
    masks = select(absolute(layers, iter(())), Masks.dense(), weights - round(SPARSITY * weights), scope)
    bits = [pack(mask) for mask in masks.values()]
    seconds = time.process_time() - started
    assert masks.kept(layers) == weights - round(SPARSITY * weights)
    assert len(bits) == LAYERS
    return {"seconds": seconds * 1e6 / weights, "bytes": (memory_in_use(cpu) - begun) / (4 * weights)}


def in_a_process(size: int, scope: str) -> dict[str, float]:
    """The same in a new one."""
    command = [sys.executable, "-m", "tests.benchmarks.scale", "--one", scope, str(size)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found: dict[str, float] = json.loads(
        subprocess.run(command, env=environment, check=True, capture_output=True).stdout
    )
    return found


def table(record: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Markdown: a row for every scope and size, and the slope from the size before in a plot of logarithms."""
    lines = ["| scope | weights | s / 1e6 weights | slope | bytes / byte of weights |", "|---|--:|--:|--:|--:|"]
    for scope, by_size in record.items():
        medians = {size: statistics.median(run["seconds"] for run in runs) for size, runs in by_size.items()}
        slopes = [
            "",
            *(
                f"{1 + math.log10(medians[b] / medians[a]) / math.log10(int(b) / int(a)):.2f}"
                for a, b in pairwise(medians)
            ),
        ]
        for (size, runs), slope in zip(by_size.items(), slopes, strict=True):
            seconds = sorted(run["seconds"] for run in runs)
            spread = f"{medians[size]:.3f} ({seconds[0]:.3f} to {seconds[-1]:.3f})"
            peak = statistics.median(run["bytes"] for run in runs)
            lines.append(f"| {scope} | {int(size):.0e} | {spread} | {slope} | {peak:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure in turns, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[10**6, 10**7, 10**8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scope", nargs="*", choices=SCOPES, default=SCOPES)
    parser.add_argument("--one", choices=SCOPES, help="one run in this process")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(given.sizes[0], given.one)))
        return
    record: dict[str, dict[str, list[dict[str, float]]]] = json.loads(FILE.read_text()) if FILE.exists() else {}
    for scope in given.scope:
        record.setdefault(scope, {}).update({str(size): [] for size in given.sizes})
    for _ in range(given.rounds):
        for scope in given.scope:
            for size in given.sizes:
                record[scope][str(size)].append(in_a_process(size, scope))
                FILE.write_text(json.dumps(record, indent=1) + "\n")
    print(table(record))


if __name__ == "__main__":
    main()
