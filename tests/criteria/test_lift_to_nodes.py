"""A criterion of weights for nodes: a node is worth the sum over its filters."""

import pytest
import torch

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.load import load_data
from prunectl.errors import OptionError
from prunectl.models.fresh import fresh
from prunectl.pruning.prune import prune
from prunectl.training.recipe import Recipe
from prunectl.training.train import train
from tests.helpers.gradual_pruning import recipe
from tests.helpers.gradual_pruning import start as small
from tests.helpers.networks import image_data

DATA = load_data("synthetic")


def pruned(criterion: str, **changes) -> Checkpoint:
    options = {"sparsity": 0.7, "scope": "layer", "batch_size": 32, **changes}
    return prune(fresh("lenet5", DATA, source="synthetic"), DATA, criterion=criterion, **options)


def test_magnitude_of_nodes_is_the_norm_of_filters() -> None:
    one, other = pruned("magnitude", unit="nodes"), pruned("efficient-convnets")
    assert all(torch.equal(one.masks[name], other.masks[name]) for name in other.masks)
    assert one.history[-1].options["unit"] == "nodes"
    assert "unit" not in other.history[-1].options


@pytest.mark.parametrize("criterion", ["snip", "synflow", "grasp", "wanda"])
def test_scores_of_weights_prune_an_exact_number_of_nodes(criterion: str) -> None:
    begun = pruned(criterion, unit="nodes", scope=None, schedule="exponential", steps=3)
    total = begun.dense.nodes or 0
    assert round(begun.history[-1].result["node_sparsity"] * total) == round(0.7 * total)


def test_options_are_those_of_the_weights() -> None:
    assert pruned("snip", unit="nodes", options={"batches": "1"}).history[-1].options["options"] == {"batches": 1}
    with pytest.raises(OptionError, match="criterion snip has no option 'q'; its options: batches=5"):
        pruned("snip", unit="nodes", options={"q": "1"})


@pytest.mark.parametrize(
    ("criterion", "unit"), [("snap", "weights"), ("force", "nodes"), ("snip", "both"), ("snip", "x")]
)
def test_what_cannot_be_made(criterion: str, unit: str) -> None:
    with pytest.raises(
        OptionError, match="expected `unit` nodes and a criterion of weights that never regrows weights; got "
    ):
        pruned(criterion, unit=unit)


def test_nodes_rewind_too() -> None:
    """The smaller network goes back to what was left of it at the end of epoch 1."""
    plan: Recipe = recipe("imp", 0.6, epochs=5, prune_delay=1, steps=2, rewind_to=1, unit="nodes")
    made = train(small(), image_data(), plan)
    assert made.history[-1].result["node_sparsity"] == pytest.approx(round(0.6 * 18) / 18)
    assert made.model[0].out_channels < 4 or made.model[3].out_channels < 6
