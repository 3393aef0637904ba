"""A checkpoint finds the files that it names from every folder, and after it was moved."""

import hashlib
import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save, save_file
from torch import nn

import prunectl
from prunectl.checkpoints.files import PLACES, sha256, with_places
from prunectl.checkpoints.header import read_toc
from prunectl.errors import ChangedCode, UnknownName
from tests.helpers.running import run_cli, run_shell

NET = """
from torch import nn

def build(shape, classes, *, hidden=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(48, hidden), nn.ReLU(), nn.Linear(hidden, classes))
"""
TRAIN = "train --model net.py:build --data imagefolder:fm --epochs 1 -b 4 -o out/a.safetensors"


def run(folder, line, *, code=0):
    ran = run_cli(folder, *line.split())
    assert ran.code == code, ran.err
    return ran


def project(folder, text=NET):
    """net.py and fm/, an image folder of two classes, 4x4 pixels."""
    (folder / "out").mkdir(parents=True)
    (folder / "net.py").write_text(text)
    for i in range(12):
        place = folder / "fm" / ("train" if i < 8 else "test") / f"class{i % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), 20 * i, np.uint8)).save(place / f"{i}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    project(folder)
    run(folder, TRAIN)
    return folder


@pytest.fixture
def here(trained, tmp_path):
    """The project, in a place of this test's own, with a checkpoint that was made there."""
    folder = tmp_path / "here"
    project(folder)
    run(folder, TRAIN)
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "some" / "where"
    folder.mkdir(parents=True)
    return folder


EVAL = "eval --no-latency --json --trust"


def test_the_record_says_the_way_and_the_absolute_path(trained):
    record = json.loads(read_toc(trained / "out" / "a.safetensors").metadata[PLACES])
    net, images = record["net.py:build"], record["imagefolder:fm"]
    assert (net["near"], net["at"], len(net["sha256"])) == ("../net.py", str(trained / "net.py"), 64)
    assert images == {"near": "../fm", "at": str(trained / "fm")}
    shown = f"  imagefolder:fm is {trained / 'fm'}\n  net.py:build is {trained / 'net.py'}\n"
    assert shown in run(trained, "inspect out/a.safetensors").out


def test_it_is_read_from_any_folder(trained, elsewhere):
    (elsewhere / "net.py").write_text("raise SystemExit('another file of this name')")
    record = json.loads(run(elsewhere, f"{EVAL} {trained}/out/a.safetensors").out)
    assert (record["images"], record["data"]) == (4, {"name": "fm", "source": "imagefolder:fm"})


@pytest.mark.parametrize("path", [".", "../link", "~/fm"])
def test_folders_by_other_names(here, elsewhere, path, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    (here / "link").symlink_to(here / "fm")
    line = f"prune --model ../net.py:build --data imagefolder:{path} -c magnitude -s 0.5 -o ../out/b.safetensors"
    run(here / "fm", line)
    assert json.loads(run(elsewhere, f"{EVAL} {here}/out/b.safetensors").out)["images"] == 4


def test_the_checkpoint_alone_is_moved(trained, elsewhere):
    shutil.copy(trained / "out" / "a.safetensors", elsewhere)
    assert json.loads(run(elsewhere, f"{EVAL} a.safetensors").out)["images"] == 4


@pytest.mark.parametrize("flat", [True, False], ids=["into one folder", "as they lay"])
def test_all_of_it_is_moved_to_another_machine(here, elsewhere, flat):
    target = elsewhere if flat else elsewhere / "out"
    target.mkdir(exist_ok=True)
    for name in ("net.py", "fm"):
        (here / name).rename(elsewhere / name)
    shutil.move(here / "out" / "a.safetensors", target)
    shutil.rmtree(here)
    run(elsewhere.parent, f"{EVAL} {target}/a.safetensors")


def test_a_chain_of_commands_keeps_the_places(trained, elsewhere):
    run(elsewhere, f"prune {trained}/out/a.safetensors -c snap -s 0.5 --trust -o b.safetensors")
    run(elsewhere, "shrink b.safetensors --trust -o c.safetensors")
    (elsewhere / "deep").mkdir()
    run(elsewhere, "train c.safetensors --epochs 1 -b 4 --trust -o deep/d.safetensors")
    record = json.loads(read_toc(elsewhere / "deep" / "d.safetensors").metadata[PLACES])
    assert record["net.py:build"]["at"] == str(trained / "net.py")
    assert (elsewhere / "deep" / record["imagefolder:fm"]["near"]).resolve() == (trained / "fm").resolve()
    run(trained.parent, f"{EVAL} {elsewhere}/deep/d.safetensors")
    assert prunectl.load(elsewhere / "deep" / "d.safetensors", trust=True)[1].in_features == 48


def test_images_named_anew_are_those_of_the_working_folder(trained, elsewhere):
    shutil.copytree(trained / "fm", elsewhere / "fm")
    shutil.rmtree(elsewhere / "fm" / "test" / "class0")
    (elsewhere / "fm" / "test" / "class0").mkdir()
    shutil.copy(elsewhere / "fm" / "train" / "class0" / "0.png", elsewhere / "fm" / "test" / "class0")
    again = f"train {trained}/out/a.safetensors --data imagefolder:fm --epochs 1 -b 4 --trust -o b.safetensors"
    run(elsewhere, again)
    assert json.loads(run(trained, f"{EVAL} {elsewhere}/b.safetensors").out)["images"] == 3


def test_of_two_files_that_of_the_recorded_content_is_taken(here, elsewhere):
    target = elsewhere / "out"
    target.mkdir()
    shutil.copy(here / "out" / "a.safetensors", target)
    (elsewhere / "net.py").write_text("raise SystemExit('another file of this name')")
    run(elsewhere, f"{EVAL} out/a.safetensors")
    (here / "net.py").write_text(NET + "# a note\n")  # edited: then the nearest
    with (
        pytest.warns(ChangedCode, match=r"net\.py has changed since .*a\.safetensors was written"),
        pytest.raises(UnknownName, match="another file of this name"),
    ):
        prunectl.load(target / "a.safetensors", trust=True)


@pytest.mark.parametrize("line", ["eval {} --no-latency", "prune {} -c magnitude -s 0.5 --force"])
def test_a_network_whose_file_has_changed_is_read_with_a_warning(here, line):
    line = f"{line.format('out/a.safetensors')} --trust"
    run(here, line)  # no warning, which would be an error here
    (here / "net.py").write_text(NET + "# a note\n")
    said = f"{here / 'net.py'} has changed since out/a.safetensors was written, so its network may compute"
    with pytest.warns(ChangedCode, match=f"^{re.escape(said)} something else$"):
        run(here, line)


def test_a_warning_of_changed_code_is_a_line_without_its_place(here):
    (here / "net.py").write_text(NET + "# a note\n")
    ran = run_shell(here, "prunectl eval out/a.safetensors --no-latency --trust")
    said = [line for line in ran.err.splitlines() if "has changed" in line]
    assert len(said) == 1
    assert said[0].startswith(f"warning: {here / 'net.py'} has changed since ")


def test_a_missing_file_is_one_line_with_all_places(here, elsewhere):
    shutil.move(here / "out" / "a.safetensors", elsewhere)
    (here / "net.py").rename(here / "other.py")
    said = run(elsewhere, f"{EVAL} a.safetensors", code=1).err
    assert said.count("\n") == 1
    tried = (elsewhere.parent / "net.py", here / "net.py", elsewhere / "net.py")
    assert f"tried {', '.join(map(str, tried))}; copy it to one of them" in said


def test_the_same_commands_in_two_folders_make_files_of_one_hash(trained, here):
    ours, theirs = (folder / "out" / "a.safetensors" for folder in (trained, here))
    assert sha256(ours) == sha256(theirs)
    assert ours.read_bytes() != theirs.read_bytes()
    record = json.loads(run(here, f"diff {ours} {theirs} --trust --json").out)
    assert record["identical"]
    ran = run(here.parent, f"rerun {theirs} --trust -o again")
    assert "the same bytes" in ran.err
    again = read_toc(here.parent / "again" / "1-train.safetensors").metadata[PLACES]
    assert json.loads(again)["net.py:build"]["near"] == "../here/net.py"


def test_an_interrupted_training_goes_on_from_elsewhere(here, elsewhere):
    line = "train --model net.py:build --data imagefolder:fm --epochs 4 -b 4 --max-minutes 0 -o out/b.safetensors"
    run(here, line)
    run(elsewhere, f"train --resume {here}/out/b.resume.safetensors --trust")
    run(here, line.replace("--max-minutes 0", "").replace("b.safe", "c.safe"))
    assert sha256(here / "out" / "b.safetensors") == sha256(here / "out" / "c.safetensors")


def test_a_loader_is_exported_from_any_folder(trained, elsewhere):
    run(elsewhere, f"export {trained}/out/a.safetensors --trust -o loader.py")
    assert f'"{trained}' not in (elsewhere / "loader.py").read_text()
    assert "net.py" in (elsewhere / "loader.py").read_text()


def test_an_imported_network_has_places_too(here, elsewhere):
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 3), nn.ReLU(), nn.Linear(3, 2))
    save_file(net.state_dict(), here / "w.st")
    use = "--input 3x4x4 --classes 2 --mean 0.5 --std 0.5 --data imagefolder:fm"
    run(here, f"import w.st --model net.py:build {use} -o out/w.safetensors")
    assert json.loads(run(elsewhere, f"{EVAL} {here}/out/w.safetensors").out)["images"] == 4


def test_an_exported_folder_names_no_absolute_path(here, elsewhere):
    run(here, "export out/a.safetensors --trust -o hub")
    record = json.loads(read_toc(here / "hub" / "model.safetensors").metadata[PLACES])
    assert record["net.py:build"].keys() == {"near", "sha256"}
    run(elsewhere, f"eval {here}/hub --no-latency --trust")


@pytest.mark.parametrize(
    "record",
    [
        {"net.py:build": {"near": "../evil.py"}},
        {"net.py:build": {"near": "../net.py\0"}},
        {"net.py:build": {"near": 3}},
        {"mlp5": {"near": "evil.py"}},
        {"net.py:build": []},
        [],
    ],
)
def test_a_record_leads_to_nothing_but_what_the_name_says(trained, elsewhere, record):
    data = (trained / "out" / "a.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    head = json.loads(data[8:start])
    del head["__metadata__"][PLACES]
    text = json.dumps(head, separators=(",", ":")).encode()
    plain = len(text).to_bytes(8, "little") + text + data[start:]
    (elsewhere / "x.safetensors").write_bytes(with_places(plain, json.dumps(record)))
    said = run(elsewhere, f"{EVAL} x.safetensors", code=1).err
    assert said.count("\n") == 1
    assert "damaged record of places" in said


def test_code_runs_on_consent_alone(trained, elsewhere):
    path = trained / "out" / "a.safetensors"
    (elsewhere / "net.py").write_text(NET)
    (elsewhere / "mine.py").write_text(NET)
    for name in [name for name in sys.modules if name.startswith("prunectl_file_net")]:
        del sys.modules[name]
    for options in ("", "--opt net.py:build", "--opt mine.py:build"):  # other files than the one that would run
        said = run(elsewhere, f"train {path} --epochs 0 -o b.safetensors {options}", code=1).err
        where = f"names model 'net.py:build', whose code would run, found at {trained / 'net.py'}"
        assert where in said and "pass --trust, or set PRUNECTL_TRUST=1" in said
    assert not [name for name in sys.modules if name.startswith("prunectl_file_net")]
    named = f"eval {path} --no-latency --data {trained}/net.py:build"
    assert "net.py:build: expected a function without" in run(elsewhere, named, code=1).err  # the network was built


def test_trust_is_not_kept(trained, elsewhere):
    run(elsewhere, f"prune {trained}/out/a.safetensors -c magnitude -s 0.5 --trust -o b.safetensors")
    assert b"trust" not in (elsewhere / "b.safetensors").read_bytes().lower()
    run(elsewhere, f"{EVAL} b.safetensors")
    assert "pass --trust" in run(elsewhere, "eval b.safetensors", code=1).err


def test_the_stages_of_a_sweep_run_on_its_consent(trained):
    from prunectl.cli.in_process import ConsentingRun

    line = ["eval", f"{trained}/out/a.safetensors", "--no-latency"]
    assert ConsentingRun(trust=True)(line).code == 0
    assert "pass --trust" in ConsentingRun(trust=False)(line).last


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
"""Texts that a file may hold: a zero character is refused."""


@given(TEXTS, st.dictionaries(TEXTS.filter(bool), st.integers(0, 3), max_size=3))
def test_the_hash_leaves_out_the_places_alone(tmp_path_factory, text, sizes):
    data = save({name: torch.zeros(size) for name, size in sizes.items()}, {"prunectl": "x"})
    file = tmp_path_factory.mktemp("hash") / "x.safetensors"
    file.write_bytes(with_places(data, text))
    assert read_toc(file).metadata == {"prunectl": "x", PLACES: text}
    assert load_file(file).keys() == sizes.keys()
    assert sha256(file) == hashlib.sha256(data).hexdigest()
    file.write_bytes(data)
    assert sha256(file) == hashlib.sha256(data).hexdigest()
