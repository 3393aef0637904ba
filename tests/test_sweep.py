"""A sweep computes what its pipelines share once, keeps what is done, and begins anew what a plan changed."""

import csv
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from prunectl.cli import line
from prunectl.cli.line import Ran as Ended
from prunectl.cli.signals import caught
from prunectl.cli.sweep import _watched
from prunectl.errors import Interrupted
from prunectl.sweep.local import run_local
from prunectl.sweep.plan import read_plan
from prunectl.sweep.stages import stages_of
from prunectl.sweep.work import Job, Outcome, do
from tests.running import PROGRAM, listing, run_cli

PATIENCE = 120.0
PLAN = """
[grid]
net = "--model mlp5 -M hidden=8 --device cpu"
criterion = "magnitude"
sparsity = [0.5, 0.75]
seed = [0, 1]

[pipelines]
dense = "train {net} --epochs 1 --subset 100 --seed {seed} | eval --no-latency"
after = '''train {net} --epochs 1 --subset 100 --seed {seed}
           | prunectl prune -c {criterion} -s {sparsity} --seed {seed} --device cpu
           | eval --no-latency'''

[pipelines.during]
criterion = ["snipit-during"]
run = "train {net} --epochs 4 --subset 100 -c {criterion} -s 0.5 --prune-delay 0 --prune-every 1 --steps 1"
"""
# dense: 2 trainings, 2 evaluations; after: 4 prunings, 4 evaluations; during: 1 training
STAGES = 13
NET = {"net": "--model mlp5 -M hidden=8 --device cpu"}


def stages(text: str) -> dict[str, str]:
    """Names and identities of the stages of a plan."""
    return {stage.name: stage.identity for stage in stages_of(read_plan(text), line.read)[0]}


def test_a_plan_is_every_pipeline_with_every_choice_of_the_values_that_it_names():
    pipelines = read_plan(PLAN)
    assert [(p.name, p.values.get("seed")) for p in pipelines] == [
        *(("dense", 0), ("dense", 1), ("after", 0), ("after", 1), ("after", 0), ("after", 1), ("during", None))
    ]
    last = pipelines[5]
    assert last.values == {**NET, "criterion": "magnitude", "sparsity": 0.75, "seed": 1}
    assert [command.arguments for command in last.commands] == [
        ("train", *NET["net"].split(), "--epochs", "1", "--subset", "100", "--seed", "1"),
        ("prune", "-c", "magnitude", "-s", "0.75", "--seed", "1", "--device", "cpu"),
        ("eval", "--no-latency"),
    ]


def test_what_pipelines_share_is_one_stage():
    found, results = stages_of(read_plan(PLAN), line.read)
    assert (len(found), len(results)) == (STAGES, 7)
    assert {stage.name: stage.uses for stage in found if stage.uses > 1} == {
        "dense-seed0.train": 3,
        "dense-seed1.train": 3,
    }
    by_identity = {stage.identity: stage for stage in found}
    ends = [by_identity[result.identity].name for result in results]
    assert (ends[0], ends[5], ends[6]) == (
        "dense-seed0.train",
        "after-sparsity0.75-seed1.train.prune",
        "during-snipit-during.train",
    )


def test_a_changed_command_changes_what_comes_behind_it_and_nothing_else():
    before, after = stages(PLAN), stages(PLAN.replace("prune -c {criterion}", "prune --scope layer -c {criterion}"))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if name.startswith("after-") and ".prune" in name}
    earlier = stages(PLAN.replace("--epochs 1", "--epochs 2"))
    assert {name for name in before if before[name] == earlier[name]} == {
        name for name in before if name.startswith("during")
    }


def test_names_that_would_be_the_same_are_told_apart():
    text = """
    [grid]
    labels = ["--random-labels --seed 1", "--random-labels -- seed-1"]
    [pipelines]
    a = "train --model mlp5 --epochs 0 --data {labels}"
    """
    names = list(stages(text.replace("-- seed-1", "--seed=1").replace("--data {labels}", "{labels}")))
    assert names[0] == "a-random-labels-seed-1.train"
    assert names[1].startswith("a-random-labels-seed-1.train-") and len(names) == 2


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("[grid", "it is no TOML: "),
        ("", "it has no pipelines; give [pipelines] with lines such as"),
        ("[gird]\nseed=1\n[pipelines]\na='train --model mlp5'", "'gird' is neither [grid] nor [pipelines]"),
        ("[pipelines]\na = 3", "pipeline 'a' is a line such as"),
        ("[pipelines]\n'a/b' = 'train --model mlp5'", "pipeline 'a/b': a name has letters, digits, - and _"),
        (
            "[pipelines]\na = 'train --model mlp5 --seed {seed}'",
            "names {seed}, which neither it nor [grid] gives values",
        ),
        ("[grid]\nseed=[0]\n[pipelines]\na = 'train --model mlp5'", "no pipeline names {seed} of [grid]"),
        (
            "[grid]\nseed=[]\n[pipelines]\na = 'train --model mlp5 --seed {seed}'",
            "[grid]: seed is a text, a number or a",
        ),
        ("[grid]\nseed=[1,1]\n[pipelines]\na = 'train --model mlp5 --seed {seed}'", "[grid]: seed has a value twice"),
        ("[pipelines.a]\nrun='train --model mlp5'\nx=1", "pipeline 'a' gives values to x, and does not name {x}"),
        ("[pipelines]\na = 'train --model mlp5 | '", "a command is missing beside a |"),
        ('[pipelines]\na = "train --model \'mlp5"', "no closing quotation in"),
        ("[pipelines]\na = 'report x'", "'report x': the commands of a plan are train, prune, shrink, eval, attack"),
        ("[pipelines]\na = 'train --model mlp5 --epoch 3'", "No such option: --epoch"),
        ("[pipelines]\na = 'train --model mlp5 --epochs x'", "Invalid value for '--epochs'"),
        ("[pipelines]\na = 'train --model mlp'", "no model named 'mlp'; did you mean 'mlp5'?"),
        ("[pipelines]\na = 'prune --model mlp5 -c sinp'", "no criterion named 'sinp'; did you mean 'snip'?"),
        (
            "[pipelines]\na = 'train --model mlp5 -o x.safetensors'",
            "a sweep names and keeps files itself; leave out -o",
        ),
        ("[pipelines]\na = 'train --model mlp5 --config x.toml'", "leave out --config"),
        ("[pipelines]\na = 'train --epochs 1'", "a pipeline begins with --model or a CHECKPOINT"),
        ("[pipelines]\na = 'eval x.safetensors'", "nothing stands before it to measure"),
        ("[pipelines]\na = 'train x.safetensors'", "cannot read x.safetensors: no such file or directory"),
        ("[pipelines]\na = 'train --model mlp5 | train --model mlp5'", "it takes the checkpoint of the command before"),
        ("[pipelines]\na = 'train --help'", "--help runs nothing"),
    ],
)
def test_a_bad_plan_is_one_line_before_anything_runs(plan, said, refused, tmp_path):
    (tmp_path / "plan.toml").write_text(plan)
    told = refused("sweep", "plan.toml", "--out", "out")
    assert told.startswith("prunectl: plan.toml: ") and said in told


def test_bad_options_are_one_line(refused, tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    assert "cannot read no.toml" in refused("sweep", "no.toml", "--out", "out")
    assert refused("sweep", "plan.toml", "--out", "out", "--engine", "slurm") == (
        "prunectl: no engine named 'slurm'; take local or ray\n"
    )
    (tmp_path / "file").touch()
    assert "cannot write file" in refused("sweep", "plan.toml", "--out", "file")


def here(name: str, todo: list[Job], jobs: int | None, gpus: float):
    """An engine in this process."""
    ended: dict[str, Outcome] = {}
    for job in todo:
        ended[job.stage.identity] = outcome = do(job, ended.get(str(job.after)))
        yield outcome


def table(out: Path) -> list[dict[str, str]]:
    """The rows of a report."""
    return list(csv.DictReader((out / "report.csv").read_text().splitlines()))


@pytest.fixture
def sweep(raw, tmp_path, monkeypatch):
    """`sweep(plan)` runs a plan into the folder out, in this process; gives exit code and record."""
    monkeypatch.setattr("prunectl.cli.sweep._engine", here)

    def run(plan: str):
        (tmp_path / "plan.toml").write_text(plan)
        ran = raw("sweep", "plan.toml", "--out", "out", "--json")
        return ran.code, json.loads(ran.out)

    return run


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
    assert [(row["pipeline"], row["criterion"], row["sparsity"], row["seed"]) for row in rows[:3]] == [
        ("dense", "", "", "0"),
        ("dense", "", "", "1"),
        ("after", "magnitude", "0.5", "0"),
    ]
    assert [float(row["weight_sparsity"]) for row in rows] == pytest.approx([0, 0, 0.5, 0.5, 0.75, 0.75, 0.5], abs=1e-3)
    assert [bool(row["accuracy"]) for row in rows] == [True] * 6 + [False]
    assert rows[2]["checkpoint"] == "out/after-sparsity0.5-seed0.train.prune.safetensors"
    told = json.loads((out / "report.json").read_text())
    assert [row["checkpoint"] for row in told] == [row["checkpoint"] for row in rows]
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
    assert "already, 0.5 was asked; ask for more" in record["failed"][name]
    ran = raw("sweep", "plan.toml", "--out", "out")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1] == (
        "prunectl: 1 of the stages failed and 2 behind them did not run; out/stages/twice-sparsity0.5.prune.prune.log "
        "tells more of the first, the same command tries them again"
    )
    assert "already" in (tmp_path / "out" / "stages" / f"{name}.log").read_text()
    assert [(row["pipeline"], row["sparsity"]) for row in table(tmp_path / "out")] == [
        ("twice", "0.9"),
        ("once", "0.5"),
        ("once", "0.9"),
    ]


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


def done(out: Path) -> dict[str, int]:
    """The stages that are done, and when they were."""
    found = {}
    for path in (out / "stages").glob("*.json"):
        if json.loads(path.read_text())["state"] == "done":
            found[path.stem] = path.stat().st_mtime_ns
    return found


def killed(folder: Path, command: list[str], least: int) -> dict[str, int]:
    """Run a sweep in a process of its own, kill it when some stages are done, and tell which."""
    running = subprocess.Popen([*PROGRAM, *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    begun = time.monotonic()
    while len(done(folder / "out")) < least:
        assert running.poll() is None and time.monotonic() - begun < PATIENCE, running.communicate()
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.communicate()  # ends when no process of it holds the pipes any more
    return done(folder / "out")


def test_a_killed_sweep_goes_on_with_what_was_not_finished(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    command = ["sweep", "plan.toml", "--out", "out"]
    before = killed(tmp_path, command, 5)
    assert 5 <= len(before) < STAGES
    ran = run_cli(tmp_path, *command, "--json")
    assert ran.code == 0, ran.err
    record = json.loads(ran.out)
    assert (record["stages"], record["run"]) == (STAGES, STAGES - len(before))
    after = done(tmp_path / "out")
    assert len(after) == STAGES
    assert {name: after[name] for name in before} == before
    assert run_cli(tmp_path, "rerun", "out/after-sparsity0.75-seed1.train.prune.safetensors").code == 0


def half_dead(arguments, told) -> Ended:
    """A command that takes its process down with it where it is an attack, else one that does nothing."""
    if arguments[0] == "attack":
        os._exit(9)
    for name in arguments:
        if name.startswith("/"):
            Path(name).touch()
    return Ended(0, "", "")


def test_a_process_that_dies_takes_down_its_stage_alone(tmp_path):
    plan = """
    [pipelines]
    a = "train --model mlp5 | attack | eval | prune | train"
    b = "train --model mlp5 | attack -a fgsm | shrink"
    """
    (tmp_path / "stages").mkdir()
    found, _ = stages_of(read_plan(plan), line.read)
    jobs = [
        Job(stage, stage.parent, tmp_path, tmp_path / stage.name, None, begun=False, run=half_dead, working=tmp_path)
        for stage in found
    ]
    ended = {outcome.stage.name: outcome for outcome in run_local(jobs, 2)}
    dead = "its process was killed, or ran out of memory"
    assert {name: outcome.error for name, outcome in ended.items()} == {
        "a.train": None,
        "a.train.attack": dead,
        "a.train.eval": None,
        "a.train.prune": None,
        "a.train.prune.train": None,
        "b.train.attack": dead,
        "b.train.shrink": None,
    }
    order = list(ended)
    assert order.index("a.train") < order.index("a.train.prune") < order.index("a.train.prune.train")


def sleepy(arguments, told) -> Ended:
    """A training that goes on until it is asked to stop, and then says so."""
    with caught() as stopped:
        told.write("begun")
        told.flush()
        while not stopped:
            time.sleep(0.01)
    return Ended(130, "", "interrupted")


def test_a_sweep_that_is_asked_to_end_lets_its_trainings_save(tmp_path):
    (tmp_path / "stages").mkdir()
    (stage,), _ = stages_of(read_plan("[pipelines]\na = 'train --model mlp5'"), line.read)
    job = Job(stage, None, tmp_path, tmp_path / stage.name, None, begun=False, run=sleepy, working=tmp_path)
    log = tmp_path / "stages" / "a.train.log"

    def ask() -> None:
        while not (log.exists() and log.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(Interrupted, match="interrupted after 0 of 1 stages; the same command goes on"):
        _watched([job], run_local([job], 1))
    asking.join()
    assert json.loads((tmp_path / "stages" / "a.train.json").read_text())["state"] == "begun"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.slow
def test_a_killed_sweep_on_ray_goes_on_with_what_was_not_finished(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")  # on a machine with much to do
    (tmp_path / "plan.toml").write_text(PLAN)
    command = ["sweep", "plan.toml", "--out", "out", "--engine", "ray", "--jobs", "2"]
    before = killed(tmp_path, command, 5)
    assert 5 <= len(before) < STAGES
    again = subprocess.run([*PROGRAM, *command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    record, after = json.loads(again.stdout), done(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert (record["stages"], len(after)) == (STAGES, STAGES)
    found = int(again.stderr.split(" done before")[0].split()[-1])  # a worker may outlive the driver by a stage
    assert found >= len(before)
    assert record["run"] == STAGES - found


def test_without_ray_there_is_a_hint(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "plan.toml").write_text("[pipelines]\na = 'train --model mlp5 --epochs 0'")
    assert refused("sweep", "plan.toml", "--out", "out", "--engine", "ray") == (
        "prunectl: --engine ray needs Ray: pip install 'prunectl[ray]'\n"
    )
