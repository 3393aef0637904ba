"""Sanity checks of a mask: the same counts elsewhere, or other weights under it."""

import pytest
import torch

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.data.load import load_data
from prunectl.errors import PrunectlError
from prunectl.masks import prunable
from prunectl.models.fresh import fresh
from prunectl.pruning.prune import prune

DATA = load_data("synthetic")


def pruned(*controls: str, begun: Checkpoint | None = None, **changes) -> Checkpoint:
    begun = begun or fresh("lenet5", DATA, source="synthetic")
    options = {"criterion": "snip", "sparsity": 0.8, "batch_size": 32, **changes}
    return prune(begun, DATA, controls=controls, **options)


def test_a_shuffled_mask_keeps_the_counts_of_layers_and_the_weights() -> None:
    begun = fresh("lenet5", DATA, source="synthetic")
    plain, shuffled = pruned(begun=begun), pruned("shuffle-layerwise", begun=begun)
    for name, mask in plain.masks.items():
        assert int(mask.sum()) == int(shuffled.masks[name].sum())
        assert not torch.equal(mask, shuffled.masks[name])
        original, now = begun.model.get_parameter(name), shuffled.model.get_parameter(name)
        assert torch.equal(now, original * shuffled.masks[name])
    assert shuffled.history[-1].options["controls"] == ["shuffle-layerwise"]
    assert "controls" not in plain.history[-1].options


def test_shuffling_revives_nothing_that_was_pruned_before() -> None:
    once = pruned(sparsity=0.3)
    shuffled = pruned("shuffle-layerwise", begun=once)
    assert not any(bool((mask & ~once.masks[name]).any()) for name, mask in shuffled.masks.items())


@pytest.mark.parametrize("criterion", ["snip", "snap"])
def test_fresh_parameters_under_the_same_mask(criterion: str) -> None:
    plain, other = pruned(criterion=criterion), pruned("reinit", criterion=criterion)
    for name, mask in plain.masks.items():
        assert torch.equal(mask, other.masks[name])
    for name, weight in prunable(plain.model).items():
        now = other.model.get_parameter(name)
        assert not torch.equal(weight, now)
        assert bool((now[~plain.masks[name]] == 0).all())
        if name in ("0.weight", "4.weight"):
            assert float(now[plain.masks[name]].detach().std()) > 0


def test_both_and_what_cannot_be() -> None:
    both = pruned("shuffle-layerwise", "reinit")
    assert both.masks.kept(both.model) == pruned().masks.kept(both.model)
    with pytest.raises(PrunectlError, match="prunes nodes; use structured-random as a control"):
        pruned("shuffle-layerwise", criterion="snap")
    with pytest.raises(PrunectlError, match="no control named 'shuffle'; did you mean 'shuffle-layerwise'"):
        pruned("shuffle")


def test_on_the_command_line(cli) -> None:
    line = "prune --model lenet300 -c magnitude -s 0.5 --shuffle-layerwise --reinit -o a.safetensors"
    assert cli(*line.split()) == "a.safetensors\n"
    assert '"controls": ["shuffle-layerwise", "reinit"]' in cli("inspect", "a.safetensors", "--json")
