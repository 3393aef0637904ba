"""Latency of dense and shrunk networks in torch and in ONNX Runtime, with any widths and with --multiple-of auto.

Run as `python -m tests.benchmarks.runtimes [ROUNDS [NETWORK ...]]`; writes runtimes.json beside this file, and prints
the table of SPEED.md. Half of the nodes go, by `depgraph`; the weights are random, as they do not matter for time. All
networks of a row take turns on one thread; a ratio is the median over pairs of turns, with its 95 % interval. Times are
processor seconds, which a loaded machine changes less.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import torch
from torch import nn
from torchvision.models import mobilenet_v3_small, resnet18
from torchvision.models.vision_transformer import VisionTransformer

import prunectl
from prunectl.measuring.latency import LATENCY_BATCHES, Ratio
from prunectl.measuring.runtimes import network_in, ready
from prunectl.torchtools.contexts import one_thread

SPARSITY, _TURN = 0.5, 0.05
NETWORKS = {
    "resnet18": (partial(resnet18, num_classes=10), 32),
    "mobilenet_v3_small": (partial(mobilenet_v3_small, num_classes=10), 64),
    "vit": (partial(VisionTransformer, 32, 4, 6, 4, 128, 512, num_classes=10), 32),
}
"""What builds each network, and the height and width of its images."""
FILE = Path(__file__).with_suffix(".json")


def shrunk(model: nn.Module, size: int, multiple_of: int | str) -> tuple[nn.Module, float]:
    """The network without half of its nodes, and how many times fewer FLOPs it takes."""
    shape = (3, size, size)
    pruned = prunectl.prune(model, criterion="depgraph", sparsity=SPARSITY, multiple_of=multiple_of, input=shape)
    small = prunectl.shrink(pruned)
    return small.model.eval(), pruned.dense.flops / small.history[-1].result["flops"]


def seconds(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of a call, in turns of about 0.05 s."""
    taken: dict[str, list[float]] = {key: [] for key in runs}
    calls = dict.fromkeys(runs, 1)
    with one_thread(), torch.inference_mode():
        for turn in range(rounds + 2):
            for key, run in runs.items():
                begun = process_time()
                for _ in range(calls[key]):
                    run()
                each = (process_time() - begun) / calls[key]
                if turn < 2:  # to warm up
                    calls[key] = max(1, round(_TURN / each))
                else:
                    taken[key].append(each)
    return taken


def measured(name: str, rounds: int) -> list[dict[str, Any]]:
    """A row for every runtime and size of a batch."""
    build, size = NETWORKS[name]
    torch.manual_seed(0)
    dense, shape = build().eval(), (3, size, size)
    (any_width, any_flops), (eights, eights_flops) = (shrunk(dense, size, multiple) for multiple in (1, "auto"))
    networks, rows = {"dense": dense, "any": any_width, "auto": eights}, []
    for runtime in ("eager", "onnx"):
        calls = {key: network_in(runtime, network, shape) for key, network in networks.items()}
        for batch in LATENCY_BATCHES:
            images = torch.randn(batch, *shape)
            runs = {key: ready(call, runtime, images).run for key, call in calls.items()}
            taken = seconds(runs, rounds)
            row: dict[str, Any] = {"network": name, "size": size, "runtime": runtime, "batch": batch}
            row |= {"runs": len(taken["dense"]), "dense_ms": 1e3 * Ratio.of(taken["dense"]).value}
            for key, flops in (("any", any_flops), ("auto", eights_flops)):
                times = Ratio.of([a / b for a, b in zip(taken["dense"], taken[key], strict=True)])
                row |= {key: [times.value, times.low, times.high], f"{key}_flops": flops}
            rows.append(row)
            print(line(row), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """A row of the table: how many times faster than dense."""
    shown = (f"{row[key][0]:.2f} ({row[key][1]:.2f} to {row[key][2]:.2f})" for key in ("any", "auto"))
    fewer = " / ".join(f"{row[f'{key}_flops']:.2f}" for key in ("any", "auto"))
    where = f"{row['network']}, 3x{row['size']}x{row['size']} | {row['runtime']} | {row['batch']}"
    return f"| {where} | {row['dense_ms']:.2f} | {fewer} | {' | '.join(shown)} |"


def main(rounds: int, names: list[str]) -> None:
    """Measure, print and write."""
    print("| network | runtime | batch | dense, ms | fewer FLOPs, any / auto | any width | auto |")
    print("|---|---|--:|--:|--:|--:|--:|")
    known = json.loads(FILE.read_text(encoding="utf-8"))["rows"] if FILE.exists() else []
    rows = [row for row in known if row["network"] not in names]
    for name in names:
        rows += measured(name, rounds)
        found = {"torch": torch.__version__, "threads": 1, "sparsity": SPARSITY, "rows": rows}
        FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9, sys.argv[2:] or list(NETWORKS))
