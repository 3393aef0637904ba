"""Removal at random from the networks of torchvision and timm: does the smaller one compute what the masked one does?

Run as `python -m tests.benchmarks.zoo SET [--sparsity S] [--only NAME,..] [--part I/K] [--out FILE.jsonl]` with SET one
of torchvision, timm, segmentation, video, backbones; a run with the same FILE goes on where it stopped. Each network
has a process of its own, with a limit on time. `python -m tests.benchmarks.zoo --markdown FILE.jsonl ...` prints what
stands in RESULTS.md.

The share S of all nodes goes, drawn at random; at least one node stays on every axis. *64*, *32*: the largest
difference to the masked network (all parameters zero at what is removed, on all axes) over its largest output, in
float64 and float32, on batches of 1 and 2 images; networks of more than 130 M parameters or 30 GFLOPs on one image,
those of more than 400 M in float32 only. 1e-10 and 1e-5 are allowed, in float32 also four times the difference of the
masked network to itself in float64, if that is more: *own rounding* then names that difference. *touchable*: the share
of the parameters that some removal reaches. *kept*: the share that is left. *runs*: the network's own modules, or its
rewritten graph. *seconds*: export, labels and the plan, without the proof.
"""

import argparse
import contextlib
import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.measuring.explain import untouchable
from prunectl.pruning.ranking import rank
from prunectl.pruning.shrink import ROUNDING
from prunectl.structure.costs import costs_without
from prunectl.structure.nodes import Structure
from prunectl.structure.operations import Impossible
from prunectl.structure.surgery.build import Built, built, gone_labels, made, zero_out
from prunectl.structure.surgery.edits import edits_for
from prunectl.structure.surgery.proof import Reference
from prunectl.structure.trace import analyse
from tests.helpers import library_networks
from tests.helpers.randomise import randomise_

SECONDS = 900
TOLERANCES = {"diff64": 1e-10, "diff32": 1e-5}
BATCHES = (1, 2)
BIG = {"parameters": 130_000_000, "flops": 30_000_000_000}
TOO_BIG_FOR_FLOAT64 = 400_000_000
Record = dict[str, Any]
Build = Callable[[], tuple[nn.Module, library_networks.Shape]]


def removal(structure: Structure, sparsity: float, *, scope: str = "global") -> Tensor:
    """Nodes drawn at random, but the last one of every axis stays: bool (nodes,).

    With scope `layer` every group loses the same share, which code that divides a width by a number of heads survives
    by luck.
    """
    scores = torch.rand(structure.nodes, generator=torch.Generator().manual_seed(0))
    ranking = rank(structure, scores, torch.ones(structure.nodes, dtype=torch.bool), scope=scope)
    return ranking.removed(min(max(1, round(sparsity * structure.nodes)), len(ranking.order)))


def checked(model: nn.Module, shape: library_networks.Shape, sparsity: float) -> Record:
    """Remove nodes of a network and compare; the keys are those of the table, and `small`, the smaller network."""
    began = time.perf_counter()
    analysis = analyse(model, shape)
    analysed = time.perf_counter() - began
    structure = analysis.structure
    total = sum(parameter.numel() for parameter in model.parameters())
    told = {"nodes": structure.nodes, "share": 1 - untouchable(structure, model) / total}
    if not structure.nodes:
        return told
    removed = removal(structure, sparsity)
    whole, left = (costs_without(structure, model, gone) for gone in (torch.zeros_like(removed), removed))
    big = whole.parameters > BIG["parameters"] or whole.flops > BIG["flops"]
    double = whole.parameters <= TOO_BIG_FOR_FLOAT64
    masked = zero_out(model.double() if double else model, analysis, removed)
    del model
    began = time.perf_counter()
    with contextlib.suppress(Impossible):
        edits_for(masked, analysis.flow, gone_labels(analysis, removed), alive=False)
    planning = time.perf_counter() - began
    reference = Reference(masked, shape, (1,) if big else BATCHES)
    found = built(reference, masked, analysis, removed, TOLERANCES["diff64" if double else "diff32"])
    compared = differences(reference, found)
    above = (compared["diff64"] or 0) > TOLERANCES["diff64"]
    casts = above and analyse(masked, shape).flow.graph.casts  # in float64 it shows
    return {
        **told,
        **compared,
        "removed": int(removed.sum()),
        "parameters": whole.parameters,
        "kept": left.parameters / whole.parameters,
        "flops": left.flops / whole.flops,
        "seconds_graph": analysed + planning,
        "runs": "graph" if found.plan.graph else "modules",
        **({"casts": True} if casts else {}),
    }


def differences(masked: Reference, found: Built) -> Record:
    """The differences of a smaller network to the masked one, in float64 where this one is, then in float32."""
    double = next(masked.network.parameters()).dtype == torch.float64
    single = masked.of(copy.deepcopy(masked.network).float()) if double else masked
    rounding = masked.difference(single) if double else None
    small = made(single.network, found.plan, masked.shape)
    diff64 = found.difference if double else None
    return {"diff64": diff64, "diff32": single.difference(small), "rounding": rounding, "small": small}


def exact(record: Record) -> bool:
    """Whether every difference that was taken is within its tolerance.

    In float32 that is four times the network's own rounding, its difference to itself in float64, where that is more. A
    network whose own code casts to float32 is no more exact than that in float64, as `shrink` has it.
    """
    single = TOLERANCES["diff32"] if record.get("casts") else 0
    own = {"diff32": ROUNDING * (record.get("rounding") or 0), "diff64": single}
    taken = [(record[k], max(allowed, own.get(k, 0))) for k, allowed in TOLERANCES.items() if record.get(k) is not None]
    return bool(taken) and all(found <= allowed for found, allowed in taken)


def trains(small: nn.Module, shape: library_networks.Shape) -> list[str]:
    """Run a step of training on noise; the names of the parameters that no gradient reaches."""
    small.train().zero_grad()
    small(torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    return [name for name, parameter in small.named_parameters() if parameter.grad is None]


def _torchvision(name: str) -> tuple[nn.Module, library_networks.Shape]:
    side = 299 if name == "inception_v3" else 224
    return library_networks.build_torchvision(name)[0], (3, side, side)


def _smallest_first() -> list[str]:
    rest = [name for members in library_networks.TORCHVISION.values() for name in members[1:]]
    return [*library_networks.TORCHVISION_SMALLEST.values(), *rest]


SETS: dict[str, tuple[list[str], Callable[[str], tuple[nn.Module, library_networks.Shape]]]] = {
    "torchvision": (_smallest_first(), _torchvision),
    "timm": (
        [*(name for name, _ in library_networks.TIMM.values()), *library_networks.TIMM_MORE],
        library_networks.build_timm,
    ),
    "segmentation": (list(library_networks.SEGMENTATION), library_networks.build_segmentation),
    "video": (list(library_networks.VIDEO), library_networks.build_video),
    "backbones": (list(library_networks.DETECTION), library_networks.build_backbone),
}


def one(kind: str, name: str, sparsity: float) -> Record:
    """Check a network in this process."""
    torch.set_num_threads(1)
    try:
        model, shape = SETS[kind][1](name)
        record = checked(randomise_(model, 0, shape), shape, sparsity)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}".partition("\n")[0]}
    record.pop("small", None)
    return record


def apart(kind: str, name: str, sparsity: float) -> Record:
    """Check a network in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.zoo", kind, "--one", name]
    began = time.perf_counter()
    try:
        ran = subprocess.run(
            [*command, "--sparsity", str(sparsity)], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        found: Record = json.loads(ran.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        found = {"failed": f"more than {SECONDS} s"}
    except (IndexError, ValueError):
        last = ran.stderr.strip().splitlines()[-1:] or ["nothing said"]
        found = {"failed": f"exit {ran.returncode}: {last[0]}"}
    versions = {library: _version(library) for library in ("torch", "torchvision", "timm")}
    seconds = round(time.perf_counter() - began, 1)
    return {"set": kind, "network": name, "sparsity": sparsity, **found, "seconds_all": seconds, "versions": versions}


def _version(library: str) -> str:
    from importlib.metadata import version

    return version(library)


HEAD = (
    "| network | nodes | touchable | kept | 64 | 32 | runs | seconds | notes |\n|---|--:|--:|--:|--:|--:|---|--:|---|"
)


def row(record: Record) -> str:
    """A line of the table."""
    forms = {"nodes": "{:,}", "share": "{:.3f}", "kept": "{:.2f}", "diff64": "{:.0e}", "diff32": "{:.0e}"}
    cells = [record["network"]]
    for key in (*forms, "runs", "seconds_graph", "failed"):
        value = record.get(key)
        cells.append("" if value is None else {**forms, "seconds_graph": "{:.1f}"}.get(key, "{}").format(value))
    failed = "" if exact(record) or cells[-1] or not record.get("nodes") else "not exact"
    cells[-1] = (cells[-1] or failed or ("" if record.get("nodes") else "no node can go"))[:100].replace("|", "/")
    if not cells[-1] and record["diff32"] > TOLERANCES["diff32"]:
        cells[-1] = f"own rounding {record['rounding']:.0e}"
    if not cells[-1] and (record.get("diff64") or 0) > TOLERANCES["diff64"]:
        cells[-1] = "its own code casts to float32"
    return f"| {' | '.join(cells)} |"


def markdown(files: list[Path]) -> Iterator[str]:
    """The tables of several runs, each network as it was checked last."""
    records: dict[tuple[str, float], dict[str, Record]] = {}
    for record in (json.loads(line) for file in files for line in file.read_text().splitlines()):
        records.setdefault((record["set"], record["sparsity"]), {})[record["network"]] = record
    yield "# Removal at random, checked\n"
    yield (__doc__ or "").split("\n\n", 2)[2].rstrip()
    for (kind, sparsity), found in records.items():
        rows = list(found.values())
        libraries = ", ".join(f"{name} {number}" for name, number in rows[-1]["versions"].items())
        good = sum(exact(record) for record in rows)
        own = sum(record.get("runs") == "modules" for record in rows)
        yield f"\n## {kind}, {sparsity} of the nodes removed\n"
        yield f"{good} of {len(rows)} exact, {own} of them by their own modules ({libraries}).\n\n{HEAD}"
        yield from (row(record) for record in sorted(rows, key=lambda record: record["network"]))


def main() -> None:
    parser = argparse.ArgumentParser(description="removal at random, checked")
    parser.add_argument("set", nargs="?", choices=SETS)
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--only", help="NAME,NAME")
    parser.add_argument("--part", default="1/1", help="I/K: every Kth network, from the Ith")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help="check one network here, print JSON")
    parser.add_argument("--markdown", type=Path, nargs="+", help="print the tables of these files")
    args = parser.parse_args()
    if args.markdown:
        print("\n".join(markdown(args.markdown)))
        return
    if args.one:
        print(json.dumps(one(args.set, args.one, args.sparsity)))
        return
    first, of = map(int, args.part.split("/"))
    names = (args.only.split(",") if args.only else SETS[args.set][0])[first - 1 :: of]
    known = args.out.read_text().splitlines() if args.out and args.out.exists() else []
    done = {(r["set"], r["network"], r["sparsity"]) for r in map(json.loads, known)}
    print(HEAD, flush=True)
    for name in names:
        if (args.set, name, args.sparsity) not in done:
            record = apart(args.set, name, args.sparsity)
            print(row(record), flush=True)
            if args.out:
                with args.out.open("a") as file:
                    file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
