"""A history holds all that its commands depended on: given again, they lead to the same bytes."""

import json
import os
import shlex
import signal

import pytest
import typer

from prunectl.checkpoints.lineage import lineage
from prunectl.cli.app import app
from prunectl.errors import OptionError
from prunectl.training.trainer import Trainer
from tests.helpers.marks import quick
from tests.helpers.running import run_line

SMALL = "--model mlp5 -M hidden=8 --subset 200 -b 64"
LINES = (
    f"train {SMALL} --epochs 1 --opt sgd --momentum 0.5 --lr 0.01 --wd 0.001 --clip 1 --sched cosine --augment flip",
    f"train {SMALL} --epochs 1 --noise 0.01 --label-smoothing 0.1 --ema 0.9 --amp --tuning --random-labels --seed 3",
    f"train {SMALL} --epochs 1 --reg lp --reg-weight 0.01 -O p=0.5 --image-size 12 | train --epochs 1 --data synthetic",
    f"train {SMALL} --epochs 3 -c snip -s 0.6 --prune-delay 0 --prune-every 1 --schedule cubic --steps 2 --scope layer",
    f"train {SMALL} --epochs 2 -c taylor --threshold 1e-9 --prune-delay 0 --prune-every 1 --steps 1 --min-nodes 2"
    " --multiple-of 2 -O criterion.batches=1 --reg l1 --unit nodes --normalize l2 --max-pruned 0.9",
    f"train {SMALL} --epochs 4 -c imp -s 0.5 --rewind-to 1 --prune-delay 1 --prune-every 1 --steps 1",
    f"train {SMALL} --epochs 4 -c rigl -s 0.5 --prune-delay 0 --prune-every 1",
    f"train {SMALL} --epochs 4 -c snapit-during --params 2x --prune-delay 1s --prune-every 2s --steps 1",
    f"train {SMALL} --epochs 2 -c efficient-convnets --flops 2x --prune-delay 0 --prune-every 1"
    " | train --epochs 2 -c structured-random --size 0.3x --prune-delay 0 --prune-every 1",
    f"train {SMALL} --epochs 2 -c sr-ste --prune-delay 0 --prune-every 1 | prune -c n:m --scope 1:4",
    f"prune {SMALL} -c snip -s 0.6 --tuning --shuffled --shuffle-layerwise --reinit -O batches=2 | train --epochs 1",
    f"train {SMALL} --epochs 1 | prune -c snapit --params 2x --min-nodes 2 --multiple-of 2 --steps 2 --amp"
    " --normalize max --max-pruned 0.8 --no-refill | shrink",
    f"prune {SMALL} -c magnitude --unit nodes --scope layer --schedule exponential --flops 2x",
    f"prune {SMALL} -c efficient-convnets --size 0.5x --seed 4 --multiple-of auto | shrink --norm alive",
    f"train {SMALL} --epochs 2 --warmup 0.5 --mixup 0.2 --augment flip,cutout",
    f"train {SMALL} --epochs 1 --adv-eps 8/255 --adv-steps 2 --adv-loss trades --adv-beta 2",
    f"prune {SMALL} -c magnitude --threshold 0.05 --image-size 12",
    f"prune {SMALL} -c n:m --data synthetic -O permute=true",
    f"train {SMALL} --epochs 1 | prune -c snip -s 0.8 --repair scale | repair --method refit -n 100 --tuning --amp "
    "| shrink",
    f"train {SMALL} --epochs 1 --recalibrate | prune -c magnitude -s 0.8 | repair --calibration noise -n 50 --seed 3",
    "train --model mlp5 -M hidden=16 --image-size 8 --epochs 6 | prune -c auto --min-accuracy 0.4 --repair bn | shrink",
    "prune --model mlp5 -M hidden=8 --input 2x5x4 --classes 3 -c magnitude -s 0.4 | shrink",
    "train --model mlp5 -M hidden=8 --input 2x5x4 --classes 3 --epochs 0 | train --epochs 1 --data synthetic",
)
HERE = {"checkpoint", "data_dir", "download", "output_path", "force", "config", "resume", "max_minutes"}
HERE |= {"tensorboard", "tensorboard_dir", "scores_out", "trust", "quiet", "verbose"}
"""What tells where things lie, not what is computed."""
UNTESTED = {
    "train": {
        *("compile", "outer_layers", "split", "keep", "pretrained"),
        *("teacher", "teacher_weight", "temperature"),
    },
    "prune": {"latency", "runtime", "outer_layers", "split", "keep", "pretrained"},
    "repair": {"data", "reference", "split", "image_size"},
}
"""Compiling takes a minute, a latency is another one each time, gray images have one channel, a split needs a folder of
images (tests/cli/test_own_images.py); tests/cli/test_cli_keep.py, test_cli_teacher.py and
tests/exchange/test_pretrained.py run the others again."""


@pytest.mark.parametrize("line", quick(LINES, LINES[1::9]))
def test_the_commands_of_a_history_lead_to_the_same_bytes(line, tmp_path, raw):
    made = run_line(tmp_path, " | ".join(f"prunectl {part}" for part in line.split(" | ")))
    assert made.code == 0, made.err
    ran = raw("rerun", made.out.strip(), "-o", "again")
    assert (ran.code, ran.out.count("\n")) == (0, 1), ran.err
    assert (tmp_path / ran.out.strip()).read_bytes() == (tmp_path / made.out.strip()).read_bytes()


def test_every_option_is_in_some_history():
    commands = typer.main.get_command(app).commands
    for name in ("train", "prune", "repair", "shrink"):
        given = {
            part
            for line in LINES
            for command in line.split(" | ")
            if command.startswith(name)
            for part in shlex.split(command)
        }
        unseen = [p.name for p in commands[name].params if not given & {*p.opts, *p.secondary_opts}]
        free = HERE | UNTESTED.get(name, set()) | {"device"}  # cpu, by the environment of the tests
        assert set(unseen) <= free, name


@pytest.fixture
def chain(tmp_path):
    """Three steps: b.safetensors is what they led to."""
    line = (
        "prunectl train --model lenet300 --subset 200 --epochs 1 -o a.safetensors"
        " | prunectl prune -c magnitude -s 0.9 | prunectl train --subset 200 --epochs 1 -o b.safetensors"
    )
    assert run_line(tmp_path, line).code == 0
    return tmp_path / "b.safetensors"


def test_a_chain_is_run_again_in_a_folder_that_goes_away(chain, raw, tmp_path):
    before = sorted(tmp_path.iterdir())
    ran = raw("rerun", "b.safetensors")
    assert (ran.code, ran.out) == (0, "b.safetensors\n"), ran.err
    assert ran.err.splitlines()[-1].startswith("rerun: 3 steps, the same bytes (")
    assert sorted(tmp_path.iterdir()) == before
    assert json.loads(raw("rerun", "b.safetensors", "--json").out)["identical"] is True


def test_options_of_the_environment_do_not_get_into_a_rerun(chain, raw, monkeypatch):
    monkeypatch.setenv("PRUNECTL_CLIP", "0.001")
    assert raw("rerun", "b.safetensors").code == 0


def test_a_history_that_leads_elsewhere_is_told_with_what_differs(chain, raw):
    other = chain.read_bytes().replace(b'\\"lr\\":0.002', b'\\"lr\\":0.003')
    chain.write_bytes(other.replace(b'\\"torch\\":\\"2', b'\\"torch\\":\\"1'))
    ran = raw("rerun", "b.safetensors")
    assert (ran.code, ran.out) == (1, "")
    lines = ran.err.splitlines()
    assert lines[0].startswith("recorded with torch 1.")
    assert any(line.startswith("step 1, train: torch 1") for line in lines)
    assert any(line.startswith("features.1 ") for line in lines), ran.err
    assert lines[-1] == "prunectl: rerunning the 3 steps of b.safetensors gave a different checkpoint (other versions)"


def test_the_same_network_under_another_header_is_told_so(chain, raw):
    chain.write_bytes(chain.read_bytes().replace(b'\\"torch\\":\\"2', b'\\"torch\\":\\"1'))
    ran = raw("rerun", "b.safetensors")
    assert ran.code == 1
    assert ran.err.splitlines()[-2:] == [
        "all tensors and masks are the same",
        "prunectl: rerunning the 3 steps of b.safetensors gave the same tensors and masks, but another header "
        "(other versions)",
    ]


def test_what_cannot_be_run_again_is_one_line(chain, cli, refused, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert refused("rerun", "b.safetensors", "-o", "full") == (
        "prunectl: full is not an empty folder; use another one with -o\n"
    )
    cli("train", "--model", "lenet300", "--subset", 300, "--epochs", 2, "--max-minutes", 0, "-o", "half.safetensors")
    assert refused("rerun", "half.safetensors") == (
        "prunectl: step 1 (train) of half.safetensors cannot be run again: "
        "it was stopped after 1 of 6 steps (--max-minutes)\n"
    )
    whole = chain.read_bytes()
    for old, new, said in (
        (
            b'\\"criterion\\":\\"magnitude\\"',
            b'\\"criterion\\":\\"evil.py:x\\"',
            "names criterion 'evil.py:x', whose code",
        ),
        (b'\\"momentum\\":0.9', b'\\"config\\":0.999', "'config' is not an option of a history"),
        (b'\\"momentum\\":0.9', b'\\"mom--tum\\":0.9', "'mom--tum' is not an option of a history"),
        (
            b'\\"command\\":\\"prune\\"',
            b'\\"command\\":\\"erase\\"',
            "step 2 is 'erase', expected one of train, prune, repair, shrink",
        ),
        (b'\\"threads\\":1', b'\\"threads\\":0', "entry 1: 'threads': expected 1 to 1024, found 0"),
    ):
        chain.write_bytes(whole.replace(old, new))
        assert said in refused("rerun", "b.safetensors")
    chain.write_bytes(whole.replace(b'\\"momentum\\":0.9', b'\\"elements\\":0.9'))
    said = "step 1, made by prunectl 0.1.0: 'elements' is not an option of a history); use an intact copy, or update"
    assert said in refused("rerun", chain.name)


def test_steps_tell_parents_seeds_and_results(chain, tmp_path):
    first, second, third = lineage(chain)
    assert [step.command for step in (first, second, third)] == ["train", "prune", "train"]
    assert (first.parent, second.parent, third.parent) == (None, first.sha256, second.sha256)
    assert (first.seed, first.device, second.result) == (0, "cpu", {"weight_sparsity": 0.9})
    assert ("--model", "lenet300") in first.flags and ("--subset", "200") in first.flags
    assert dict(first.named) == {"model": "lenet300", "data": "digits", "optimizer": "adam"}
    assert second.arguments[:3] == ["prune", "--criterion=magnitude", "--sparsity=0.9"]
    assert "--seed=0" in second.arguments


def test_ctrl_c_ends_a_rerun_in_one_line(raw, monkeypatch, tmp_path):
    assert raw("train", *SMALL.split(), "--epochs", 2, "-o", "a.safetensors").code == 0
    steps = Trainer.steps

    def stopped(self):
        for record in steps(self):
            os.kill(os.getpid(), signal.SIGINT)
            yield record

    monkeypatch.setattr(Trainer, "steps", stopped)
    ran = raw("rerun", "a.safetensors")
    assert (ran.code, ran.out) == (130, "")
    assert ran.err == "prunectl: interrupted; nothing was compared; start again with the same command\n"


def test_why_a_step_failed_is_told_once(raw, monkeypatch):
    assert raw("train", *SMALL.split(), "--epochs", 1, "-o", "a.safetensors").code == 0
    monkeypatch.setattr(Trainer, "steps", lambda self: _diverged())
    ran = raw("rerun", "a.safetensors")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "prunectl: step 1 (train) of a.safetensors failed when run again: it diverged\n"


def _diverged():
    raise OptionError("it diverged")
