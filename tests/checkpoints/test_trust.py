"""A file of a stranger must not run code."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import prunectl
from prunectl.checkpoints import checkpoint
from prunectl.cli import start
from prunectl.data.load import load_data
from prunectl.errors import OptionError, UntrustedCode
from prunectl.models.fresh import fresh
from prunectl.plugins.registry import check_trusted
from tests.helpers.checkpoint_parts import change, put
from tests.helpers.running import run_cli

CODE = """
from pathlib import Path
Path("ran").touch()
from torch import nn
def net(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, classes))
from prunectl.data.sets.synthetic import synthetic as images
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRUNECTL_TRUST", raising=False)
    Path("evil.py").write_text(CODE)
    return tmp_path


def test_a_network_of_foreign_code_needs_consent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write(fresh("evil.py:net", load_data("synthetic"), source="synthetic"), Path("x.safetensors"))
    Path("ran").unlink()
    for name in [name for name in sys.modules if name.startswith("prunectl_file_")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UntrustedCode, match=r"names model 'evil.py:net', whose code would run, .*TRUST=1"):
        checkpoint.load("x.safetensors")
    assert not Path("ran").exists()
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    assert checkpoint.load("x.safetensors")[1].out_features == 10


def test_data_of_foreign_code_needs_consent_unless_the_user_names_it(folder: Path) -> None:
    made = fresh("logistic-regression", load_data("synthetic"), source="evil.py:images")
    checkpoint.write(made, Path("x.safetensors"))
    ran = run_cli(folder, "eval", "x.safetensors", "--no-latency")
    assert ran.code == 1
    assert "names data 'evil.py:images'" in ran.err
    assert not Path("ran").exists()
    assert run_cli(folder, "eval", "x.safetensors", "--no-latency", "--data", "evil.py:images").code == 0


def test_what_is_built_in_is_trusted() -> None:
    for kind, spec in (("model", "mlp5"), ("data", "imagefolder:/some/where"), ("data", "digits")):
        check_trusted(kind, spec, "x")


@pytest.mark.parametrize(
    "command",
    ["train --model evil.py:net", "train --model mlp5 --data evil.py:images", "train --model mlp5 --opt evil.py:net"],
)
def test_a_plan_that_names_code_needs_consent(folder: Path, command: str) -> None:
    (folder / "plan.toml").write_text(f'[pipelines]\na = "{command} --epochs 0"\n')
    ran = run_cli(folder, "sweep", "plan.toml", "-o", "out", "--dry-run")
    assert ran.code == 1
    assert "plan.toml names " in ran.err and "whose code would run" in ran.err
    assert not Path("ran").exists() and not Path("out").exists()


def test_a_plan_does_not_write_elsewhere(folder: Path) -> None:
    (folder / "plan.toml").write_text('[pipelines]\na = "train --model mlp5 --tensorboard-dir ../board"\n')
    assert "leave out --tensorboard-dir" in run_cli(folder, "sweep", "plan.toml", "-o", "out").err


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interrupted training, which a time limit stopped after one step."""
    place = tmp_path_factory.mktemp("stopped")
    line = "train --model mlp5 -M hidden=8 --subset 64 --epochs 2 -b 32 --max-minutes 0 -o a.safetensors"
    assert run_cli(place, *line.split()).code == 0
    return place / "a.resume.safetensors"


RESUMED = {
    "data": ("run", "data", "evil.py:images", "names data 'evil.py:images', whose code would run"),
    "an optimiser": ("recipe", "opt", "evil.py:net", "names optimizer 'evil.py:net', whose code would run"),
    "a regulariser": ("recipe", "reg", "evil.py:net", "names regularizer 'evil.py:net', whose code would run"),
    "a folder": (
        "run",
        "tensorboard_dir",
        "/elsewhere",
        "would write a TensorBoard to /elsewhere; pass --tensorboard",
    ),
    "an option": ("run", "config", "/x", "is not an interrupted training (unknown value 'config')"),
    "a type": ("recipe", "opt", 3, "is not an interrupted training ('opt': expected a text, found 3)"),
    "a change": ("run", "data_options", {"folder": "/"}, "is not an interrupted training (unknown value 'folder')"),
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_resume_file_neither_runs_code_nor_writes_elsewhere(name: str, folder: Path, stopped: Path) -> None:
    part, key, value, said = RESUMED[name]
    path = Path("b.resume.safetensors")
    path.write_bytes(stopped.read_bytes())
    change(path, put("training", part, key, value))
    ran = run_cli(folder, "train", "--resume", path)
    assert (ran.code, ran.err.count("\n")) == (1, 1), ran.err
    assert said in ran.err
    assert sorted(each.name for each in folder.iterdir()) == ["b.resume.safetensors", "evil.py"]


def test_a_resume_file_downloads_nothing(folder: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("b.resume.safetensors")
    path.write_bytes(stopped.read_bytes())
    change(path, put("training", "run", "data_options", "download", True))
    asked = []
    monkeypatch.setattr(start, "images_for", lambda *_, download, **__: asked.append(download) or 1 / 0)
    for more in ([], ["--download"]):
        with pytest.raises(ZeroDivisionError):
            run_cli(folder, "train", "--resume", path, *more)
    assert asked == [False, True]


EVERY = {
    "prune": lambda path: prunectl.prune(path, criterion="magnitude", sparsity=0.5),
    "shrink": prunectl.shrink,
    "evaluate": lambda path: prunectl.evaluate(path, "synthetic", latency=False),
    "attack": lambda path: prunectl.attack(path, "synthetic", n=2),
    "corrupt": lambda path: prunectl.corrupt(path, "synthetic", n=2, corruptions=["contrast"]),
    "train": lambda path: prunectl.train(path, "synthetic", epochs=1),
    "repair": lambda path: prunectl.repair(path, "synthetic", method="bn"),
    "explain": prunectl.explain,
    "diff": lambda path: prunectl.diff(path, path),
    "classify": lambda path: prunectl.classify(path, [torch.zeros(1, 28, 28)]),
    "load": prunectl.load,
    "export": lambda path: prunectl.export(path, "x.pt2"),
    "read": checkpoint.read,
}


def test_every_function_that_reads_a_path_asks_alike(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes a text as well as a Path; `trust` grants it for all of them, in whole or for one file of code."""
    checkpoint.write(fresh("evil.py:net", load_data("synthetic"), source="synthetic"), "x.safetensors")
    Path("ran").unlink()
    for name in [name for name in sys.modules if name.startswith("prunectl_file_")]:
        monkeypatch.delitem(sys.modules, name)
    for call in EVERY.values():
        for path in ("x.safetensors", folder / "x.safetensors"):
            with pytest.raises(UntrustedCode, match=r"names model 'evil.py:net', whose code would run"):
                call(path)
            with prunectl.trust("other.py:net"), pytest.raises(UntrustedCode):
                call(path)
    assert not Path("ran").exists()
    with prunectl.trust():
        assert prunectl.explain("x.safetensors")["model"] == "evil.py:net"
    with prunectl.trust("evil.py:net"):
        assert prunectl.diff("x.safetensors", folder / "x.safetensors")["same_tensors"]
    with pytest.raises(UntrustedCode):
        prunectl.load("x.safetensors")
    named, placed = (prunectl.report([path])[0] for path in ("x.safetensors", folder / "x.safetensors"))
    assert {**named, "checkpoint": ""} == {**placed, "checkpoint": ""}


def test_a_history_that_begins_with_published_weights_fetches_nothing_unasked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def fetch(model: str, *_: object) -> None:
        fetched.append(model)
        raise OptionError("no network here")

    monkeypatch.setattr("prunectl.exchange.pretrained.fetch_pretrained", fetch)
    data = load_data("synthetic")
    begun = replace(fresh("logistic-regression", data, source="synthetic"), history=())
    stranger = begun.after("import", {"pretrained": "timm/hf-hub:some/one", "file": "x", "sha256": "0" * 64})
    pruned = prunectl.prune(stranger, criterion="magnitude", sparsity=0.5)
    checkpoint.write(pruned, folder / "x.safetensors")
    ran = run_cli(folder, "rerun", "x.safetensors")
    assert (ran.code, fetched) == (1, [])
    assert (
        "begins with the published weights of timm/hf-hub:some/one, which a rerun would fetch; pass --down" in ran.err
    )
    for flag in ("--download", "--trust"):
        assert "no network here" in run_cli(folder, "rerun", "x.safetensors", flag).err
    assert fetched == ["timm/hf-hub:some/one"] * 2
