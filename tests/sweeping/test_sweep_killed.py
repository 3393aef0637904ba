"""A sweep that is killed, or loses a process, or is asked to end, keeps what is done and goes on."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from prunectl.cli import in_process
from prunectl.cli.commands.sweep import _watched
from prunectl.cli.in_process import Ran as Ended
from prunectl.cli.signals import caught
from prunectl.errors import Interrupted
from prunectl.sweeping.local import run_local
from prunectl.sweeping.plan import read_plan
from prunectl.sweeping.stages import stages_of
from prunectl.sweeping.work import Job
from tests.helpers.plans import PLAN, STAGES
from tests.helpers.running import PROGRAM, run_cli

PATIENCE = 120.0
ROOT = Path(__file__).parents[2]


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


@pytest.mark.long
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
    found, _ = stages_of(read_plan(plan), in_process.read)
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


LOCKS = []


def locking(arguments, told) -> Ended:
    """A command that makes a lock for processes, as tqdm does in every library that shows its progress."""
    LOCKS.append(multiprocessing.RLock())
    return half_dead(arguments, told)


LOCKED = """
import sys
from pathlib import Path
from tests.sweeping.test_sweep_killed import Job, in_process, locking, read_plan, run_local, stages_of
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found, _ = stages_of(read_plan("[pipelines]\\na = 'train --model mlp5 | prune | eval'"), in_process.read)
    jobs = [Job(s, s.parent, folder, folder / s.name, None, False, locking, folder) for s in found]
    print(sum(outcome.error is None for outcome in run_local(jobs, 2)))
"""


@pytest.mark.long
def test_a_sweep_leaves_no_locks_behind(tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "locked.py").write_text(LOCKED)
    line = [sys.executable, str(tmp_path / "locked.py"), str(tmp_path)]
    ran = subprocess.run(line, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (ran.stdout, ran.stderr) == ("3\n", "")


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
    (stage,), _ = stages_of(read_plan("[pipelines]\na = 'train --model mlp5'"), in_process.read)
    job = Job(stage, None, tmp_path, tmp_path / stage.name, None, begun=False, run=sleepy, working=tmp_path)
    log = tmp_path / "stages" / "a.train.log"

    def ask() -> None:
        while not (log.exists() and log.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(Interrupted, match="interrupted after 0 of 1 stage; the same command continues"):
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
    found = int(again.stderr.split(" already done")[0].split()[-1])  # a worker may outlive the driver by a stage
    assert found >= len(before)
    assert record["run"] == STAGES - found
