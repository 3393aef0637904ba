"""HEADLINE.md from the rows and the records of their runs: same records, same bytes."""

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from tests.benchmarks.headline_rows import ABOUT, Row, Table

Record = dict[str, Any]
OTHERS = {"structured-random": "random nodes", "width": "narrow dense"}
"""What SNAP-it is compared with at its own FLOPs, by the first word of the rows' names."""


def page(tables: Sequence[Table], records: Sequence[Record]) -> str:
    """The whole file."""
    parts = [ABOUT, *_machines(records)]
    for table in tables:
        own = [record for record in records if record["table"] == table.key]
        parts += [f"## {table.title}", table.words, "\n".join(_rows(table, own))]
        if table.curve:
            parts += ["\n".join(_beside(own))] if own else []
        parts += [table.findings] if table.findings else []
        parts += [f"**{row.name}.** {row.limit}" for row in table.rows if row.limit]
        parts.append("\n".join(["```sh", *_commands(table), "```"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def of_row(row: Row, records: Sequence[Record]) -> list[Record]:
    """The runs of a row as it stands; those of an older line are left out."""
    return [r for r in records if (r["row"], r["line"], r["attack"]) == (row.name, row.line, row.attack)]


def spread(values: Sequence[float], digits: int = 1, *, sign: bool = False) -> str:
    """Mean and standard deviation."""
    mean = f"{statistics.mean(values):{'+' if sign else ''}.{digits}f}"
    return mean + (f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")


def percent(records: Sequence[Record]) -> list[float]:
    """The accuracies."""
    return [100 * record["accuracy"] for record in records]


def beside_dense(records: Sequence[Record], dense: Sequence[Record]) -> list[float]:
    """Points of accuracy above the dense network of the same seed, or above the mean of those that were run."""
    if not dense:
        return []
    same, mean = {r["seed"]: 100 * r["accuracy"] for r in dense}, statistics.mean(percent(dense))
    return [100 * record["accuracy"] - same.get(record["seed"], mean) for record in records]


def _rows(table: Table, records: Sequence[Record]) -> Iterator[str]:
    """The table of all rows, those without a run among them."""
    dense = [record for row in table.rows if row.name == "dense" for record in of_row(row, records)]
    eps = [f"{at['eps']:.4f}" for at in next((r["robust"]["results"] for r in records if "robust" in r), [])]
    head = ["row", "authors", "aim", "accuracy, %", "beside dense", *(f"robust at {e}, %" for e in eps)]
    head += ["parameters", "FLOPs", "training FLOPs", "processor min", "seeds", "commit"]
    yield f"| {' | '.join(head)} |"
    yield f"|---|---|---|{'--:|' * (len(head) - 5)}---|---|"
    for row in table.rows:
        runs = of_row(row, records)
        start = [row.name, row.paper]
        if not runs:
            yield _line([*start, _aim(row, []), "not run", *[""] * (len(head) - 4)])
            continue
        above = [] if row.name == "dense" else beside_dense(runs, dense)
        robust = [spread([100 * r["robust"]["results"][i]["robust_accuracy"] for r in runs]) for i in range(len(eps))]
        yield _line(
            [
                *start,
                _aim(row, above),
                spread(percent(runs)),
                spread(above, sign=True) if above else "",
                *robust,
                f"{statistics.mean(r['parameters'] for r in runs):,.0f}",
                _fewer("flops", runs, dense),
                _fewer("training_flops", runs, dense),
                f"{statistics.mean(r['cpu_seconds'] for r in runs) / 60:.1f}",
                ", ".join(str(r["seed"]) for r in runs),
                ", ".join(dict.fromkeys(r["commit"] for r in runs)),
            ]
        )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _aim(row: Row, above: Sequence[float]) -> str:
    """What a row is to reach beside the dense network, and whether it did."""
    if row.least is None:
        return ""
    verdict = "" if not above else ": met" if statistics.mean(above) >= row.least else ": missed"
    return f"{row.least:+.1f} points or more{verdict}"


def _fewer(key: str, runs: Sequence[Record], dense: Sequence[Record]) -> str:
    """A mean number, and how many times less it is than that of the dense network."""
    own = statistics.mean(r[key] for r in runs)
    power = max(0, int(math.log10(own) // 3))
    text = f"{own / 1000**power:.3g}{['', 'k', 'M', 'G', 'T', 'P'][power]}"
    ratio = statistics.mean(r[key] for r in dense) / own if dense else 1.0
    return text if abs(ratio - 1) < 0.01 else f"{text} ({ratio:.1f}x fewer)"


def at_flops(curve: Sequence[tuple[float, float]], flops: float) -> float | None:
    """The accuracy of a curve at some FLOPs: linear in their logarithm between two points, None beyond the last."""
    points = sorted(curve)
    for (before, low), (after, high) in itertools.pairwise(points):
        if before <= flops <= after:
            share = math.log(flops / before) / math.log(after / before) if after > before else 0.0
            return low + share * (high - low)
    return None


def _beside(records: Sequence[Record]) -> Iterator[str]:
    """How far SNAP-it is above the other curves at its own FLOPs, seed by seed."""
    names = [name for name in dict.fromkeys(r["row"] for r in records) if name.startswith("snapit ")]
    if names:
        yield "Points of accuracy of SNAP-it above the other curves at its own FLOPs; each seed has its own curves.\n"
        yield f"| row | {' | '.join(f'above {what}' for what in OTHERS.values())} | above both |"
        yield f"|---|{'--:|' * len(OTHERS)}---|"
    for name in names:
        above = [[d for d in _differences(records, name, other) if d is not None] for other in OTHERS]
        cells = [f"{spread(each, sign=True)} ({len(each)})" if each else "no point" for each in above]
        yield f"| {name} | {' | '.join(cells)} | {verdict(above)} |"


def verdict(above: Sequence[Sequence[float]]) -> str:
    """Whether a point is above both other curves: by more than the deviation over seeds, which needs two."""
    if not all(above):
        return "not known"
    if any(statistics.mean(each) <= 0 for each in above):
        return "no"
    if any(len(each) < 2 for each in above):
        return "in one seed"
    clear = all(statistics.mean(each) > statistics.stdev(each) for each in above)
    return "yes" if clear else "within the deviation"


def _differences(records: Sequence[Record], name: str, other: str) -> Iterator[float | None]:
    """One number a seed, None where the other curve has no points on both sides."""
    for record in (r for r in records if r["row"] == name):
        seed = [r for r in records if r["seed"] == record["seed"]]
        curve = [(r["flops"], 100 * r["accuracy"]) for r in seed if r["row"].split()[0] in (other, "dense")]
        there = at_flops(curve, record["flops"])
        yield None if there is None else 100 * record["accuracy"] - there


def _machines(records: Sequence[Record]) -> Iterator[str]:
    """Where the runs were, and how long they took."""
    keys = ("machine", "threads", "torch")
    for machine, threads, torch in dict.fromkeys(tuple(r[key] for key in keys) for r in records):
        own = [r for r in records if tuple(r[key] for key in keys) == (machine, threads, torch)]
        cpu, wall = (sum(r[key] for r in own) / 3600 for key in ("cpu_seconds", "wall_seconds"))
        yield (
            f"{len(own)} runs on {machine}, {threads} thread{'s' * (threads > 1)}, torch {torch}: {cpu:.1f} hours of "
            f"processor time, {wall:.1f} hours by the clock, beside other programs."
        )


def _commands(table: Table) -> Iterator[str]:
    """The pipelines of a table, as they can be typed; `$s` is the seed."""
    for row in table.rows:
        parts = [f"prunectl {part}" for part in row.line.split(" | ")]
        parts = [part if part == "prunectl shrink" else f"{part} --seed $s" for part in parts]
        parts += [f"prunectl attack {row.attack}"] if row.attack else []
        yield f"# {row.name}"
        yield " |\n  ".join(parts)
