"""A sweep computes what its pipelines share once, keeps what is done, and begins anew what a plan changed."""

import csv
import json
from pathlib import Path

import pytest

from prunectl.sweeping.work import Job, Outcome, do
from tests.helpers.plans import PLAN, STAGES
from tests.helpers.running import listing


def here(name: str, todo: list[Job], jobs: int | None, gpus: float):
    """An engine in this process."""
    ended: dict[str, Outcome] = {}
    for job in todo:
        ended[job.stage.identity] = outcome = do(job, ended.get(str(job.after)))
        yield outcome


def table(out: Path) -> list[dict[str, str]]:
    """The rows of a report."""
    return list(csv.DictReader((out / "report.csv").read_text().splitlines()))


def blank(figure, file, **_) -> None:
    """In place of drawing, which takes most of the time of a sweep of small networks."""
    file.write("<svg></svg>")


@pytest.fixture
def sweep(raw, tmp_path, monkeypatch, request):
    """`sweep(plan)` runs a plan into the folder out, in this process; gives exit code and record.

    The figures of its page are drawn in the long test alone; tests/reporting draws every figure.
    """
    monkeypatch.setattr("prunectl.cli.commands.sweep._engine", here)
    if request.node.get_closest_marker("long") is None:
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", blank)

    def run(plan: str):
        (tmp_path / "plan.toml").write_text(plan)
        ran = raw("sweep", "plan.toml", "--out", "out", "--json")
        return ran.code, json.loads(ran.out)

    return run


@pytest.mark.long
def test_a_sweep_ends_in_a_report_and_runs_no_stage_twice(sweep, tmp_path):
    code, record = sweep(PLAN)
    assert code == 0
    assert {key: record[key] for key in ("report", "pipelines", "stages", "shared", "run", "failed")} == {
        "report": "out/report.html",
        "pipelines": 7,
        "stages": STAGES,
        "shared": 4,
        "run": STAGES,
        "failed": {},
    }
    out = tmp_path / "out"
    rows = table(out)
    assert [(row["pipeline"], row["plan_criterion"], row["sparsity"], row["plan_seed"]) for row in rows[:3]] == [
        ("dense", "", "", "0"),
        ("dense", "", "", "1"),
        ("after", "magnitude", "0.5", "0"),
    ]
    assert [float(row["weight_sparsity"]) for row in rows] == pytest.approx([0, 0, 0.5, 0.5, 0.75, 0.75, 0.5], abs=1e-3)
    assert [bool(row["accuracy"]) for row in rows] == [True] * 6 + [False]
    assert rows[2]["checkpoint"] == "out/after-sparsity0.5-seed0.train.prune.safetensors"
    told = json.loads((out / "report.json").read_text())
    assert [row["checkpoint"] for row in told] == [row["checkpoint"] for row in rows]
    assert [(row["plan_criterion"], row["criterion"], row["plan_seed"], row["seed"]) for row in told[:3]] == [
        (None, None, 0, 0),
        (None, None, 1, 1),
        ("magnitude", "magnitude", 0, 0),
    ]
    assert list(rows[0]) == list(dict.fromkeys(rows[0]))
    assert (out / "plan.toml").read_text() == PLAN

    before = listing(out)
    assert sweep(PLAN)[1]["run"] == 0
    assert listing(out) == before

    renamed = PLAN.replace("dense =", "first =").replace("seed = [0, 1]", "seed = [1, 0]")
    assert sweep(renamed)[1]["run"] == 0  # under the names that they have

    code, record = sweep(PLAN.replace("-c {criterion} -s {sparsity}", "-c {criterion} -s {sparsity} --scope layer"))
    assert (code, record["run"]) == (0, 8)
    assert b"layer" in (out / "after-sparsity0.5-seed0.train.prune.safetensors").read_bytes()

    (out / "dense-seed0.train.safetensors").unlink()
    assert sweep(PLAN)[1]["run"] == 8 + 2  # all of `after` as it was, and what of `dense` stands on seed 0


def test_a_failed_stage_holds_up_what_stands_behind_it_and_nothing_else(sweep, raw, tmp_path):
    plan = """
    [grid]
    sparsity = [0.5, 0.9]
    [pipelines]
    twice = '''prune --model mlp5 -M hidden=8 -c magnitude -s 0.6 | prune -c magnitude -s {sparsity}
               | train --epochs 0 | eval --no-latency'''
    once = "prune --model mlp5 -M hidden=8 -c random -s {sparsity}"
    """
    code, record = sweep(plan)
    assert (code, record["run"]) == (1, 6)
    (name,) = record["failed"]
    assert name == "twice-sparsity0.5.prune.prune"
    assert ", 0.5 was requested; use a higher one" in record["failed"][name]
    ran = raw("sweep", "plan.toml", "--out", "out")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1] == (
        "prunectl: 1 stage failed and 2 that depend on it did not run; see "
        "out/stages/twice-sparsity0.5.prune.prune.log; run the same command to try them again"
    )
    assert "already" in (tmp_path / "out" / "stages" / f"{name}.log").read_text()
    assert [(row["pipeline"], row["sparsity"]) for row in table(tmp_path / "out")] == [
        ("twice", "0.9"),
        ("once", "0.5"),
        ("once", "0.9"),
    ]


@pytest.mark.long
def test_what_measures_a_checkpoint_comes_one_after_the_other_and_fails_alone(sweep, tmp_path):
    plan = """
    [pipelines]
    a = '''train --model mlp5 -M hidden=8 --epochs 0 | eval --no-latency --min-accuracy 1
           | attack -a fgsm,pgd -O steps=2 --eps 0.1 -n 8'''
    b = "train --model mlp5 -M hidden=8 --epochs 0 | attack -a fgsm --eps 0.1 -n 4"
    """
    code, record = sweep(plan)
    assert (code, record["run"], list(record["failed"])) == (1, 3, ["a.train.eval"])
    assert [row["pipeline"] for row in table(tmp_path / "out")] == ["a", "b"]  # on the same checkpoint
    records = [json.loads(text) for text in (tmp_path / "out" / "a.train.results.jsonl").read_text().splitlines()]
    assert [record["command"] for record in records] == ["eval", "attack", "attack"]
    (tmp_path / "out" / "a.train.attack.part.jsonl").touch()  # of another attack, which a kill left
    code, record = sweep(plan.replace("-n 4", "-n 5"))
    assert (code, record["run"]) == (1, 1)


def test_a_file_of_someone_else_is_not_replaced(refused, tmp_path):
    (tmp_path / "plan.toml").write_text("[pipelines]\na = 'train --model mlp5 --epochs 0'")
    (tmp_path / "out" / "stages").mkdir(parents=True)
    (tmp_path / "out" / "stages" / "lock").touch()
    (tmp_path / "out" / "a.train.safetensors").touch()
    assert "out/a.train.safetensors exists, and no sweep wrote it" in refused("sweep", "plan.toml", "--out", "out")


@pytest.mark.parametrize("name", ["plan.toml", "report.csv", "report.json", "report.html"])
def test_a_report_or_plan_of_someone_else_is_not_replaced(refused, tmp_path, name):
    plan = "[pipelines]\na = 'train --model mlp5 -M hidden=8 --epochs 0'"
    (tmp_path / "mine.toml").write_text(plan)
    (tmp_path / name).write_text("mine")
    assert refused("sweep", "mine.toml", "--out", ".") == (
        f"prunectl: {name} exists, and no sweep wrote it; use another --out\n"
    )
    assert listing(tmp_path).keys() == {"mine.toml", name}


def test_a_plan_may_lie_where_the_sweep_goes(sweep, raw, tmp_path):
    (tmp_path / "plan.toml").write_text("[pipelines]\na = 'train --model mlp5 -M hidden=8 --epochs 0'")
    assert raw("sweep", "plan.toml", "--out", ".").code == 0
    assert raw("sweep", "plan.toml", "--out", ".").code == 0


def test_a_sweep_in_which_nothing_ends_says_what_failed(sweep, raw, tmp_path):
    code, record = sweep("[pipelines]\na = 'train --model mlp5 -M hidden=8 --subset 99999'")
    assert (code, record["report"], record["run"]) == (1, None, 0)
    assert list(record["failed"]) == ["a.train"]
    told = raw("sweep", "plan.toml", "--out", "out").err
    assert "1 stage failed; see out/stages/a.train.log; run the same command to try them again" in told


@pytest.mark.long
def test_a_pipeline_may_begin_with_a_checkpoint(sweep, tiny, tmp_path):
    plan = "[pipelines]\na = 'prune tiny.safetensors -c magnitude -s 0.75 | eval --no-latency'"
    assert sweep(plan)[1]["run"] == 2
    assert sweep(plan)[1]["run"] == 0
    tiny.write_bytes(tiny.read_bytes().replace(b'\\"batch_size\\":128', b'\\"batch_size\\":129'))
    assert sweep(plan)[1]["run"] == 2  # other bytes are another beginning


def test_an_interrupted_training_goes_on(sweep, raw, tmp_path, monkeypatch):
    plan = "[pipelines]\na = 'train --model mlp5 -M hidden=8 --subset 300 --epochs 2 --device cpu'"
    sweep(plan)
    out = tmp_path / "out"
    whole = (out / "a.train.safetensors").read_bytes()
    record = json.loads((out / "stages" / "a.train.json").read_text())
    line = "train --model mlp5 -M hidden=8 --subset 300 --epochs 2 --max-minutes 0 -o out/a.train.safetensors --force"
    assert raw(*line.split()).code == 0
    (out / "stages" / "a.train.json").write_text(json.dumps({**record, "state": "begun"}))
    assert sweep(plan)[1]["run"] == 1
    assert (out / "a.train.safetensors").read_bytes() == whole
    assert "resum" not in "".join(listing(out))
    assert len((out / "a.train.log.jsonl").read_text().splitlines()) == 6


def test_stages_are_counted_and_those_that_pipelines_share_only_if_there_are_any(tmp_path, raw) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    (tmp_path / "alone.toml").write_text('[pipelines]\ndense = "train --model mlp5 --epochs 1"\n')
    counted = {name: raw("sweep", f"{name}.toml", "-o", "out", "--dry-run").err for name in ("plan", "alone")}
    assert counted["plan"].startswith(
        f"sweep: 7 pipelines, {STAGES} stages (2 shared by several pipelines), 0 already done"
    )
    assert counted["alone"].startswith("sweep: 1 pipeline, 1 stage, 0 already done")


def test_without_ray_there_is_a_hint(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "plan.toml").write_text("[pipelines]\na = 'train --model mlp5 --epochs 0'")
    assert refused("sweep", "plan.toml", "--out", "out", "--engine", "ray") == (
        "prunectl: --engine ray needs Ray: pip install 'prunectl[ray]'\n"
    )
