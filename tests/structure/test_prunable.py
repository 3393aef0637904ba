"""What masks keep beyond others, and layers that no mask can prune."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from prunectl.errors import OptionError
from prunectl.masks import Masks, check_prunable

DIAGONAL = torch.eye(2).bool()


def test_beyond_is_what_only_the_first_masks_keep():
    mine = Masks({"a": DIAGONAL, "b": torch.tensor([True, False]), "c": torch.tensor([True]), "d": ~DIAGONAL})
    others = {"a": torch.tensor([[True, True], [False, False]]), "b": torch.ones(2).bool(), "d": torch.tensor(True)}
    more = mine.beyond(Masks(others))
    assert {name: mask.tolist() for name, mask in more.items()} == {"a": [[False, False], [False, True]]}
    assert mine.beyond(mine) == {} == mine.beyond(Masks.dense())


def told(layer: nn.Module, *, all_layers: bool = True) -> str:
    with pytest.raises(OptionError) as error:
        check_prunable(layer, all_layers=all_layers)
    return str(error.value)


@pytest.mark.parametrize(
    ("computes", "by", "undo"),
    [
        (parametrizations.weight_norm, "weight_norm or spectral_norm", "parametrize.remove_parametrizations"),
        (parametrizations.spectral_norm, "weight_norm or spectral_norm", "parametrize.remove_parametrizations"),
        (nn.utils.spectral_norm, "the older spectral_norm", "remove_spectral_norm(layer)"),
    ],
)
def test_a_layer_that_computes_its_weight_is_named_with_what_undoes_that(computes, by, undo):
    network = nn.Sequential(nn.Conv2d(1, 2, 1), computes(nn.Linear(2, 2)))
    said = told(network)
    assert said.startswith(f"layer 1 computes its weight ({by}), so no mask can prune it; ")
    assert f"remove that first: torch.nn.utils.{undo}" in said
    assert told(computes(nn.Linear(2, 2)), all_layers=False).startswith(
        ("layer Linear computes", "layer ParametrizedLinear")
    )
    check_prunable(network, all_layers=False)  # the other layer can be pruned


def test_the_older_weight_norm_is_named():
    with pytest.warns(FutureWarning, match="deprecated"):
        layer = nn.utils.weight_norm(nn.Linear(2, 2))
    assert "(the older weight_norm)" in told(layer) and "torch.nn.utils.remove_weight_norm(layer)" in told(layer)


@pytest.mark.parametrize("key", ["weight", "bias"])
def test_a_mask_of_torch_is_named_with_what_removes_it(key):
    layer = nn.Linear(2, 2)
    prune.l1_unstructured(layer, key, amount=1)
    for network, name in ((layer, "Linear"), (nn.Sequential(nn.Flatten(), layer), "1")):
        said = told(network, all_layers=False)
        assert said.startswith(f"layer {name} has a mask of torch.nn.utils.prune on its {key}; ")
        assert said.endswith(f"torch.nn.utils.prune.remove(layer, {key!r})")


def test_a_buffer_called_mask_is_none_of_torch():
    layer = nn.Linear(2, 2)
    layer.register_buffer("causal_mask", torch.ones(2))
    check_prunable(layer, all_layers=True)


def test_a_network_without_layers_to_prune_is_refused():
    assert "no convolution or linear layer" in told(nn.Sequential(nn.Flatten(), nn.LayerNorm(2)))
    check_prunable(nn.Linear(2, 2), all_layers=True)
