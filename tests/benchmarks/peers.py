"""Side by side with torch-pruning: the same networks, the same request, the same questions asked of what comes out.

Run as `python -m tests.benchmarks.peers [NAME ...] [--all] [--timm] [--sparsity S] [--out FILE.json]` after
`pip install '.[peers]'`. Every free group loses the share S of its nodes, drawn at random; the head keeps its outputs.
Each network and side has a process of its own, with a limit on time and memory.

Columns: *runs*: the pruned network's forward works. *error*: the largest difference to the masked dense network (all
slices of what was removed at zero, on all axes), over the largest logit, in float64; *alive*: the same, with LayerNorms
of the masked network over what is left. *seconds* and *mb* (the most that the process held, above what it held before):
the pruning step, its trace included, without prunectl's proof. *kept*: the share of the parameters.
"""

import argparse
import copy
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunectl.structure.operations import Impossible
from prunectl.structure.surgery.build import built, gone_labels, made, zero_out
from prunectl.structure.surgery.cut import cut, kept_indices
from prunectl.structure.surgery.edits import edits_for
from prunectl.structure.surgery.plan import Plan
from prunectl.structure.surgery.proof import Reference
from prunectl.structure.trace import Analysis, analyse
from tests.benchmarks.zoo import BATCHES, TOLERANCES, removal
from tests.helpers.library_networks import (
    CLASSES,
    TIMM,
    TORCHVISION,
    TORCHVISION_SMALLEST,
    Shape,
    build_timm,
    build_torchvision,
)
from tests.helpers.randomise import randomise_

SECONDS = 300
COLUMNS = ("runs", "error", "alive", "seconds", "mb", "kept", "failed")
Record = dict[str, Any]


class Memory:
    """The most that the process holds from here on, above what it holds here, in MB (Linux)."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far, which ru_maxrss cannot
        self.before = self._read("VmRSS")

    def peak(self) -> float:
        return self._read("VmHWM") - self.before

    def _read(self, key: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def prunectl_side(model: nn.Module, shape: Shape, sparsity: float) -> Record:
    """Prune and shrink with prunectl, its proof not counted: torch-pruning has none."""
    memory, began = Memory(), time.perf_counter()
    analysis = analyse(model, shape)
    removed = removal(analysis.structure, sparsity, scope="layer")
    plan = _unproved(model, analysis, removed)
    small = made(model, plan, shape)
    cost = {"seconds": time.perf_counter() - began, "mb": memory.peak()}
    masked = zero_out(model, analysis, removed)
    proved = built(Reference(masked, shape, BATCHES), masked, analysis, removed, TOLERANCES["diff64"]).plan
    if proved.graph != plan.graph:  # the modules ran, but computed something else
        began = time.perf_counter()
        small = made(model, proved, shape)
        cost["seconds"] += time.perf_counter() - began
    positions = {name: torch.arange(tensor.numel()).view(tensor.shape) for name, tensor in _floats(model)}
    return {**cost, **_compared(model, small, cut(positions, plan.kept), shape)}


def _unproved(model: nn.Module, analysis: Analysis, removed: Tensor) -> Plan:
    """The plan that is tried first."""
    kept = kept_indices(analysis.structure, removed)
    try:
        return Plan(kept, edits_for(model, analysis.flow, gone_labels(analysis, removed), alive=False))
    except Impossible:
        return Plan(kept, graph=True)


def torch_pruning_side(model: nn.Module, shape: Shape, sparsity: float) -> Record:
    """Prune a copy that holds positions in place of values, which tells what went; then put the values back."""
    import torch_pruning as tp

    small, memory, began = copy.deepcopy(model), Memory(), time.perf_counter()
    pruner = tp.pruner.BasePruner(
        small,
        torch.randn(1, *shape, dtype=torch.float64),
        importance=tp.importance.RandomImportance(),
        pruning_ratio=sparsity,
        ignored_layers=_heads(small),
        num_heads=_attention_heads(small),
    )
    traced = time.perf_counter() - began
    _number_(small)
    torch.manual_seed(0)
    began = time.perf_counter()
    pruner.step()
    cost = {"seconds": traced + time.perf_counter() - began, "mb": memory.peak()}
    where = {name: tensor.detach().long() for name, tensor in _floats(small)}
    _fill_(small, model, where)
    _mend_(small)
    return {**cost, **_compared(model, small, where, shape)}


SIDES: dict[str, Callable[[nn.Module, Shape, float], Record]] = {
    "prunectl": prunectl_side,
    "torch-pruning": torch_pruning_side,
}


def _heads(model: nn.Module) -> list[nn.Module]:
    """The layers that give the classes."""
    widths = ("out_features", "out_channels")
    return [module for module in model.modules() if any(getattr(module, w, None) == CLASSES for w in widths)]


def _attention_heads(model: nn.Module) -> dict[nn.Module, int]:
    """The hint that torch-pruning's own examples give for vision transformers."""
    found = {module: module.num_heads for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    fused = [module for module in model.modules() if isinstance(getattr(module, "qkv", None), nn.Linear)]
    return {**found, **{module.qkv: module.num_heads for module in fused if hasattr(module, "num_heads")}}


def _floats(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point():
            yield name, tensor


def _number_(model: nn.Module) -> None:
    """Let each entry of each tensor say where it stands in it; float64 tells 2^53 apart."""
    for _, tensor in _floats(model):
        tensor.data = torch.arange(tensor.numel(), dtype=tensor.dtype).view(tensor.shape)


def _fill_(small: nn.Module, model: nn.Module, where: dict[str, Tensor]) -> None:
    full = dict(_floats(model))
    for name, tensor in _floats(small):
        tensor.data = full[name].detach().flatten()[where[name]]


def _mend_(small: nn.Module) -> None:
    """Set by hand what torch-pruning's own examples set by hand in vision transformers."""
    if hasattr(small, "conv_proj"):
        small.hidden_dim = small.conv_proj.out_channels
    for module in small.modules():
        if isinstance(getattr(module, "qkv", None), nn.Linear) and hasattr(module, "head_dim"):
            module.head_dim = module.qkv.out_features // (3 * module.num_heads)
            module.attn_dim = module.qkv.out_features // 3


@torch.no_grad()
def _compared(model: nn.Module, small: nn.Module, where: dict[str, Tensor], shape: Shape) -> Record:
    """Does it run, and does it compute what the masked network computes?"""
    sizes = [sum(p.numel() for p in each.parameters()) for each in (small, model)]
    record: Record = {"kept": sizes[0] / sizes[1]}
    images = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    try:
        found = small(images)
    except Exception as error:
        return {**record, "runs": False, "failed": f"{type(error).__name__}: {error}".partition("\n")[0]}
    masked = copy.deepcopy(model)
    for name, tensor in _floats(masked):
        kept = torch.zeros(tensor.numel(), dtype=torch.bool)
        kept[where[name].flatten()] = True
        tensor.data = tensor.data.masked_fill(~kept.view(tensor.shape), 0)
    record |= {"runs": True, "error": _error(found, masked(images))}
    norms = {id(tensor): where[name] for name, tensor in _floats(masked) if tensor.ndim == 1}
    with _norms_over(norms):
        return {**record, "alive": _error(found, masked(images))}


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@contextmanager
def _norms_over(alive: dict[int, Tensor]) -> Iterator[None]:
    """LayerNorm with statistics over the entries that its weight keeps."""
    plain = F.layer_norm

    def layer_norm(x: Tensor, size: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
        index = alive.get(id(weight))
        if index is None or len(index) == x.shape[-1]:
            return plain(x, size, weight, bias, eps)
        out = plain(x[..., index], (len(index),), weight[index], None if bias is None else bias[index], eps)
        return torch.zeros_like(x).index_copy(-1, index, out)

    F.layer_norm = layer_norm
    try:
        yield
    finally:
        F.layer_norm = plain


def one(side: str, name: str, sparsity: float, gigabytes: int) -> Record:
    """Measure in this process."""
    resource.setrlimit(resource.RLIMIT_DATA, (gigabytes << 30, gigabytes << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))  # other programs must not decide
    torch.set_num_threads(1)
    library, _, bare = name.partition("/")
    model, shape = build_timm(bare) if library == "timm" else build_torchvision(bare)
    model = randomise_(model, 0, shape).double()
    try:
        return SIDES[side](model, shape, sparsity)
    except Exception as error:
        return {"runs": False, "failed": f"{type(error).__name__}: {error}".partition("\n")[0]}


def apart(side: str, name: str, sparsity: float, gigabytes: int) -> Record:
    """Measure in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.peers", "--side", side]
    command += [name, "--sparsity", str(sparsity), "--gigabytes", str(gigabytes)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: Record = json.loads(ran.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = ran.stderr.strip().splitlines()[-1:] or ["nothing said"]
        late = ran.returncode in (-signal.SIGXCPU, -signal.SIGKILL)
        why = f"more than {SECONDS} s of processor time" if late else f"exit {ran.returncode}: {last[0]}"
        found = {"runs": False, "failed": why}
    return {"network": name, "side": side, **found}


def row(record: Record) -> str:
    """A line of the table."""
    forms = {"error": "{:.0e}", "alive": "{:.0e}", "seconds": "{:.1f}", "mb": "{:.0f}", "kept": "{:.2f}"}
    cells = [record["network"], record["side"]]
    for column in COLUMNS:
        value = record.get(column, "")
        value = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
        cells.append(value if isinstance(value, str) else forms[column].format(value))
    return f"| {' | '.join(cell[:90].replace('|', '/') for cell in cells)} |"


def summary(records: list[Record], what: str, names: set[str]) -> str:
    """How many of some networks each side runs, and how many of these equal the masked network."""
    parts = []
    for side in SIDES:
        ran = [r for r in records if r["network"] in names and r["side"] == side and r["runs"]]
        exact = sum(r["error"] <= TOLERANCES["diff64"] for r in ran)
        either = sum(min(r["error"], r["alive"]) <= TOLERANCES["diff64"] for r in ran)
        more = f", {either} that or the masked network with norms over what is left" if either > exact else ""
        parts.append(f"{side} runs {len(ran)}, {exact} equal the masked network{more}")
    seen = {r["network"] for r in records} & names
    return f"- {what}, {len(seen)} of {len(names)} run so far: {'; '.join(parts)}"


def markdown(records: list[Record]) -> str:
    """The counts of every list, then a line a network and side."""
    every = {f"torchvision/{name}" for members in TORCHVISION.values() for name in members}
    lists = {
        "the smallest of each family of torchvision": {f"torchvision/{name}" for name in TORCHVISION_SMALLEST.values()},
        "all of torchvision": every,
        "one network for each module of timm": {f"timm/{name}" for name, _ in TIMM.values()},
    }
    head = f"| network | side | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 2)}"
    counts = [summary(records, what, names) for what, names in lists.items()]
    return "\n".join([*counts, "", head, *map(row, records)])


def listed(args: argparse.Namespace) -> list[str]:
    """The networks asked for; by default the smallest of each family of torchvision."""
    if args.names:
        return list(args.names)
    if args.timm:
        return [f"timm/{name}" for name, _ in TIMM.values()]
    every = [name for members in TORCHVISION.values() for name in members]
    return [f"torchvision/{name}" for name in (every if args.all else TORCHVISION_SMALLEST.values())]


def main() -> None:
    parser = argparse.ArgumentParser(description="prunectl and torch-pruning side by side")
    parser.add_argument("names", nargs="*", help="torchvision/NAME or timm/NAME")
    parser.add_argument("--all", action="store_true", help="all of torchvision")
    parser.add_argument("--timm", action="store_true", help="one network for each module of timm")
    parser.add_argument("--sparsity", type=float, default=0.3)
    parser.add_argument("--gigabytes", type=int, default=8, help="the most that a process may hold")
    parser.add_argument("--side", choices=SIDES, help="measure one network here, print JSON")
    parser.add_argument(
        "--out", type=Path, help="a file of JSON lines; a run with the same one goes on where it stopped"
    )
    parser.add_argument("--markdown", action="store_true", help="print what --out holds as tables, and run nothing")
    args = parser.parse_args()
    if args.markdown:
        print(markdown([json.loads(line) for line in args.out.read_text().splitlines()]))
        return
    if args.side:
        print(json.dumps(one(args.side, args.names[0], args.sparsity, args.gigabytes)))
        return
    print(f"| network | side | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 2)}")
    lines = args.out.read_text().splitlines() if args.out and args.out.exists() else []
    done = {(r["network"], r["side"]): r for r in map(json.loads, lines)}
    for name in listed(args):
        for side in SIDES:
            record = done.get((name, side)) or apart(side, name, args.sparsity, args.gigabytes)
            print(row(record), flush=True)
            if args.out and (name, side) not in done:
                with args.out.open("a") as file:
                    file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
