"""Curves: which runs are one operating point, and what the report says about them."""

import io
import json
import shutil

import pandas
import pytest

from prunectl.reporting.curves import Stat, pareto, settings
from prunectl.reporting.formats import as_latex
from prunectl.reporting.page.best import best
from prunectl.reporting.page.checklist import checklist
from prunectl.reporting.page.headline import answer
from prunectl.reporting.page.provenance import tree
from prunectl.reporting.rows import report
from prunectl.reporting.sources import collect
from tests.helpers.report_folders import TRAIN, checkpoint, log, measure, sweep

SNIP = {"criterion": "snip", "sparsity": 0.9, "seed": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep")
    sweep(path)
    return path


def setting_of(folder):
    """The only setting of a folder, and the notices."""
    (setting,), notices = settings(collect([folder]))
    return setting, notices


def test_mean_and_sample_deviation_of_what_was_measured():
    assert Stat.of([0.8, None, 0.9]) == Stat(pytest.approx(0.85), pytest.approx(0.0707106781), 2)
    assert Stat.of([0.8]) == Stat(0.8, None, 1)
    assert Stat.of([None]) is None


def test_pareto_front():
    assert pareto([(1, 5), (2, 5), (3, 7), (2, 4), (0, 1)]) == [4, 0, 2]
    assert pareto([(1, 1), (1, 2)]) == [1]
    assert pareto([]) == []


def test_an_operating_point_is_a_method_at_a_target_over_its_seeds(folder):
    setting, notices = setting_of(folder)
    assert notices == []
    assert (setting.name, len(setting.dense.rows)) == ("lenet5 on digits", 3)
    assert [(s.label, s.when) for s in setting.series] == [("magnitude", "after"), ("random", "after")]
    magnitude = setting.series[0]
    assert [point.target for point in magnitude.points] == [0.5, 0.75, 0.9, 0.95, 0.98]
    assert [[row["seed"] for row in point.rows] for point in magnitude.points] == [[0, 1, 2]] * 5
    assert magnitude.points[2].stat("accuracy") == Stat(pytest.approx(0.82), pytest.approx(0.01), 3)
    assert magnitude.points[2].stat("compression").mean == 10
    assert magnitude.points[2].stat("speedup").mean == 10


def test_training_flops_are_those_of_all_trainings_that_led_to_a_network(folder, tmp_path):
    rows = {row["checkpoint"].rpartition("/")[2]: row["training_flops"] for row in report([folder])}
    assert rows["dense-s0.safetensors"] == 3000
    assert rows["magnitude-0.5-s0.pruned.safetensors"] == 3000
    assert rows["magnitude-0.5-s0.safetensors"] == 6000
    for name in ("magnitude-0.5-s0.safetensors", "magnitude-0.5-s0.log.jsonl"):
        shutil.copy(folder / name, tmp_path)
    sources = collect([tmp_path])
    assert [row["training_flops"] for row in report([tmp_path])] == [None]
    assert [notice.partition(": ")[2].partition(" (")[0][:13] for notice in sources.notices] == ["its ancestor "] * 2
    assert sources.notices[0].endswith("(made by train) is not in the folder, so its cost is not counted")


def test_recipes_of_one_criterion_are_separate_series(tmp_path):
    for batches in (1, 5):
        prune = ("prune", {**SNIP, "options": {"batches": batches}})
        measure(checkpoint(tmp_path, f"snip{batches}", prune, ("train", {**TRAIN, "seed": 0}), weights=10), 0.8)
    setting, notices = setting_of(tmp_path)
    assert [(s.label, s.when) for s in setting.series] == [
        ("snip (batches=1)", "before"),
        ("snip (batches=5)", "before"),
    ]
    assert setting.dense is None
    assert len(notices) == 0


def test_the_same_seed_twice_is_no_second_seed(tmp_path):
    for name, more in (("a", {}), ("b", {"device": "cuda"})):
        path = checkpoint(tmp_path, name, ("prune", {**SNIP, **more}), ("train", {**TRAIN, "seed": 0}), weights=10)
        measure(path, 0.8)
    setting, notices = setting_of(tmp_path)
    assert [len(point.rows) for _, point in setting.points] == [1]
    assert notices == [
        f"{tmp_path}/b.safetensors and {tmp_path}/a.safetensors have the same method, target and seed; the latter "
        "is used"
    ]


def test_data_sets_are_not_mixed(tmp_path):
    for data in ("digits", "mnist"):
        path = checkpoint(tmp_path, data, ("train", {**TRAIN, "seed": 0}), data=data)
        measure(path, 0.8, data={"name": data})
    found, notices = settings(collect([tmp_path]))
    assert [setting.name for setting in found] == ["lenet5 on digits", "lenet5 on mnist"]
    assert notices == ["several data sets (digits, mnist): their accuracies are not compared with each other"]


def test_times_of_several_devices_are_a_notice(tmp_path):
    for device in ("cpu", "cuda:0"):
        path = checkpoint(tmp_path, device[:3], ("train", {**TRAIN, "seed": len(device)}))
        measure(path, 0.8, device=device)
    assert setting_of(tmp_path)[1] == ["times were measured on cpu and cuda: do not compare them"]


def test_the_checklist_of_a_whole_sweep_is_met(folder):
    assert [check.met for check in checklist(setting_of(folder)[0])] == [True] * 8


def test_the_checklist_says_what_is_missing(tmp_path):
    sweep(tmp_path, criteria=("snip",), sparsities=(0.5, 0.9), seeds=(0,))
    (tmp_path / "dense-s0.safetensors").unlink()
    (tmp_path / "dense-s0.results.jsonl").unlink()
    (tmp_path / "dense-s0.log.jsonl").unlink()
    found = {check.rule: check.found for check in checklist(setting_of(tmp_path)[0]) if not check.met}
    assert found == {
        "several seeds": "1 per point; run snip 0.5, snip 0.9 with at least 3 (--seed)",
        "at least 5 operating points per curve": "fewer: snip (2)",
        "a random control": "missing: prune with --criterion random (weights) or structured-random (nodes)",
        "a magnitude control": "missing: prune with --criterion magnitude (weights) or efficient-convnets (nodes)",
        "the dense network": "missing: train and evaluate it with the same settings",
    }


def answer_of(folder):
    """The answer of the only setting of a folder."""
    sources = collect([folder])
    (setting,), _ = settings(sources)
    return answer(setting, sources.every)


def snip(folder, sparsity, accuracy, **more):
    """A network that snip pruned, and that was trained with half of the FLOPs."""
    kept = round(100 * (1 - sparsity))
    steps = ("prune", {**SNIP, "sparsity": sparsity}), ("train", {**TRAIN, "seed": 0})
    path = checkpoint(folder, f"snip-{sparsity}", *steps, weights=kept)
    measure(path, accuracy, kept=kept, **more)
    log(path, accuracy, flops=1500)
    return path


def test_the_answer_is_the_smallest_network_within_a_point_of_dense(tmp_path):
    measure(checkpoint(tmp_path, "dense", ("train", {**TRAIN, "seed": 0})), 0.9, robust={0.1: 0.5})
    for sparsity, accuracy in ((0.5, 0.9), (0.75, 0.892), (0.9, 0.88)):
        snip(tmp_path, sparsity, accuracy, robust={0.1: 0.4})
    found = answer_of(tmp_path)
    assert found.words == ("3.1× fewer nonzero parameters", "89.2\u00a0% (\u22120.8)")  # 10 of 110 cannot be pruned
    assert found.reference == (
        "snip 0.75, 1 seed, dense 90.00\u00a0%. It has the fewest weights of 3 operating points within 1 "
        "point of dense."
    )
    assert found.path.endswith("snip-0.75.safetensors")
    assert [(tile.words, tile.number, tile.source) for tile in found.tiles] == [
        ("Nonzero parameters", "110 → 35", "68.2\u00a0% fewer"),
        ("FLOPs for one image, as executed", "1k", "4.0× fewer without pruned weights"),
        ("Time for one image", "1 ms", "as dense; from separate eval runs"),
        ("Compressed size", "0.4 → 0.1 KB", "4.0× smaller"),
        ("Training FLOPs", "3k → 1.5k", "0.50× the dense value"),
        ("Robust accuracy, fgsm at ε = 0.1", "40.0\u00a0%", "dense 50.0\u00a0%"),
    ]


def test_the_margin_widens_where_nothing_is_close_to_dense(tmp_path):
    measure(checkpoint(tmp_path, "dense", ("train", {**TRAIN, "seed": 0})), 0.9)
    chosen = []
    for sparsity, accuracy in ((0.98, 0.3), (0.9, 0.86), (0.75, 0.885)):
        snip(tmp_path, sparsity, accuracy)
        found = best(setting_of(tmp_path)[0])
        chosen.append((found.point.target, found.margin))
    assert chosen == [(0.98, None), (0.9, 5), (0.75, 2)]


def test_dense_ancestors_of_all_seeds_are_the_baseline(tmp_path):
    pruned = []
    for seed in (0, 1):
        dense = ("train", {**TRAIN, "seed": seed})
        measure(checkpoint(tmp_path, f"dense{seed}", dense), 0.9 + seed / 50)
        prune = ("prune", {**SNIP, "sparsity": 0.5, "seed": seed})
        pruned.append(checkpoint(tmp_path, f"pruned{seed}", dense, prune, weights=50))
        measure(pruned[-1], 0.8)
    (setting,), _ = settings(collect(pruned))
    assert setting.dense.stat("accuracy").mean == pytest.approx(0.91)
    assert len(setting.dense.rows) == 2


def test_the_answer_for_one_network_has_its_dense_ancestor_as_reference(tmp_path):
    dense, prune = ("train", {**TRAIN, "seed": 0}), ("prune", {**SNIP, "sparsity": 0.5})
    measure(checkpoint(tmp_path, "dense", dense), 0.9)
    path = checkpoint(tmp_path, "pruned", dense, prune, weights=50)
    measure(path, 0.844, kept=50, latency=[])
    found = answer_of(path)
    assert found.words == ("1.8× fewer nonzero parameters", "84.4\u00a0% (\u22125.6)")
    assert found.reference == "snip 0.5, 1 seed, dense 90.00\u00a0%."
    assert "Time for one image" not in [tile.words for tile in found.tiles]  # was not measured


def test_the_answer_for_a_dense_network_is_its_accuracy(tmp_path):
    measure(checkpoint(tmp_path, "dense", ("train", {**TRAIN, "seed": 0})), 0.9)
    assert answer_of(tmp_path).words == ("90.00\u00a0%",)


def test_methods_have_the_names_of_the_plan(tmp_path):
    rows = []
    for rate in (0.001, 0.1):
        for sparsity in (0.5, 0.9):
            train = ("train", {**TRAIN, "seed": 0, "lr": rate})
            path = checkpoint(tmp_path, f"{rate}-{sparsity}", ("prune", {**SNIP, "sparsity": sparsity}), train)
            measure(path, 0.5)
            rows.append(
                {"pipeline": "before", "plan_seed": 0, "sparsity": sparsity, "rate": rate, "checkpoint": str(path)}
            )
    (tmp_path / "report.json").write_text(json.dumps(rows))
    assert [series.label for series in setting_of(tmp_path)[0].series] == ["before rate 0.001", "before rate 0.1"]
    for broken in ("{", "[1]", '[{"pipeline": [], "checkpoint": "a"}]', '[{"pipeline": "p"}]'):
        (tmp_path / "report.json").write_text(broken)
        assert [series.label for series in setting_of(tmp_path)[0].series] == ["snip (lr=0.001)", "snip (lr=0.1)"]


def test_csv_opens_in_pandas_with_a_row_for_every_checkpoint_and_seed(folder, cli):
    table = pandas.read_csv(io.StringIO(cli("report", folder, "--csv")))
    assert len(table) == 3 * (1 + 2 * 5 * 2)
    assert table["seed"].tolist().count(1) == 21
    measured = table[table.accuracy.notna() & (table.criterion == "random") & (table.target_sparsity == 0.9)]
    assert measured.seed.tolist() == [0, 1, 2]
    assert measured.accuracy.mean() == pytest.approx(0.46)


def test_latex(tmp_path):
    sweep(tmp_path, criteria=("n_m",), sparsities=(0.5,), seeds=(0, 1))
    assert as_latex(settings(collect([tmp_path]))[0]).splitlines() == [
        r"\begin{tabular}{llrrrrr}",
        r"\toprule",
        r"criterion & target & compression & theoretical speed-up & top-1 (\%) & top-5 (\%) & seeds \\",
        r"\midrule",
        r"\multicolumn{7}{l}{lenet5 on digits} \\",
        r"dense &  & $1\times$ & $1\times$ & $90.50 \pm 0.71$ & $100.00 \pm 0.00$ & 2 \\",
        r"n\_m & 0.5 & $2\times$ & $2\times$ & $65.50 \pm 0.71$ & $100.00 \pm 0.00$ & 2 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_the_tree_draws_runs_of_other_seeds_and_targets_as_one(folder):
    (root,) = tree(collect([folder]).given)
    assert (root.label, root.count, [m.name for m in root.members]) == (
        "train 3 epochs",
        3,
        ["dense-s0", "dense-s1", "dense-s2"],
    )
    assert [(step.label, step.count) for step in root.children.values()] == [
        ("prune magnitude", 15),
        ("prune random", 15),
    ]
    (last,) = root.children["prune random"].children.values()
    assert (last.label, last.count, last.children) == ("train 3 epochs", 15, {})
    assert last.members[0].versions == "prunectl 0.1.0, torch 2.14"
    assert last.members[0].commands == (
        "prunectl train --model lenet5 --input 1x8x8 --classes 10 --epochs 3 | \\\n"
        "  prunectl prune --criterion random --sparsity 0.5 | \\\n"
        "  prunectl train --epochs 3"
    )


def test_the_terminal_shows_means_over_seeds_in_80_columns(folder, raw):
    shown = raw("report", folder)
    assert (shown.code, shown.err) == (0, "")
    assert "\x1b" not in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["magnitude", "0.5", "86.00", "±", "1.00", "2x", "2x", "6k", "3"] in lines
    assert ["0.9", "82.00", "±", "1.00", "10x", "10x", "6k", "3"] in lines


def test_the_terminal_shows_unmet_rules_of_the_checklist(tmp_path, raw):
    sweep(tmp_path, criteria=("magnitude",), seeds=(0, 1))
    assert raw("report", tmp_path).err.splitlines() == [
        "report: several seeds: 2 per point; run magnitude 0.5, magnitude 0.75, magnitude 0.9 and 2 more with "
        "at least 3 (--seed)",
        "report: a random control: missing: prune with --criterion random (weights) or structured-random (nodes)",
    ]


def test_versions_are_compared_where_both_networks_name_them(tmp_path):
    pruning = ("prune", {"criterion": "snip", "sparsity": 0.5, "seed": 0})
    for name, versions in (("a", {"torch": "2.14"}), ("b", {"torch": "2.14", "timm": "1.0"})):
        measure(checkpoint(tmp_path, name, pruning, weights=50, versions=versions), 0.9)
    assert not any("library versions" in line for line in settings(collect([tmp_path]))[1])
    measure(checkpoint(tmp_path, "c", pruning, weights=50, versions={"torch": "2.11"}), 0.9)
    assert any("2 sets of library versions" in line for line in settings(collect([tmp_path]))[1])
