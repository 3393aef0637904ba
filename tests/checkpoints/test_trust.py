"""A file of a stranger must not run code."""

import sys
from pathlib import Path

import pytest

from prunectl.checkpoints import checkpoint
from prunectl.data.load import load_data
from prunectl.errors import UntrustedCode
from prunectl.models.fresh import fresh
from prunectl.plugins.registry import check_trusted
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
