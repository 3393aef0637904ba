"""What is too large is refused before it takes time or memory; a builder that raises says so in one line."""

import json
import tracemalloc
from dataclasses import replace

import pytest
import torch
from torch import nn

from prunectl.checkpoints import bounds
from prunectl.checkpoints.bounds import at_most, bounded
from prunectl.checkpoints.checkpoint import read, write
from prunectl.checkpoints.header import ModelSpec
from prunectl.errors import CheckpointError, OptionError, TooLarge
from prunectl.models.fresh import fresh, untrained
from prunectl.sweeping.plan import read_plan
from tests.helpers.networks import checkpoint_of, image_data

SHAPE = (1, 8, 8)
BUILDERS = """
import sys
from torch import nn

def raises(shape, classes):
    raise KeyError("two\\nlines")

def leaves(shape, classes):
    sys.exit(3)

def fails(shape, classes):
    assert False

def wide(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2 * 10**9), nn.Linear(2 * 10**9, classes))

def vast(shape, classes):
    return nn.Linear(10**8, 10**8)

def deep(shape, classes, *, depth=1):
    return nn.Sequential(nn.Flatten(), *(nn.Linear(64, 64) for _ in range(depth)), nn.Linear(64, classes))
"""


@pytest.fixture
def builders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    (tmp_path / "own.py").write_text(BUILDERS)
    (tmp_path / "syntax.py").write_text("def build(:\n")
    (tmp_path / "raises.py").write_text("raise ValueError('no\\nfile')\n")
    (tmp_path / "exits.py").write_text("raise SystemExit(3)\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own.py:raises", r"model own.py:raises cannot be built: KeyError: 'two\\nlines'; fix its code"),
        ("own.py:leaves", "cannot be built: SystemExit: 3"),
        ("own.py:fails", "cannot be built: AssertionError; fix its code"),
        ("own.py:wide", r"own.py:wide takes 512\.0 GB or more|does not fit into memory"),
        ("own.py:vast", r"own.py:vast takes [\d,.]+ GB or more|does not fit into memory"),
        ("syntax.py:build", "no model at 'syntax.py:build' .SyntaxError: invalid syntax"),
        ("raises.py:build", "no model at 'raises.py:build' .ValueError: no file"),
        ("exits.py:build", "no model at 'exits.py:build' .SystemExit: 3"),
    ],
)
def test_a_builder_that_raises(builders, name: str, message: str) -> None:
    data = image_data()
    with pytest.raises(OptionError if name.startswith("own") else Exception, match=message) as error:
        fresh(name, data, source="test")
    assert "\n" not in str(error.value)


def test_a_network_that_is_too_deep(builders, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bounds, "_MOST_TENSORS", 500)
    with pytest.raises(TooLarge, match=r"model own.py:deep has more than 500 tensors; use a smaller network"):
        fresh("own.py:deep", image_data(), source="test", options={"depth": "1000000"})
    start = checkpoint_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), SHAPE)
    write(replace(start, spec=ModelSpec("own.py:deep", SHAPE, 3, {"depth": 10**6})), tmp_path / "deep.safetensors")
    with pytest.raises(TooLarge, match=r"deep.safetensors: model own.py:deep has more than 500 tensors"):
        read(tmp_path / "deep.safetensors")


def test_a_copied_layer_counts(monkeypatch) -> None:
    monkeypatch.setattr(bounds, "_MOST_TENSORS", 500)
    layer = nn.Linear(2, 2)
    with pytest.raises(TooLarge, match="more than 500 tensors"), bounded("it"):
        nn.TransformerEncoder(layer, 10**6)


def test_no_more_numbers_than_a_file_holds() -> None:
    data = image_data(shape=(1, 28, 28), classes=10)
    with (
        at_most(1_000, "the file holds 200"),
        pytest.raises(TooLarge, match=r"lenet300 has at least [\d,]+ numbers: the"),
    ):
        untrained("lenet300", data.shape, 10, data.preprocessing)
    assert untrained("lenet300", data.shape, 10, data.preprocessing).dense.parameters > 1_000


@pytest.mark.parametrize(("shape", "classes"), [((3, 99_999, 99_999), 10), ((1, 8, 8), 10**9)])
def test_images_and_classes_beyond_measure(shape, classes: int) -> None:
    with pytest.raises(TooLarge, match="use at most 67,108,864 values per image, and 1,000,000 classes"):
        untrained("lenet300", shape, classes, image_data().preprocessing)
    start = checkpoint_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), SHAPE)
    with pytest.raises(CheckpointError, match=r"under model\.(input|classes)"):
        write(replace(start, spec=ModelSpec("lenet300", shape, classes)), "never.safetensors")


def test_a_plan_of_millions() -> None:
    values = json.dumps(list(range(2_000)))
    one = f'[grid]\na = {values}\nb = {values}\n[pipelines]\nx = "train --lr {{a}} --seed {{b}}"\n'
    with pytest.raises(
        OptionError, match="pipeline 'x' makes 4,000,000 pipelines with all values; the limit is 10,000"
    ):
        read_plan(one)
    lines = "".join(f'x{i} = "train --seed {{a}}"\n' for i in range(6))
    with pytest.raises(OptionError, match="it has more than 10,000 pipelines"):
        read_plan(f"[grid]\na = {values}\n[pipelines]\n{lines}")


def test_bounds_cost_no_memory() -> None:
    tracemalloc.start()
    with pytest.raises(TooLarge), at_most(10**6, "no"), bounded("it"):
        nn.Linear(100_000, 100_000)  # 40 GB, of which nothing is touched
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_what_is_built_inside_bounds_is_as_outside() -> None:
    torch.manual_seed(0)
    one = nn.Linear(3, 4)
    torch.manual_seed(0)
    with bounded("it"):
        other = nn.Linear(3, 4)
    assert torch.equal(one.weight, other.weight)
