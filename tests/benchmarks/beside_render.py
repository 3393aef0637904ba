"""The table and the picture of `beside_torch_pruning`: same records, same bytes."""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.filled import fill

Record = dict[str, Any]
STAGES = {"at_once": "at once", "after_1": "after 1", "after_5": "after 5"}
WIDTH, ROW, TOP, LEFT = 720, 22, 84, 262
STYLE = """
  text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; } .soft { fill: #59636e; } .grid { stroke: #d1d9e0; }
  .ours { stroke: #0969da; fill: #0969da; } .theirs { stroke: #bc4c00; fill: #bc4c00; } .open { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; } .soft { fill: #9198a1; } .grid { stroke: #3d444d; }
    .ours { stroke: #58a6ff; fill: #58a6ff; } .theirs { stroke: #f0883e; fill: #f0883e; } .open { fill: #0d1117; }
  }
"""


def rendered(records: Sequence[Record], place: Path) -> None:
    """Fill the tables of PLACE.md and write PLACE.svg."""
    fill(place.with_suffix(".md"), {heading.partition(";")[0]: list(table(own)) for heading, own in cases(records)})
    place.with_suffix(".svg").write_text(picture(records), encoding="utf-8")


def cases(records: Sequence[Record]) -> Iterator[tuple[str, list[Record]]]:
    """A heading and the records of each network and target."""
    for network, data, target in dict.fromkeys((r["network"], r["data"], r["target"]) for r in records):
        if target == "1":
            continue
        own = [r for r in records if (r["network"], r["data"], r["target"]) == (network, data, target)]
        dense = [r["at_once"] for r in records if (r["network"], r["data"], r["target"]) == (network, data, "1")]
        yield f"{network}, {target}x fewer FLOPs, {data}; dense {statistics.mean(dense):.1f} %", own


def rows(records: Sequence[Record]) -> list[tuple[str, bool, list[Record]]]:
    """Name, whether it is ours, and the records of each method, the best after all epochs first."""
    found: dict[tuple[str, bool], list[Record]] = {}
    for record in records:
        repair = f" + {record['repair']}" if record["repair"] else ""
        found.setdefault((record["method"] + repair, record["side"] == "prunectl"), []).append(record)
    measured = [(name, own, [r for r in each if "refused" not in r]) for (name, own), each in found.items()]
    there = [row for row in measured if row[2]]
    return sorted(there, key=lambda row: (-mean(row[2], "after_5"), row[0]))


def mean(records: Sequence[Record], stage: str) -> float:
    """Over the seeds."""
    return statistics.mean(record[stage] for record in records)


def table(records: Sequence[Record]) -> Iterator[str]:
    """Of one network and target."""
    yield f"| | seeds | fewer FLOPs | parameters | {' | '.join(STAGES.values())} | seconds |"
    yield "|---|" + "--:|" * 7
    for name, is_ours, each in rows(records):
        cells = [cell([record[stage] for record in each]) for stage in STAGES]
        fewer, parameters, seconds = (mean(each, key) for key in ("times_fewer", "parameters", "seconds"))
        side = "ours: " if is_ours else "torch-pruning: "
        yield (
            f"| {side}{name} | {len(each)} | {fewer:.2f}x | {parameters:,.0f} | {' | '.join(cells)} | {seconds:.0f} |"
        )


def cell(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def picture(records: Sequence[Record]) -> str:
    """A row for each method: an open mark at once, a small one after 1 epoch, a full one after 5."""
    body, y = [], 24
    body.append(f'<text class="title" x="8" y="{y}">Accuracy at equal FLOPs: prunectl and torch-pruning</text>')
    body.append(
        f'<text class="soft" x="8" y="{y + 22}">open: at once; small: after 1 short epoch; full: after 5</text>'
    )
    y = TOP
    for heading, own in cases(records):
        body.append(f'<text class="title" x="8" y="{y}">{heading}</text>')
        there = rows(own)
        bottom = y + 14 + ROW * len(there)
        for level in range(0, 101, 20):
            x = across(level)
            body.append(f'<path class="grid" d="M{x} {y + 8}V{bottom}"/>')
            body.append(f'<text class="soft" x="{x}" y="{bottom + 16}" text-anchor="middle">{level}</text>')
        for i, (name, is_ours, each) in enumerate(there):
            body += marks(name, "ours" if is_ours else "theirs", each, y + 20 + ROW * i)
        y = bottom + 52
    shape = f'viewBox="0 0 {WIDTH} {y - 20}" width="{WIDTH}" height="{y - 20}"'
    title = "<title>Accuracy beside torch-pruning</title>"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {shape} role="img">{title}<style>{STYLE}</style>'
    return "\n".join([head, *body, "</svg>"]) + "\n"


def across(accuracy: float) -> float:
    """Where an accuracy in percent is."""
    return round(LEFT + (WIDTH - LEFT - 20) * accuracy / 100, 1)


def marks(name: str, side: str, records: Sequence[Record], y: int) -> list[str]:
    """The row of one method."""
    at = [across(mean(records, stage)) for stage in STAGES]
    label = f"torch-pruning: {name}" if side == "theirs" else name
    return [
        f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{label}</text>',
        f'<path class="{side}" d="M{min(at)} {y}H{max(at)}"/>',
        f'<circle class="{side} open" cx="{at[0]}" cy="{y}" r="4.5"/>',
        f'<circle class="{side}" cx="{at[1]}" cy="{y}" r="3"/>',
        f'<circle class="{side}" cx="{at[2]}" cy="{y}" r="5"/>',
    ]
