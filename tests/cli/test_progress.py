"""Progress where stderr is no terminal: plain lines, signs of life, and how much --quiet and --verbose print."""

import io
import re
import sys
import time

import pytest

from prunectl.cli import heartbeat, progress
from prunectl.cli.epoch_means import EpochMeans
from prunectl.cli.heartbeat import Heartbeat, beating, duration
from prunectl.cli.progress import Bar


class Clock:
    """A clock that a test moves."""

    def __init__(self, monkeypatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (605, "10 min 5 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_plain_lines_have_the_share_the_state_and_the_time_left(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    bar = Bar("training", 100)
    for done, seconds in ((1, 1), (20, 10), (21, 1), (50, 15)):
        clock.wait(seconds)
        bar.update(done, lambda done=done: f"loss {done}")
    assert capsys.readouterr() == (
        "",
        "training 20% loss 20, 46 s left\ntraining 50% loss 50, 28 s left\n",
    )


def test_work_that_was_done_before_says_nothing_of_the_speed(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    bar = Bar("training", 100)
    bar.update(90, str)
    clock.wait(10)
    bar.update(95, lambda: "on")
    assert capsys.readouterr().err == "training 95% on, 10 s left\n"


def test_a_notebook_has_the_bar_of_rich(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not progress.is_drawn()
    monkeypatch.setitem(sys.modules, "IPython", object())
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert progress.is_drawn()


def lines_of(stream: io.StringIO, count: int) -> list[str]:
    """The first lines of a stream, once they are there."""
    end = time.monotonic() + 20
    while stream.getvalue().count("\n") < count and time.monotonic() < end:
        time.sleep(0.01)
    return stream.getvalue().splitlines()[:count]


def test_a_silent_command_shows_that_it_is_alive(monkeypatch):
    monkeypatch.setattr(heartbeat, "FIRST", 0.02)
    monkeypatch.setattr(heartbeat, "EVERY", 0.03)
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    with beating("shrink", silent=False):
        lines_of(stream, 1)
        with progress.progress_bar("shrink") as bar:
            bar.step("proof in float64")
            told = lines_of(stream, 3)
    assert told[0] == "shrink: started"
    assert re.fullmatch(r"shrink: proof in float64, \d+ s so far", told[2])
    length = len(stream.getvalue())
    time.sleep(0.1)
    assert len(stream.getvalue()) == length


def test_no_sign_of_life_while_input_is_awaited_or_lines_come(monkeypatch):
    monkeypatch.setattr(heartbeat, "FIRST", 0.05)
    monkeypatch.setattr(heartbeat, "EVERY", 0.05)
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    with beating("eval", silent=False):
        with heartbeat.waiting():
            time.sleep(0.15)
        assert stream.getvalue() == ""
        assert lines_of(stream, 1) == ["eval: started"]
    assert heartbeat.running() is None


@pytest.mark.parametrize("silent", [True, False])
def test_no_sign_of_life_on_a_terminal_or_where_it_is_not_wanted(silent, monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: not silent
    monkeypatch.setattr(sys, "stderr", stream)
    with beating("eval", silent=silent):
        assert heartbeat.running() is None


def test_a_closed_stderr_ends_the_signs_of_life():
    stream = io.StringIO()
    stream.close()
    beat = Heartbeat("eval", stream)
    beat.last -= 100
    beat.start()
    beat.stop()


def test_means_of_an_epoch_over_its_records():
    records = [
        {"epoch": 1.0, "images": 30, "loss": 9.0, "accuracy": 0.0},
        {"epoch": 1.5, "images": 30, "loss": 2.0, "accuracy": 0.5},
        {"epoch": 2.0, "images": 10, "loss": 1.0, "accuracy": 0.9},
    ]
    means = None
    for record in records:
        means = EpochMeans.of(record, means)
    assert means == EpochMeans(2, 40, pytest.approx(1.75), pytest.approx(0.6))


def test_quiet_prints_errors_and_warnings_alone(net, raw, tmp_path):
    assert raw("shrink", "net.prune.safetensors", "-q", "-o", "new.safetensors").err == ""
    assert raw("train", net.name, "--epochs", 1, "--subset", 64, "--quiet").err == ""
    (tmp_path / "net.results.jsonl").mkdir()
    told = raw("eval", net.name, "--no-latency", "-q").err
    assert told.startswith("warning: cannot write net.results.jsonl") and told.count("\n") == 1
    assert raw("eval", "gone.safetensors", "-q").err.startswith("prunectl: cannot read gone.safetensors")


def test_verbose_adds_versions_time_and_memory_and_leaves_stdout_alone(net, raw):
    plain, told = (raw("shrink", "net.prune.safetensors", "--force", *more) for more in ([], ["-v"]))
    assert plain.out == told.out == "net.prune.shrink.safetensors\n"
    first, *between, last = told.err.splitlines()
    assert re.fullmatch(r"shrink: prunectl \S+, torch \S+, Python 3\.\d+\.\d+", first)
    assert re.fullmatch(r"shrink: \d+ s, peak memory \S+B", last)
    assert "shrink: proof in float64" in between
    assert [line for line in between if line in plain.err.splitlines()] == plain.err.splitlines()


def test_one_of_quiet_and_verbose(net, refused):
    assert (
        refused("eval", net.name, "-q", "-v") == "prunectl: --quiet and --verbose exclude each other; use one of them\n"
    )


def test_quiet_is_no_part_of_a_history(net, cli, tmp_path):
    def made(*more: str) -> bytes:
        cli("prune", net.name, "-c", "random", "--force", *more)
        return (tmp_path / "net.prune.safetensors").read_bytes()

    assert made() == made("-q") == made("--verbose")


def test_a_bar_that_goes_on_with_other_work_counts_anew(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    bar = Bar("snip", 100)
    clock.wait(60)
    bar.update(100, lambda: "round 1 of 1")
    bar.begin("repair", 21)
    for done in (0, 1, 2, 7):
        clock.wait(4)
        bar.update(done, lambda done=done: f"layer {done + 1} of 21")
    assert capsys.readouterr().err == ("snip 100% round 1 of 1\nrepair 10% layer 3 of 21, 1 min 54 s left\n")


def test_signs_of_life_forget_a_bar_that_ended(monkeypatch):
    beat = Heartbeat("report", io.StringIO())
    beat.activity = "report: measuring speed"
    monkeypatch.setattr(heartbeat, "_running", [beat])
    bar = Bar("reading imagefolder", 1200)
    assert beat.activity == "reading imagefolder: working"
    bar.close()
    assert beat.activity == "report: measuring speed"
