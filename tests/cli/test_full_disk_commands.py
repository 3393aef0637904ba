"""A disk that is full takes away nothing that another command than train has computed."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import nn

from prunectl.checkpoints.files import sha256
from prunectl.cli.app import main
from prunectl.robustness.attack import Attacker
from tests.helpers.refusals import names
from tests.helpers.running import run_shell

TRAIN = "train --model mlp5 -M hidden=8 --subset 512 -b 64 --epochs 3"


IMPORT = "import w.st --input 1x4x4 --classes 10 --mean 0.5 --std 0.5 --model logistic-regression"
MAKE = {
    "prune": "prune net.safetensors -c magnitude -s 0.5",
    "shrink": "shrink net.prune.safetensors",
    "repair": "repair net.prune.safetensors --method bn -n 10",
    "import": IMPORT,
}


@pytest.mark.parametrize("command", MAKE)
def test_what_a_command_made_is_kept_elsewhere(command, net, raw, disk, tmp_path):
    weights = nn.Linear(16, 10)
    save_file({"1.weight": weights.weight.detach(), "1.bias": weights.bias.detach()}, tmp_path / "w.st")
    before = names(tmp_path)
    disk.suffixes = ("out.safetensors",)
    ran = raw(*MAKE[command].split(), "-o", "out.safetensors")
    assert (ran.code, ran.out) == (4, ""), ran.err
    assert names(tmp_path) == before
    place = ran.err.strip().rpartition("; the result is in ")[2]
    disk.suffixes = ()
    assert raw(*MAKE[command].split(), "-o", "out.safetensors").code == 0
    assert sha256(Path(place)) == sha256(tmp_path / "out.safetensors")


def test_eval_prints_what_it_cannot_note(tiny, raw, disk):
    disk.suffixes = (".results.jsonl",)
    ran = raw("eval", "--no-latency", "--json", tiny.name)
    assert ran.code == 1
    assert json.loads(ran.out)["images"] > 0 and "eval: accuracy" in ran.err
    assert ran.err.endswith("tiny.results.jsonl: No space left on device; the results above are not recorded\n")


ATTACK = "attack tiny.safetensors -a fgsm -n 40 -b 10 --eps 0.3 --json"


def test_an_attack_that_cannot_be_noted_is_printed_and_kept(tiny, raw, cli, disk, tmp_path, monkeypatch):
    disk.suffixes = (".results.jsonl",)
    ran = raw(*ATTACK.split())
    assert ran.code == 1 and json.loads(ran.out)["images"] == 40
    assert (tmp_path / "tiny.attack.part.jsonl").exists()
    disk.suffixes = ()

    def none(*_):
        raise AssertionError("everything is done already")

    monkeypatch.setattr("prunectl.robustness.attack.Batch", none)
    again = json.loads(cli(*ATTACK.split(), "--resume"))
    assert again["results"] == json.loads(ran.out)["results"]
    assert names(tmp_path) == ["tiny.mask.safetensors", "tiny.results.jsonl", "tiny.safetensors"]


def test_an_attack_goes_on_where_its_batches_cannot_be_kept(tiny, raw, disk, tmp_path):
    disk.suffixes = (".attack.part.jsonl",)
    ran = raw(*ATTACK.split())
    assert ran.code == 0 and json.loads(ran.out)["images"] == 40
    assert ran.err.count("warning: cannot write tiny.attack.part.jsonl: No space left on device; the attack cont") == 1
    assert not (tmp_path / "tiny.attack.part.jsonl").exists()


def test_batches_that_could_not_be_kept_at_first_are_kept_later(tiny, raw, cli, disk, monkeypatch):
    disk.suffixes, disk.writes = (".attack.part.jsonl",), 2
    batches = Attacker.batches

    def stopping(self, done=()):
        for i, total in enumerate(batches(self, done), 1):
            if i == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield total

    with monkeypatch.context() as patch:
        patch.setattr(Attacker, "batches", stopping)
        ran = raw(*ATTACK.split())
    assert ran.code == 130 and "interrupted after 30 of 40 images" in ran.err and "--resume" in ran.err
    resumed = json.loads(cli(*ATTACK.split(), "--resume"))
    assert resumed["results"] == json.loads(cli(*ATTACK.split()))["results"]


@pytest.mark.long
def test_a_full_disk_under_a_process(tmp_path, net):
    script = "ulimit -f 300; prunectl train net.safetensors --subset 256 --epochs 1 -o a.safetensors"
    ran = run_shell(tmp_path, script)
    assert (ran.code, ran.out) == (4, "")
    first, *_, last = ran.err.splitlines()
    assert first.startswith("warning: a save for --resume takes 3.2") and "(ulimit -f)" in first
    assert last.startswith("prunectl: cannot write a.safetensors: File too large; nothing was changed; /")
    assert names(tmp_path) == ["a.log.jsonl.part", *sorted(path.name for path in tmp_path.glob("net*"))]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(("line", "code"), [(TRAIN, 0), ("eval missing.safetensors", 1)])
def test_what_is_told_may_go_to_a_full_disk(tmp_path, line, code, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("prunectl.cli.progress.EVERY", 0.0)
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", buffering=1)
    with contextlib.redirect_stderr(full), pytest.raises(SystemExit) as exited:
        main(line.split())
    with contextlib.suppress(OSError):
        full.close()
    assert exited.value.code in (code, code or None)
    assert capfd.readouterr().out == ("" if code else "mlp5-digits.train.safetensors\n")
