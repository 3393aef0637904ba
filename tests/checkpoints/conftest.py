"""A dense and a masked checkpoint, written, and a copy of the files to damage."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prunectl.checkpoints.checkpoint import Checkpoint, write
from prunectl.data.load import load_data
from prunectl.models.fresh import fresh
from tests.helpers.checkpoint_parts import HISTORY, random_masks


@pytest.fixture(scope="module")
def dense() -> Checkpoint:
    """MLP5 with four hidden layers of 8 neurons, for 8x8 digits; every statistic differs from what it begins with."""
    made = fresh("mlp5", load_data("digits", image_size=8), source="digits", options={"hidden": "8"})
    with torch.no_grad():
        made.model(torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    return replace(made, history=HISTORY)


@pytest.fixture(scope="module")
def masked(dense: Checkpoint) -> Checkpoint:
    return replace(dense, masks=random_masks(dense.model))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, dense: Checkpoint, masked: Checkpoint) -> Path:
    """A folder with dense.safetensors, masked.safetensors and masked.mask.safetensors."""
    folder = tmp_path_factory.mktemp("written")
    write(dense, folder / "dense.safetensors")
    write(masked, folder / "masked.safetensors")
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of it, to damage."""
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path
