"""The headline rows: their commands, a run that goes on, and the page that is made from the records."""

import json
import math
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from prunectl.cli import in_process
from tests.benchmarks import headline
from tests.benchmarks.headline_picture import picture
from tests.benchmarks.headline_render import at_flops, page, verdict
from tests.benchmarks.headline_rows import TABLES, Row, Table
from tests.benchmarks.headline_run import NoTimeLeft, commands, run

LINE = "prune --model lenet300 --data digits -c snapit -s 0.5 | shrink | train --subset 100 --epochs 1"
TABLE = Table(
    "small",
    "A table",
    "Words.",
    (
        Row("dense", "train", seeds=(0, 1)),
        Row("snapit 0.5", "prune -s 0.5 | shrink | train", paper="-1 points", least=-0.5, limit="Too few images."),
        Row("structured-random 0.5", "prune -c structured-random | train"),
        Row("width 4", "train -M width=4", attack="-n 10"),
    ),
    curve=True,
)
WHERE = {"table": "small", "attack": "", "commit": "abc", "machine": "Cray, SSE, 2 cores", "threads": 1, "torch": "3.0"}
COST = {"cpu_seconds": 90.0, "wall_seconds": 180.0}


def record(row: Row, seed: int, accuracy: float, flops: int) -> dict:
    """A run of a row."""
    sizes = {"parameters": 1500, "flops": flops, "training_flops": 3000 * flops}
    return {**WHERE, **COST, **sizes, "row": row.name, "line": row.line, "seed": seed, "accuracy": accuracy}


DENSE, SNAPIT, RANDOM, WIDTH = TABLE.rows
RECORDS = [
    record(DENSE, 0, 0.70, 4_000_000),
    record(SNAPIT, 0, 0.69, 2_000_000),
    record(RANDOM, 0, 0.60, 1_000_000),
    record(DENSE, 1, 0.74, 4_000_000),
    record(SNAPIT, 1, 0.72, 2_000_000),
    {**record(SNAPIT, 2, 0.1, 2_000_000), "line": "an older line"},
]


def test_commands_of_a_row_have_the_seed_and_read_the_file_before() -> None:
    assert [" ".join(words) for words in commands("prune -c snip -s 0.9 | shrink | train --epochs 2", "x", 7)] == [
        "prune -c snip -s 0.9 --seed 7 -o x.0.safetensors",
        "shrink x.0.safetensors -o x.1.safetensors",
        "train x.1.safetensors --epochs 2 --seed 7 -o x.2.safetensors",
    ]


def test_commands_of_all_rows_are_known() -> None:
    for table in TABLES:
        for row in table.rows:
            attack = ["attack", "x", *row.attack.split()]
            for words in [*commands(row.line, "x", 0), *([attack] if row.attack else [])]:
                in_process.read(words)


def test_run_stops_without_time_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    row = Row("x", LINE, attack="-a fgsm -n 10 --eps 1/255")
    with pytest.raises(NoTimeLeft):
        run(row, "x", 0, time.monotonic() - 1)
    assert not list(tmp_path.glob("*.safetensors"))
    found = run(row, "x", 0, math.inf)
    assert found["node_sparsity"] == 0.5
    assert (found["epochs"], found["subset"], found["image_size"]) == (1, 100, None)
    assert found["robust"]["images"] == 10
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert run(row, "x", 0, math.inf) == found
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_page_of_a_few_records() -> None:
    shown = page([TABLE], RECORDS)
    assert "6 runs on Cray, SSE, 2 cores, 1 thread, torch 3.0: 0.1 hours of processor time, 0.3 hours by" in shown
    assert shown[shown.index("## A table") :] == "\n".join(
        [
            "## A table\n\nWords.\n",
            "| row | authors | aim | accuracy, % | beside dense | parameters | FLOPs | training FLOPs | processor min "
            "| seeds | commit |",
            "|---|---|---|--:|--:|--:|--:|--:|--:|---|---|",
            "| dense |  |  | 72.0 ± 2.8 |  | 1,500 | 4M | 12G | 1.5 | 0, 1 | abc |",
            "| snapit 0.5 | -1 points | -0.5 points or more: missed | 70.5 ± 2.1 | -1.5 ± 0.7 | 1,500 "
            "| 2M (2.0x fewer) | 6G (2.0x fewer) | 1.5 | 0, 1 | abc |",
            "| structured-random 0.5 |  |  | 60.0 | -10.0 | 1,500 | 1M (4.0x fewer) | 3G (4.0x fewer) | 1.5 "
            "| 0 | abc |",
            "| width 4 |  |  | not run |  |  |  |  |  |  |  |\n",
            "Points of accuracy of SNAP-it above the other curves at its own FLOPs; each seed has its own curves.\n",
            "| row | above random nodes | above narrow dense | above both |",
            "|---|--:|--:|---|",
            "| snapit 0.5 | +4.0 (1) | no point | not known |\n",
            "**snapit 0.5.** Too few images.\n",
            "```sh\n# dense\nprunectl train --seed $s",
            "# snapit 0.5\nprunectl prune -s 0.5 --seed $s |\n  prunectl shrink |\n  prunectl train --seed $s",
            "# structured-random 0.5\nprunectl prune -c structured-random --seed $s |\n  prunectl train --seed $s",
            "# width 4\nprunectl train -M width=4 --seed $s |\n  prunectl attack -n 10\n```\n",
        ]
    )


def test_curve_is_linear_in_the_logarithm_of_flops_and_ends_at_its_points() -> None:
    curve = [(4.0, 80.0), (1.0, 60.0)]
    assert [at_flops(curve, flops) for flops in (1.0, 2.0, 4.0)] == pytest.approx([60, 70, 80])
    assert at_flops(curve, 0.9) is None
    assert at_flops(curve, 4.1) is None


@pytest.mark.parametrize(
    ("above", "expected"),
    [
        ([[1.0], []], "not known"),
        ([[1.0, 2.0], [-1.0, 0.5]], "no"),
        ([[1.0], [1.0]], "in one seed"),
        ([[1.0, 2.0], [1.0, 1.1]], "yes"),
        ([[1.0, 2.0], [-1.0, 1.1]], "within the deviation"),
    ],
)
def test_point_is_above_both_curves_by_more_than_the_deviation(above: list[list[float]], expected: str) -> None:
    assert verdict(above) == expected


def test_picture_holds_a_point_for_each_row() -> None:
    drawn = ElementTree.fromstring(picture("A table", RECORDS[:5]))
    lines = [each.get("points") for each in drawn.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len((points or "").split()) for points in lines] == [1, 2, 2]  # narrow dense, random nodes, SNAP-it


def test_page_and_pictures_are_those_of_the_records() -> None:
    found = headline.records()
    assert headline.PAGE.read_text(encoding="utf-8") == page(TABLES, found)
    for table in TABLES:
        own = [each for each in found if each["table"] == table.key]
        if table.curve and own:
            assert headline.drawn(table).read_text(encoding="utf-8") == picture(table.title, own)


def test_records_have_one_run_of_a_row_and_seed() -> None:
    keys = [json.dumps([each[key] for key in ("table", "line", "attack", "seed")]) for each in headline.records()]
    assert len(keys) == len(set(keys))
