"""A file of the user's that changed since a checkpoint was made is named, before what it computes differs."""

import hashlib
import json
import sys

import pytest

from prunectl.checkpoints.files import PLACES
from prunectl.checkpoints.header import read_toc

NET = """
from torch import nn

def build(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 3), nn.ReLU(), nn.Linear(3, classes))
"""
CRITERION = """
from prunectl import Criterion

def scores(model, batches):
    return {name: value.detach().abs() for name, value in model.named_parameters() if value.ndim > 1}

score = Criterion(scores, schedule="one-shot", scope="global", source="own", needs_data=False)
"""
EDIT = CRITERION.replace(".abs()", ".square().neg()")
PRUNE = "--input 3x4x4 --classes 2 -c own.py:score -s 0.5 -o a.safetensors"


def _short(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _edit(path, text):
    """Change a file, and forget it as another process would."""
    path.write_text(text)
    for name in [name for name in sys.modules if name.startswith(f"prunectl_file_{path.stem}")]:
        del sys.modules[name]


@pytest.fixture
def made(tmp_path, cli):
    """a.safetensors, pruned by the criterion in own.py."""
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "own.py").write_text(CRITERION)
    cli("prune", "--model", "net.py:build", *PRUNE.split())
    return tmp_path


def test_rerun_names_the_file_that_changed(made, raw):
    assert "changed" not in raw("rerun", "a.safetensors", "--trust").err
    _edit(made / "own.py", EDIT)
    ran = raw("rerun", "a.safetensors", "--trust")
    first, *_, last = ran.err.splitlines()
    where = f"{made / 'own.py'} has changed since a.safetensors was written"
    assert first == f"{where}: its sha256 was {_short(CRITERION)}, now it is {_short(EDIT)}"
    assert last == "prunectl: rerunning the 1 step of a.safetensors gave a different checkpoint (another own.py)"
    record = json.loads(raw("rerun", "a.safetensors", "--trust", "--json").out)
    assert [digest[:12] for digest in record["changed_files"]["own.py:score"]["sha256"]] == [
        _short(CRITERION),
        _short(EDIT),
    ]


def test_a_change_of_no_effect_is_named_too(made, raw):
    _edit(made / "net.py", f"{NET}# a note\n")
    ran = raw("rerun", "a.safetensors", "--trust")
    assert ran.code == 0
    assert f"{made / 'net.py'} has changed since a.safetensors was written" in ran.err


def test_a_change_between_two_steps_is_kept(made, raw, cli):
    _edit(made / "own.py", EDIT)
    cli("shrink", "a.safetensors", "--trust", "-o", "b.safetensors")
    cli("shrink", "b.safetensors", "--trust", "-o", "c.safetensors")
    place = json.loads(read_toc(made / "c.safetensors").metadata[PLACES])["own.py:score"]
    assert (place["sha256"][:12], [each[:12] for each in place["earlier"]]) == (_short(EDIT), [_short(CRITERION)])
    said = raw("rerun", "c.safetensors", "--trust").err
    assert f"{made / 'own.py'} changed between the steps of c.safetensors; the rerun uses the current version" in said
    assert "(another own.py)" in said


def test_inspect_and_diff_name_it(made, cli):
    cli("prune", "--model", "net.py:build", *PRUNE.replace("a.safe", "same.safe").split())
    _edit(made / "own.py", EDIT)
    cli("prune", "--model", "net.py:build", *PRUNE.replace("a.safe", "b.safe").split())
    assert f"  own.py:score is {made / 'own.py'}, which has changed since\n" in cli("inspect", "a.safetensors")
    assert "changed since" not in cli("inspect", "b.safetensors")
    line = f"own.py:score: another file, sha256 {_short(CRITERION)} -> {_short(EDIT)}\n"
    assert line in cli("diff", "a.safetensors", "b.safetensors", "--trust")
    assert json.loads(cli("diff", "a.safetensors", "same.safetensors", "--trust", "--json"))["files"] == {}


def test_what_has_no_recorded_hash_may_have_changed(tmp_path, raw, cli, monkeypatch):
    (tmp_path / "mine.py").write_text(CRITERION)
    monkeypatch.syspath_prepend(tmp_path)
    small = "--model mlp5 -M hidden=8 --image-size 8 -s 0.5 -o a.safetensors"
    cli("prune", "-c", "mine:score", *small.split())
    path = tmp_path / "a.safetensors"
    path.write_bytes(path.read_bytes().replace(b'\\"seed\\":0', b'\\"seed\\":1'))
    last = raw("rerun", "a.safetensors", "--trust").err.splitlines()[-1]
    assert last.endswith("; mine:score may have changed (its hash is not recorded)")


def test_a_resumed_training_names_it(tmp_path, raw, cli):
    (tmp_path / "net.py").write_text(NET.replace("48", "64"))
    small = "--model net.py:build --image-size 8 --epochs 2 --max-minutes 0 -o a.safetensors"
    cli("train", *small.split())
    _edit(tmp_path / "net.py", f"{NET.replace('48', '64')}# a note\n")
    said = raw("train", "--resume", "a.resume.safetensors", "--trust").err
    assert f"{tmp_path / 'net.py'} has changed since a.resume.safetensors was written; the training continues" in said


def test_the_hash_is_that_of_the_code_that_ran(made, cli):
    (made / "own.py").write_text(EDIT)  # while the program runs
    cli("prune", "--model", "net.py:build", *PRUNE.replace("a.safe", "b.safe").split())
    for name in ("a", "b"):
        place = json.loads(read_toc(made / f"{name}.safetensors").metadata[PLACES])["own.py:score"]
        assert place["sha256"][:12] == _short(CRITERION)
