"""Constructors of every kind: what is written computes the same when it is read, or is refused before any work."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from prunectl.checkpoints import checkpoint, rebuild
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.images import ImageData
from prunectl.data.load import load_data
from prunectl.errors import OptionError, StructureError
from prunectl.models.fresh import fresh
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.torchtools.copies import in_type_of
from tests.helpers.marks import one_in
from tests.helpers.odd_networks import KEPT, REFUSED
from tests.helpers.odd_networks.refused import CALLS


@pytest.fixture(scope="module")
def images() -> ImageData:
    return load_data("synthetic")


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNECTL_TRUST", "1")


def begun_with(which: str, images: ImageData) -> Checkpoint:
    return fresh("tests.helpers.odd_networks:pick", images, source="synthetic", options={"which": which})


def outputs(model: torch.nn.Module) -> Tensor:
    pixels = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.eval()(in_type_of(model, pixels))


@pytest.mark.parametrize("which", one_in(6, KEPT))
def test_what_is_read_is_what_was_written(which: str, images: ImageData, tmp_path: Path) -> None:
    begun = begun_with(which, images)
    expected = outputs(begun.model)
    path = tmp_path / "x.safetensors"
    checkpoint.write(begun, path)
    for seed in (11, 12):
        torch.manual_seed(seed)
        random.seed(seed)
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
        read = checkpoint.load(path)
        after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
        assert torch.equal(before[0], after[0])
        assert before[1:] == after[1:]
        assert torch.equal(outputs(read), expected)
        assert read.state_dict().keys() == begun.model.state_dict().keys()
    checkpoint.write(checkpoint.read(path), tmp_path / "y.safetensors")
    assert path.read_bytes() == (tmp_path / "y.safetensors").read_bytes()


def test_a_network_is_built_again_around_its_own_parameters(images: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check takes no second copy of them; buffers are copied, as a run may change them."""
    begun, seen = fresh("resnet20", images, source="synthetic"), []

    def network(head: object, state: dict[str, Tensor], *rest: object) -> torch.nn.Module:
        seen.append({name: tensor.data_ptr() for name, tensor in state.items()})
        return built(head, state, *rest)

    built = rebuild.network
    monkeypatch.setattr(rebuild, "network", network)
    rebuild.check_rebuilds(begun)
    own = {name: tensor.data_ptr() for name, tensor in begun.model.state_dict().items()}
    parameters = {name for name, _ in begun.model.named_parameters()}
    assert all(all((given[name] == own[name]) is (name in parameters) for name in own) for given in seen)
    assert len(seen) == 2


@pytest.mark.parametrize(("which", "words"), [(which, words) for which, (_, words) in REFUSED.items()])
def test_what_no_file_holds_is_refused_before_the_first_step(which: str, words: str, images: ImageData) -> None:
    CALLS.clear()
    with pytest.raises(OptionError, match=words) as refused:
        begun_with(which, images)
    assert "\n" not in str(refused.value)


def test_the_tables_hold_forty_networks() -> None:
    assert len(KEPT) >= 40
    assert len(REFUSED) >= 18


@pytest.mark.parametrize("which", one_in(8, KEPT))
def test_pruned_and_shrunk_it_is_read_as_it_was_written(which: str, images: ImageData, tmp_path: Path) -> None:
    if which == "alias":
        with pytest.raises(StructureError, match=r"^same\[0\] holds the parameter more\.weight a second time"):
            shrink(prune(begun_with(which, images), None, criterion="structured-random", sparsity=0.4))
        return
    masked = prune(begun_with(which, images), None, criterion="structured-random", sparsity=0.4)
    for name, step in (("masked", masked), ("small", shrink(masked))):
        path = tmp_path / f"{name}.safetensors"
        checkpoint.write(step, path)
        assert torch.equal(outputs(checkpoint.load(path)), outputs(step.model))
