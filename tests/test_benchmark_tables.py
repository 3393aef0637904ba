"""Tables of benchmarks in Markdown files: made from records, between words that stay."""

import re
from pathlib import Path

import pytest

from prunectl.pruning import by_criterion
from prunectl.pruning.repair import repair as repairing
from prunectl.pruning.units import with_nodes
from tests.benchmarks import rankings, repair
from tests.benchmarks.beside_render import rows, table
from tests.benchmarks.filled import fill

ROOT = Path(__file__).parents[1]
RECORD = {"repair": None, "times_fewer": 2.0, "parameters": 100, "seconds": 1.0, "at_once": 10.0, "after_1": 20.0}


def test_table_is_replaced_and_words_stay(tmp_path: Path) -> None:
    page = tmp_path / "PAGE.md"
    page.write_text("# Title\n\n<!-- one -->\n| old |\n| row |\n\nWords.\n\n<!-- two -->\n\n<!-- three -->\n\nEnd.\n")
    for _ in range(2):
        fill(page, {"one": ["| new |"], "two": ["| a \\1 |", "| b |"], "three": ["| c |"]})
        assert page.read_text() == (
            "# Title\n\n<!-- one -->\n| new |\n\nWords.\n\n<!-- two -->\n| a \\1 |\n| b |\n\n"
            "<!-- three -->\n| c |\n\nEnd.\n"
        )


def test_table_without_a_marker_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "PAGE.md"
    page.write_text("# Title\n")
    with pytest.raises(AssertionError, match=r"PAGE\.md has no marker <!-- one -->"):
        fill(page, {"one": []})


def test_methods_are_ordered_by_their_last_accuracy_and_refusals_left_out() -> None:
    records = [
        {**RECORD, "side": "torch-pruning", "method": "Taylor", "after_5": 40.0},
        {**RECORD, "side": "prunectl", "method": "taylor", "after_5": 50.0},
        {**RECORD, "side": "prunectl", "method": "taylor", "after_5": 60.0},
        {"repair": None, "side": "prunectl", "method": "fpgm", "refused": "no"},
    ]
    assert [(name, ours) for name, ours, _ in rows(records)] == [("taylor", True), ("Taylor", False)]
    assert list(table(records))[2:] == [
        "| ours: taylor | 2 | 2.00x | 100 | 10.0 ± 0.0 | 20.0 ± 0.0 | 55.0 ± 7.1 | 1 |",
        "| torch-pruning: Taylor | 1 | 2.00x | 100 | 10.0 | 20.0 | 40.0 | 1 |",
    ]


def test_accuracies_in_the_guide_are_those_of_the_benchmark() -> None:
    guide = (ROOT / "prunectl/guide/before.md").read_text(encoding="utf-8")
    measured = (ROOT / "tests/benchmarks/CRITERIA.md").read_text(encoding="utf-8").partition("### lenet5 on ")[2]
    quoted = re.findall(r"^\| `([\w-]+)`[^|]*((?:\| [\d.]+ ){3})\|$", guide, flags=re.MULTILINE)
    assert len(quoted) == 8
    for name, accuracies in quoted:
        row = re.search(rf"^\| {name} \|(.*)\|$", measured, flags=re.MULTILINE)
        assert row is not None and re.findall(r"[\d.]+", accuracies) == re.findall(r"([\d.]+) ±", row[1])[:3], name


def test_what_benchmarks_do_once_is_called_where_they_replace_it(monkeypatch: pytest.MonkeyPatch) -> None:
    places = ((with_nodes, "analyse"), (by_criterion, "scored"), (repairing, "export"))
    originals = [vars(module)[name] for module, name in places]
    for module, name in places:
        monkeypatch.setattr(module, name, vars(module)[name])
    for once in (rankings.follow_once, rankings.score_once, repair.trace_once):
        once()
    assert all(vars(module)[name] is not before for (module, name), before in zip(places, originals, strict=True))
