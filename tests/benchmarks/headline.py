"""The rows of HEADLINE.md: the paper's headline results on CIFAR-10, run again.

    python -m tests.benchmarks.headline --folder DIR [--only TABLE,..] [--rows NAME,..] [--seeds 0,1] [--max-minutes N]
    python -m tests.benchmarks.headline --render

DIR holds `cifar10-jpeg/train/CLASS/*.jpg` and `cifar10-jpeg/test/CLASS/*.jpg`; checkpoints are written there. A start
with the same DIR goes on where the last one stopped, inside a training too. A line of headline.jsonl is one run.
Seeds come first, then rows, so that an early stop leaves whole tables of fewer seeds.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prunectl.cli.process import prepare
from tests.benchmarks.headline_picture import picture
from tests.benchmarks.headline_render import page
from tests.benchmarks.headline_rows import TABLES, Row, Table
from tests.benchmarks.headline_run import NoTimeLeft, run

RECORDS = Path(__file__).with_suffix(".jsonl").resolve()
PAGE = RECORDS.with_name("HEADLINE.md")
GUIDE = RECORDS.parents[2] / "prunectl" / "guide"


def records() -> list[dict[str, Any]]:
    """What was run."""
    return [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()] if RECORDS.exists() else []


def chosen(tables: str, names: str, seeds: str) -> Iterator[tuple[Table, Row, int]]:
    """The runs that are asked for, the seeds outermost in each table."""
    for table in TABLES:
        if tables and table.key not in tables.split(","):
            continue
        wanted = [row for row in table.rows if not names or row.name in names.split(",")]
        for seed in sorted({seed for row in wanted for seed in row.seeds}):
            if not seeds or str(seed) in seeds.split(","):
                yield from ((table, row, seed) for row in wanted if seed in row.seeds)


def run_all(args: argparse.Namespace) -> None:
    """Run what is asked for and missing, until no time is left."""
    until = time.monotonic() + 60 * args.max_minutes
    os.chdir(args.folder)
    done = {(r["table"], r["line"], r["attack"], r["seed"]) for r in records()}
    for table, row, seed in chosen(args.only, args.rows, args.seeds):
        if (table.key, row.line, row.attack, seed) in done:
            continue
        stem = f"{table.key}.{row.name.replace(' ', '-')}.{seed}"
        try:
            found = run(row, stem, seed, until)
        except (NoTimeLeft, KeyboardInterrupt):
            print(f"stopped in {stem}; the same command goes on", flush=True)
            return
        record = {"table": table.key, "row": row.name, "line": row.line, "attack": row.attack, "seed": seed, **found}
        with RECORDS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        print(f"{stem}: {found['accuracy']:.4f}, {found['cpu_seconds']:.0f} s of processor time", flush=True)


def render() -> None:
    """Write the page, and a picture for each curve that has records."""
    found = records()
    PAGE.write_text(page(TABLES, found), encoding="utf-8")
    for table in TABLES:
        own = [record for record in found if record["table"] == table.key]
        if table.curve and own:
            drawn(table).write_text(picture(table.title, own), encoding="utf-8")


def drawn(table: Table) -> Path:
    """The picture of a table."""
    return GUIDE / f"headline-{table.key}.svg"


def main() -> None:
    """Run, or render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("headline-runs"))
    parser.add_argument("--only", default="", help="tables")
    parser.add_argument("--rows", default="", help="names of rows")
    parser.add_argument("--seeds", default="")
    parser.add_argument("--max-minutes", type=float, default=math.inf)
    parser.add_argument("--render", action="store_true", help="write HEADLINE.md and the pictures; run nothing")
    args = parser.parse_args()
    if args.render:
        render()
        return
    prepare("train")
    run_all(args)


if __name__ == "__main__":
    main()
