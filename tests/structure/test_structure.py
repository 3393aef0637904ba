"""Nodes are found, dead ones go, and what is left computes the same."""

import copy
import functools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunectl.checkpoints.build import build
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.header import ModelSpec
from prunectl.errors import OptionError, ProofError
from prunectl.masks import Masks, prunable
from prunectl.pruning.shrink import shrink
from prunectl.structure.count import count_nodes
from prunectl.structure.liveness import cut_off
from prunectl.structure.nodes import FROZEN
from prunectl.structure.surgery.proof import difference
from prunectl.structure.trace import Analysis, analyse, trace
from tests.helpers.networks import checkpoint_of, randomise_
from tests.helpers.structure_networks import SHAPE, Residual, chain
from tests.helpers.toys import TOYS


def masked(model: nn.Module, masks: dict[str, torch.Tensor]):
    return pruned(checkpoint_of(model, SHAPE), masks)


def pruned(checkpoint: Checkpoint, masks: dict[str, torch.Tensor]) -> Checkpoint:
    model = checkpoint.model
    full = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}
    found = Masks({**full, **masks})
    found.apply_(model)
    return checkpoint.after("prune", {}, masks=found)


def without(model: nn.Module, name: str, index: object) -> dict[str, torch.Tensor]:
    mask = torch.ones_like(model.get_parameter(name), dtype=torch.bool)
    mask[index] = False
    return {name: mask}


def test_axes_of_a_chain() -> None:
    structure = trace(chain(), SHAPE)
    axes = {key: value.tolist() for key, value in structure.axes.items()}
    assert structure.nodes == 4 + 5 + 6
    assert axes["0.weight", 0] == axes["0.bias", 0] == axes["1.running_var", 0] == axes["4.weight", 1] == [0, 1, 2, 3]
    assert ("0.weight", 1) not in axes  # of size 1: it stays
    assert axes["8.weight", 1] == [n for n in (4, 5, 6, 7, 8) for _ in range(4)]  # 2x2 features for each channel
    assert axes["12.weight", 0] == [FROZEN] * 3


def test_addition_couples_channels() -> None:
    structure = trace(Residual(), SHAPE)
    assert structure.nodes == 4
    assert structure.axes["stem.weight", 0].tolist() == structure.axes["inner.weight", 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "shape", "nodes"),
    [
        ("logistic-regression", (1, 28, 28), 0),
        ("mlp5", (1, 28, 28), 2048),
        ("lenet300", (1, 28, 28), 400),
        ("lenet5", (1, 28, 28), 226),
        ("conv6", (3, 32, 32), 1408),
        ("conv-only", (3, 32, 32), 288),
        ("alexnet", (3, 32, 32), 9600),
        ("vgg16", (3, 32, 32), 12928),
        ("resnet18", (3, 32, 32), 64 + 2 * 64 + 128 * 3 + 256 * 3 + 512 * 3 + 256),
    ],
)
def test_node_counts_of_built_in_networks(name: str, shape: tuple[int, int, int], nodes: int) -> None:
    with torch.device("meta"):
        model = build(ModelSpec(name, shape, 10))
    assert count_nodes(model, shape) == nodes


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("flatten-then-relu", 8 + 4 + 6),
        ("unfold", 8 + 8),
        ("fold", 8 + 8),
        ("differences", 8 + 8),
        ("differences-of-gates", 8),
        ("differences-of-channels", 8),
        ("pick-channels", 8 + 6 + 8),
        ("largest-of-halves", 8 + 6 + 8),
        ("gated-linear-unit", 8 + 6 + 8),
        ("einsum-dots", 8 + 6 + 8),
        ("embedded-positions", 8 + 8),
        ("unit-power", 8 + 8),
        ("constant-kernel", 8 + 8),
        ("made-weights-depthwise", 8 + 8),  # what the weights that are made read stays
    ],
)
def test_node_counts_of_toys(name: str, nodes: int) -> None:
    build, shape = TOYS[name]
    assert count_nodes(build(), shape) == nodes


def test_a_node_without_consumers_goes_with_all_that_fed_it_alone() -> None:
    model = randomise_(chain())
    checkpoint = masked(model, without(model, "12.weight", (slice(None), [0, 1, 2])))
    small = shrink(checkpoint)
    assert small.model[8].weight.shape == (3, 20)
    assert small.model[9].num_features == 3
    assert small.model[12].in_features == 3
    assert small.history[-1].result["removed"] == 3


def test_a_constant_is_folded_into_a_linear_layer_with_its_own_value_per_feature() -> None:
    model = randomise_(chain())
    checkpoint = masked(model, without(model, "4.weight", 2))  # channel 2 is relu(bias), everywhere
    with torch.no_grad():
        model[4].bias[2] = 0.7
    small = shrink(checkpoint)
    assert small.model[4].out_channels == 4
    assert small.model[8].in_features == 16
    expected = model[8].bias + 0.7 * model[8].weight[:, 8:12].sum(1)
    assert torch.allclose(small.model[8].bias, expected, atol=1e-6)


def test_a_constant_before_zero_padding_stays() -> None:
    model = randomise_(chain(padding=1))
    small = shrink(masked(model, without(model, "0.weight", 1)))
    assert small.model[0].out_channels == 4  # its constant is not one at the border of the padded convolution
    unpadded = randomise_(chain(padding=0))
    small = shrink(masked(unpadded, without(unpadded, "0.weight", 1)))
    assert small.model[0].out_channels == 3


def test_a_zero_before_zero_padding_goes() -> None:
    model = randomise_(chain(padding=1))
    with torch.no_grad():
        for tensor in (model[0].bias, model[1].bias, model[1].running_mean):
            tensor[1] = 0
    small = shrink(masked(model, without(model, "0.weight", 1)))
    assert small.model[0].out_channels == 3


def test_a_chain_of_constants_folds_to_the_end() -> None:
    model = randomise_(chain(padding=0))
    mask = torch.ones_like(model[4].weight, dtype=torch.bool)
    mask[3] = False
    mask[3, 1] = True  # channel 3 sees channel 1 alone, which is constant
    checkpoint = masked(model, {**without(model, "0.weight", 1), "4.weight": mask})
    small = shrink(checkpoint)
    assert small.model[0].out_channels == 3
    assert small.model[4].out_channels == 4


def test_every_axis_keeps_a_node_when_the_network_is_cut_through() -> None:
    model = randomise_(chain())
    checkpoint = masked(model, {"8.weight": torch.zeros(6, 20, dtype=torch.bool)})
    small = shrink(checkpoint)
    assert min(min(w.shape) for w in prunable(small.model).values()) >= 1
    assert difference(checkpoint.model.double(), small.model.double(), SHAPE) < 1e-6


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


@pytest.mark.parametrize(
    "pool",
    [
        [nn.AdaptiveAvgPool2d(1), nn.Flatten()],
        [Mean()],
        [nn.Dropout2d(0.3), Mean()],
    ],
)
def test_what_passes_channels_on_one_by_one_keeps_none_alive(pool: list[nn.Module]) -> None:
    model = randomise_(nn.Sequential(nn.Conv2d(1, 6, 3), nn.Conv2d(6, 8, 1), *pool, nn.Linear(8, 3)))
    last = f"{len(model) - 1}.weight"
    unread = without(model, last, (slice(None), [0, 1, 2]))
    small = shrink(masked(model, {**unread, **without(model, "1.weight", (slice(3, None), [0, 1]))}))
    assert small.model[1].weight.shape[:2] == (5, 4)  # two channels were read by those alone that nothing reads


def test_features_that_an_instance_norm_averages_over_stay_though_nothing_else_reads_them() -> None:
    rows = nn.Sequential(nn.Flatten(1, 2), nn.Linear(8, 6), nn.InstanceNorm1d(8), nn.Linear(6, 5), nn.ReLU())
    model = randomise_(nn.Sequential(*rows, nn.Flatten(), nn.Linear(40, 3)))
    small = shrink(masked(model, without(model, "3.weight", (slice(None), [1, 4]))))
    assert small.model[1].out_features == 6


def test_residual_nodes_go_only_when_dead_on_both_sides() -> None:
    model = randomise_(Residual())
    consumers = {
        **without(model, "inner.weight", (slice(None), [0, 1])),
        **without(model, "head.weight", (slice(None), [0])),
    }
    small = shrink(masked(model, consumers))
    assert small.model.stem.out_channels == small.model.inner.out_channels == small.model.head.in_features == 3


def test_a_constant_that_only_masked_weights_read_goes_at_once() -> None:
    model = randomise_(Residual())  # channel 2 is cut off; channel 0, which nothing reads, still reaches it
    masks = {
        **without(model, "stem.weight", (2,)),
        **without(model, "inner.weight", (2, [1, 2, 3])),
        **without(model, "head.weight", (slice(None), [0, 2])),
    }
    masks["inner.weight"][[0, 1, 3], 0] = False
    model.stem.bias.data[2] = -1.0  # zero after the ReLU, and read by inner
    small = shrink(masked(model, masks))
    assert small.model.stem.out_channels == 2
    assert shrink_again_changes_nothing(small)


def test_masks_are_cut_along_and_full_ones_dropped() -> None:
    model = randomise_(chain())
    mask = torch.ones_like(model[8].weight, dtype=torch.bool)
    mask[0, 3] = False
    checkpoint = masked(model, {**without(model, "12.weight", (slice(None), [1])), "8.weight": mask})
    small = shrink(checkpoint)
    assert set(small.masks) == {"8.weight"}
    assert small.masks["8.weight"].shape == small.model[8].weight.shape == (5, 20)
    assert small.masks.kept(small.model) == checkpoint.masks.kept(checkpoint.model) - 20


@functools.cache
def examined(residual: bool, padding: int) -> tuple[Checkpoint, Analysis]:
    """A network that values are put into, with what is known of it whatever these are."""
    model = Residual() if residual else chain(padding)
    return checkpoint_of(model, SHAPE), analyse(model, SHAPE)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), sparsity=st.floats(0.3, 0.98), padding=st.integers(0, 1), residual=st.booleans())
def test_any_mask_shrinks_exactly(seed: int, sparsity: float, padding: int, residual: bool) -> None:
    start, analysis = examined(residual, padding)
    model = randomise_(copy.deepcopy(start.model), seed)
    generator = torch.Generator().manual_seed(seed)
    masks = {n: torch.rand(w.shape, generator=generator) > sparsity for n, w in prunable(model).items()}
    checkpoint = pruned(replace(start, model=model), masks)
    small = shrink(checkpoint)
    assert difference(checkpoint.model.double(), small.model.double(), SHAPE, seed=seed) < 1e-5
    proof = small.history[-1].result["proof"]
    assert proof["float64"] <= 1e-10
    assert proof["float32"] <= 1e-5
    assert shrink_again_changes_nothing(small)
    dead = cut_off(small.model, analyse(small.model, SHAPE), small.masks)
    cut = cut_off(checkpoint.model, analysis, checkpoint.masks)
    left = small.history[-1].result["nodes"] - int(dead.sum())
    alone = sum(size == 1 for weight in prunable(small.model).values() for size in weight.shape[:2])
    assert 0 <= left - (len(cut) - int(cut.sum())) <= alone  # the last node on its axis cannot be cut off


def shrink_again_changes_nothing(small) -> bool:
    if not small.masks:
        return True
    again = shrink(small)
    return again.history[-1].result["removed"] == 0


def test_a_wrong_removal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = randomise_(chain())
    checkpoint = masked(model, without(model, "12.weight", (slice(None), [0])))

    def wrong(*arguments: object) -> torch.Tensor:
        return torch.arange(15) == 14  # a node that is alive

    monkeypatch.setattr("prunectl.pruning.removal.bury_", wrong)
    with pytest.raises(ProofError, match="differs from the masked one by"):
        shrink(checkpoint)


def test_nothing_pruned_is_refused() -> None:
    with pytest.raises(OptionError, match="nothing to remove: this checkpoint is not pruned"):
        shrink(checkpoint_of(chain(), SHAPE))
