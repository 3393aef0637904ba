"""Links that were planted, two writers of one output, and a reader beside a writer."""

import os
import threading
from pathlib import Path

import pytest
from torch import nn

import prunectl
from prunectl.checkpoints import checkpoint, files, opened, steady
from prunectl.checkpoints.files import append_record, locked, write, write_pair
from prunectl.checkpoints.journal import Journal
from prunectl.errors import CheckpointError, FileError
from tests.helpers.refusals import names, refusal
from tests.helpers.running import run_cli

# --- links


PLANT = {
    "a link": lambda path, target: path.symlink_to(target),
    "a link to nothing": lambda path, target: path.symlink_to(target.with_name("nothing")),
    "a pipe": lambda path, target: os.mkfifo(path),
    "a device": lambda path, target: path.symlink_to("/dev/null"),
}


@pytest.mark.parametrize("planted", PLANT)
@pytest.mark.parametrize(
    "use",
    [
        lambda path: append_record(path, {}),
        lambda path: locked(path, "taken").__enter__(),
        lambda path: Journal(path, "taken"),
    ],
    ids=["record", "lock", "journal"],
)
def test_what_is_no_regular_file_is_not_written(tmp_path, planted, use):
    target = tmp_path / "target"
    target.write_text("precious")
    PLANT[planted](tmp_path / "x", target)
    said = refusal(lambda: use(tmp_path / "x"))
    assert said in (
        f"cannot write {tmp_path / 'x'}: it is a link; move it away",
        f"cannot write {tmp_path / 'x'}: it is not a regular file; move it away",
    )
    assert target.read_text() == "precious"
    assert names(tmp_path) == ["target", "x"]


def test_a_journal_is_not_begun_in_a_file_with_another_name(tmp_path):
    (tmp_path / "target").write_text("precious")
    os.link(tmp_path / "target", tmp_path / "x")
    assert "it has another name too" in refusal(lambda: Journal(tmp_path / "x", "taken"))
    assert (tmp_path / "target").read_text() == "precious"


@pytest.mark.parametrize(("number", "taken"), [(11, True), (13, True), (95, False), (37, False)])
def test_a_file_system_without_locks_holds_none(tmp_path, monkeypatch, number, taken):
    def refused(*_):
        raise OSError(number, "refused")

    monkeypatch.setattr(opened.fcntl, "flock", refused)
    if taken:
        assert refusal(lambda: Journal(tmp_path / "x", "taken")) == "taken"
        return
    journal = Journal(tmp_path / "x", "taken")
    journal.add({"a": 1})
    journal.close()
    write_pair(tmp_path / "y", b"file", tmp_path / "y.mask", b"mask", "aa")
    with locked(tmp_path / "lock", "taken"):
        assert names(tmp_path) == ["lock", "x", "y", "y.mask"]


@pytest.fixture
def precious(tmp_path) -> Path:
    path = tmp_path / "precious"
    path.write_text("precious")
    return path


SUFFIXES = (".safetensors", ".mask.safetensors", ".log.jsonl", ".log.jsonl.part")


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_train_writes_through_no_link(tmp_path, precious, suffix, force):
    (tmp_path / f"a{suffix}").symlink_to(precious)
    line = ["train", "--model", "logistic-regression", "--image-size", 4, "--subset", 32, "--epochs", 1]
    ran = run_cli(tmp_path, *line, "-o", "a.safetensors", *force)
    assert (ran.code, ran.err.count("\n")) == (1, 1), ran.err
    assert precious.read_text() == "precious"
    assert names(tmp_path) == [f"a{suffix}", "precious"]


def test_a_link_in_place_of_a_resume_file_is_replaced_and_not_followed(tmp_path, precious):
    (tmp_path / "a.resume.safetensors").symlink_to(precious)
    line = ["train", "--model", "logistic-regression", "--image-size", 4, "--subset", 256, "--epochs", 2]
    ran = run_cli(tmp_path, *line, "-o", "a.safetensors", "--max-minutes", 0, "--force")
    assert ran.code == 0, ran.err
    assert precious.read_text() == "precious"
    assert not (tmp_path / "a.resume.safetensors").is_symlink()


@pytest.mark.parametrize("command", ["eval --no-latency", "attack -n 2 -b 2 -a fgsm"])
def test_results_go_through_no_link(tiny, tmp_path, precious, command):
    (tmp_path / "tiny.results.jsonl").symlink_to(precious)
    ran = run_cli(tmp_path, *command.split(), "tiny.safetensors")
    assert ran.code == 0 and "it is not a regular file" in ran.err
    assert precious.read_text() == "precious"


def test_a_link_that_comes_after_the_check_is_not_followed(tiny, tmp_path, precious, monkeypatch):
    (tmp_path / "tiny.results.jsonl").symlink_to(precious)
    monkeypatch.setattr("prunectl.cli.results.check_target", lambda *_, **__: None)
    ran = run_cli(tmp_path, "eval", "--no-latency", "tiny.safetensors")
    assert (ran.code, ran.out) == (1, "tiny.safetensors\n")
    assert "it is a link; move it away; the results above are not recorded" in ran.err
    assert precious.read_text() == "precious"


def test_an_attack_keeps_nothing_through_a_link(tiny, tmp_path, precious):
    (tmp_path / "tiny.attack.part.jsonl").symlink_to(precious)
    ran = run_cli(tmp_path, "attack", "-n", 2, "-a", "fgsm", "tiny.safetensors", "--force")
    assert ran.code == 1 and "it is a link; move it away" in ran.err
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(
    ("suffix", "line"),
    [
        (".safetensors", "eval tiny.safetensors"),
        (".mask.safetensors", "eval tiny.safetensors"),
        (".resume.safetensors", "train --resume tiny.resume.safetensors"),
    ],
)
def test_a_pipe_is_not_waited_for(tiny, refused, tmp_path, suffix, line):
    (tmp_path / f"tiny{suffix}").unlink(missing_ok=True)
    (tmp_path / f"tiny{suffix}").symlink_to("/dev/zero")
    assert "tiny" + suffix + ": not a regular file" in refused(*line.split())
    (tmp_path / f"tiny{suffix}").unlink()
    (tmp_path / f"tiny{suffix}").symlink_to(tmp_path.parent / f"pipe{suffix}")
    os.mkfifo(tmp_path.parent / f"pipe{suffix}")
    assert "tiny" + suffix + ": not a regular file" in refused(*line.split())


def test_results_that_are_a_pipe_are_a_notice(tiny, raw, tmp_path):
    os.mkfifo(tmp_path / "tiny.results.jsonl")
    os.mkfifo(tmp_path / "tiny.log.jsonl")
    ran = raw("report", "tiny.safetensors")
    assert ran.code == 0 and ran.err.count("Not a regular file; make it readable, or move it away") == 2


def test_a_board_is_not_written_through_a_link(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "precious").mkdir()
    (tmp_path / "a.tensorboard").symlink_to("precious")
    line = ["train", "--model", "logistic-regression", "--image-size", 4, "--subset", 32, "--epochs", 1]
    ran = run_cli(tmp_path, *line, "-o", "a.safetensors", "--tensorboard")
    assert (ran.code, names(tmp_path / "precious")) == (1, [])
    assert "a.tensorboard: it is a link; move it away, or use --tensorboard-dir" in ran.err


# --- two writers


def test_of_two_writers_of_a_new_file_the_second_fails(tmp_path, monkeypatch):
    path, beside = tmp_path / "x", files._write_beside

    def slow(place, data):
        path.write_bytes(b"first")
        return beside(place, data)

    monkeypatch.setattr(files, "_write_beside", slow)
    expected = f"{path} exists: another program has just written it; nothing was changed"
    assert refusal(lambda: write(path, b"second", force=False)) == expected
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["x"]
    write(path, b"second")
    assert path.read_bytes() == b"second"


def test_where_no_links_can_be_made_a_new_file_is_renamed(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refused)
    write(tmp_path / "x", b"first", force=False)
    assert "exists" in refusal(lambda: write(tmp_path / "x", b"second", force=False))
    assert (tmp_path / "x").read_bytes() == b"first"
    assert names(tmp_path) == ["x"]


def test_the_second_pair_leaves_the_sidecar_of_the_first(tmp_path):
    path, sidecar = tmp_path / "x", tmp_path / "x.mask"
    write_pair(path, b"file aa", sidecar, b"mask aa", "aa", force=False)
    assert "exists" in refusal(lambda: write_pair(path, b"file bb", sidecar, b"mask bb", "bb", force=False))
    assert (path.read_bytes(), sidecar.read_bytes()) == (b"file aa", b"mask aa")
    assert names(tmp_path) == ["x", "x.mask"]


@pytest.mark.parametrize("line", ["prune net.safetensors -c magnitude -s 0.5", "shrink net.prune.safetensors"])
def test_a_command_does_not_replace_what_came_meanwhile_and_keeps_its_result(
    net, raw, tmp_path, monkeypatch, line, tmp_path_factory
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("tmp")))
    take = files._take_name

    def late(beside, path, *, force):
        if path.name == "out.safetensors":
            (tmp_path / path).write_bytes(b"of another command") if path.parent == Path() else None
        take(beside, path, force=force)

    monkeypatch.setattr(files, "_take_name", late)
    ran = raw(*line.split(), "-o", "out.safetensors")
    assert (ran.code, ran.out) == (4, "")
    assert (tmp_path / "out.safetensors").read_bytes() == b"of another command"
    assert not list(tmp_path.glob("out.mask*"))
    told, _, kept = ran.err.strip().rpartition("; the result is in ")
    assert told.endswith("out.safetensors exists: another program has just written it; nothing was changed")
    assert run_cli(tmp_path, "inspect", kept).code == 0


def test_threads_that_write_one_pair_leave_two_that_belong_together(tmp_path):
    path, sidecar = tmp_path / "x", tmp_path / "x.mask"
    pairs = [f"{i:016x}" for i in range(4)]

    def work(pair):
        for _ in range(10):
            write_pair(path, f"file {pair}".encode(), sidecar, f"mask {pair}".encode(), pair)

    threads = [threading.Thread(target=work, args=(pair,)) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == ["x", "x.mask"]
    assert path.read_text().split()[1] == sidecar.read_text().split()[1]


# --- a reader beside a writer


def test_a_read_is_done_again_when_the_file_changed(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    def read():
        found = path.read_text()
        if found == "old":
            path.write_text("newer")
            raise FileError("half of each")
        return found

    assert steady.steadily(path, read) == "newer"


def test_a_read_of_two_files_is_done_again_even_where_it_went_well(tmp_path):
    path, seen = tmp_path / "x", []
    path.write_text("old")

    def read():
        first = path.read_text()
        if not seen:
            path.write_text("newer")
        seen.append(path.read_text())
        return first, seen[-1]

    assert steady.steadily(path, read) == ("newer", "newer")


def test_a_failure_on_a_file_that_did_not_change_comes_at_once(tmp_path):
    calls = []

    def read():
        calls.append(1)
        raise CheckpointError("damaged")

    assert refusal(lambda: steady.steadily(tmp_path / "missing", read)) == "damaged"
    assert len(calls) == 1


def test_a_file_that_changes_all_the_time_is_read_at_last(tmp_path, monkeypatch):
    monkeypatch.setattr(steady, "_PAUSE_S", 0)
    path, calls = tmp_path / "x", []

    def read():
        calls.append(1)
        path.write_text("x" * len(calls))
        return len(calls)

    assert steady.steadily(path, read) == steady._TRIES + 1


def test_a_checkpoint_is_read_whole_while_another_one_takes_its_place(net, tmp_path, monkeypatch):
    other = checkpoint.read(tmp_path / "net.prune.safetensors")
    tensors, replaced = checkpoint.read_tensors, []

    def replacing(path):
        if not replaced:
            replaced.append(checkpoint.write(other, net))
        return tensors(path)

    monkeypatch.setattr(checkpoint, "read_tensors", replacing)
    found = checkpoint.read(net)
    assert found.sha256 == files.sha256(net)
    assert found.masks.keys() == other.masks.keys() and len(found.history) == len(other.history)


def test_a_copy_that_grows_is_no_damage_yet(net, monkeypatch):
    data, real = net.read_bytes(), checkpoint._read
    net.write_bytes(data[: len(data) // 2])

    def growing(*given):
        try:
            return real(*given)
        finally:
            net.write_bytes(data)

    monkeypatch.setattr(checkpoint, "_read", growing)
    assert isinstance(prunectl.load(net), nn.Module)


def test_a_disk_that_fills_up_in_a_record_leaves_whole_lines(tmp_path, monkeypatch):
    path, real = tmp_path / "x", os.write
    append_record(path, {"a": 1})

    def full(descriptor, data):
        if len(data) > 4:
            return real(descriptor, bytes(data[:4]))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(opened.os, "write", full)
        assert refusal(lambda: append_record(path, {"b": 2})) == f"cannot write {path}: No space left on device"
    assert path.read_text() == '{"a": 1}\n'
    append_record(path, {"c": 3})
    assert path.read_text() == '{"a": 1}\n{"c": 3}\n'
