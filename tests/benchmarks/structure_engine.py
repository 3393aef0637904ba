"""What the structure engine costs beside torch.export: trace, plan, surgery, the same trace again, and the proof.

Run as `python -m tests.benchmarks.structure_engine [--rounds N] [--side PIXELS] [--out FILE.json] [NETWORK ..]` with
networks of torchvision. Half of all nodes go, drawn at random. Times are processor seconds on one thread. In each round
all sides take turns, and every ratio is the median over the rounds of a side's time to that of the export alone:

- *export*: `torch.export.export` as anyone calls it, with the lines of the source.
- *lean*: the same as the engine calls it.
- *record*: the run without values by which a network is known again.
- *trace*: record, export and labels of a network that was not seen before; *again*: of one that was.
- *plan*: which attributes of which modules change. *surgery*: the smaller network on its own modules.
- *engine*: trace, plan and surgery together.

The proof is measured once, in float64 and float32, with the number of times that the masked and the small network ran.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from prunectl.structure import graphs
from prunectl.structure.export import BATCH, export, quietly
from prunectl.structure.run_record import record
from prunectl.structure.surgery import proof
from prunectl.structure.surgery.build import gone_labels, made, zero_out
from prunectl.structure.surgery.cut import kept_indices
from prunectl.structure.surgery.edits import edits_for
from prunectl.structure.surgery.plan import Plan
from prunectl.structure.surgery.proof import Reference
from prunectl.structure.trace import analyse
from tests.benchmarks.zoo import removal
from tests.helpers.randomise import randomise_

NETWORKS = ("resnet50", "mobilenet_v3_large", "convnext_tiny", "vit_b_16", "densenet121")
ENGINE = ("trace", "plan", "surgery")
Shape = tuple[int, int, int]


def sides(model: nn.Module, shape: Shape) -> dict[str, Callable[[], object]]:
    """What takes turns."""
    images = torch.zeros(BATCH, *shape)
    analysis = analyse(model, shape)
    removed = removal(analysis.structure, 0.5)
    plan = Plan(kept_indices(analysis.structure, removed))

    def alone() -> None:
        with quietly():
            torch.export.export(model, (images,), strict=False)

    def trace() -> None:
        graphs._known.clear()
        analyse(model, shape)

    def planned() -> Plan:
        return Plan(plan.kept, edits_for(model, analysis.flow, gone_labels(analysis, removed), alive=False))

    edited = planned()
    return {
        "export": alone,
        "lean": lambda: export(model, shape, lines=False),
        "record": lambda: record(model, shape, training=False, batches=(BATCH,)),
        "trace": trace,
        "again": lambda: analyse(model, shape),
        "plan": planned,
        "surgery": lambda: made(model, edited, shape),
    }


def seconds(run: Callable[[], object]) -> float:
    """The processor seconds of one call."""
    began = time.process_time()
    run()
    return time.process_time() - began


def proved(model: nn.Module, shape: Shape) -> dict[str, Any]:
    """Seconds and runs of the proof by type, and the differences."""
    analysis = analyse(model, shape)
    removed = removal(analysis.structure, 0.5)
    found: dict[str, Any] = {}
    for dtype in (torch.float64, torch.float32):
        masked = zero_out(copy.deepcopy(model).to(dtype), analysis, removed)
        edits = edits_for(masked, analysis.flow, gone_labels(analysis, removed), alive=False)
        small, ran = made(masked, Plan(kept_indices(analysis.structure, removed), edits), shape), list[int]()
        for network in (masked, small):
            network.register_forward_pre_hook(lambda _module, inputs, ran=ran: ran.append(len(inputs[0])))
        reference = Reference(masked, shape, proof.BATCHES)
        began = time.process_time()
        difference = reference.difference(small)
        found[str(dtype)[6:]] = {"seconds": time.process_time() - began, "batches": ran, "difference": difference}
    return found


def measured(name: str, side: int, rounds: int) -> dict[str, Any]:
    """The row of one network."""
    shape = (3, side, side)
    model = randomise_(getattr(torchvision.models, name)(weights=None), 0, shape).eval()
    runs = sides(model, shape)
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            times[key].append(seconds(run))
    times["engine"] = [sum(parts) for parts in zip(*(times[key] for key in ENGINE), strict=True)]
    ratios = {key: [t / e for t, e in zip(taken, times["export"], strict=True)] for key, taken in times.items()}
    return {
        "network": name,
        "side": side,
        "rounds": rounds,
        "seconds": {key: statistics.median(taken) for key, taken in times.items()},
        "ratios": {key: [statistics.median(r), min(r), max(r)] for key, r in ratios.items()},
        "proof": proved(model, shape),
    }


def main() -> None:
    """Measure, print a table, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in options.networks:
        row = measured(name, options.side, options.rounds)
        rows.append(row)
        parts = " ".join(f"{key} {median:.2f}" for key, (median, _, _) in row["ratios"].items())
        print(f"{name}: export {row['seconds']['export']:.2f} s; to it: {parts}; proof {row['proof']}", flush=True)
        if options.out:
            options.out.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
