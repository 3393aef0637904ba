"""What every criterion keeps to, on a chain, a residual and a depthwise network, alone and within a training."""

import copy
from functools import cache

import pytest
import torch
from torch import Tensor

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.criteria.base.criterion import Criterion, Round, criterion_named
from prunectl.data.sampling import scoring_batches
from prunectl.masks import Masks, prunable
from prunectl.plugins.registry import TABLES
from prunectl.pruning.prune import prune
from prunectl.pruning.reachability import Reachability
from prunectl.pruning.shrink import shrink
from prunectl.scores import Scores
from prunectl.structure.node_masks import dead_nodes
from prunectl.structure.nodes import FROZEN, Structure
from prunectl.structure.trace import trace
from prunectl.training.recipe import Recipe
from prunectl.training.trainer import Trainer
from tests.helpers.criterion_networks import NETWORKS, SHAPE
from tests.helpers.marks import quick
from tests.helpers.networks import fresh_checkpoint, image_data, randomise_

CRITERIA = list(TABLES["criterion"])
ALONE = [name for name in CRITERIA if not criterion_named(name).needs_training]


def start(network: str) -> Checkpoint:
    torch.manual_seed(0)
    return fresh_checkpoint(NETWORKS[network], SHAPE, randomise_)


@cache
def structure_of(network: str) -> Structure:
    return trace(NETWORKS[network](), SHAPE)


def scores_of(method: Criterion, begun: Checkpoint, network: str, *, seed: int = 0, amp: bool = False) -> Scores:
    """One round of scores."""
    torch.manual_seed(seed)
    batches = scoring_batches(image_data().train, begun.preprocessing, torch.device("cpu"), 16, seed)
    more = () if method.unit == "weights" else (structure_of(network),)
    if method.regrow_value:
        masks = Masks({name: torch.rand(w.shape) < 0.7 for name, w in prunable(begun.model).items()})
        more = (Round(masks, {name: w.detach() for name, w in prunable(begun.model).items()}, 0.3),)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
        return method.scorer(begun.model, batches, *more)


def tensors_of(scores: Scores) -> dict[str, Tensor]:
    return {**scores, **({} if scores.nodes is None else {"nodes": scores.nodes})}


@pytest.mark.parametrize("network", quick(NETWORKS, ["residual"]))
@pytest.mark.parametrize("name", CRITERIA)
def test_scores(name: str, network: str) -> None:
    """Names, shapes, finite float32 values, the same for a seed; the model stays as it was in every respect."""
    method, begun = criterion_named(name), start(network)
    model = begun.model.train()
    modules = list(model.modules())
    modules[-1].eval().weight.requires_grad_(False)
    first = next(model.parameters())
    first.grad = torch.ones_like(first)
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in modules]

    scores, again = scores_of(method, begun, network), scores_of(method, begun, network)
    found = tensors_of(scores)
    if method.unit in ("weights", "both"):
        assert {key: t.shape for key, t in scores.items()} == {key: w.shape for key, w in prunable(model).items()}
    if method.unit in ("nodes", "both"):
        assert scores.nodes is not None
        assert scores.nodes.shape == (structure_of(network).nodes,)
    for key, tensor in found.items():
        assert tensor.dtype == torch.float32
        assert torch.isfinite(tensor).all()
        assert torch.equal(tensor, tensors_of(again)[key])
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert [module.training for module in modules] == modes
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(parameter.grad is None for parameter in list(model.parameters())[1:])
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == [
        n for n in state if n.endswith("weight")
    ][-1:]


@pytest.mark.parametrize("name", CRITERIA)
def test_scores_in_bfloat16_are_float32_and_rank_alike(name: str) -> None:
    method, begun = criterion_named(name), start("chain")
    plain, mixed = (tensors_of(scores_of(method, begun, "chain", amp=amp)) for amp in (False, True))
    for key, tensor in mixed.items():
        assert tensor.dtype == torch.float32
        pair = torch.stack([plain[key].flatten(), tensor.flatten()])
        if pair.std(1).min() > 0:
            assert torch.corrcoef(pair)[0, 1] > 0.8, key


def kept_of(pruned: Checkpoint, unit: str, network: str) -> int:
    """How many weights or nodes a pruned checkpoint keeps."""
    if unit != "nodes":
        return pruned.masks.kept(pruned.model)
    structure = structure_of(network)
    return structure.nodes - int(dead_nodes(structure, pruned.masks, pruned.model).sum())


def check_connected(pruned: Checkpoint, network: str) -> None:
    """Every layer keeps a weight, every axis with nodes one of them, and something of the image arrives."""
    assert Reachability(pruned.model, SHAPE).reaches(pruned.masks)
    assert all(bool(pruned.masks[name].any()) for name in prunable(pruned.model) if name in pruned.masks)
    structure = structure_of(network)
    gone = structure.gone(dead_nodes(structure, pruned.masks, pruned.model))
    for classes in structure.axes.values():
        assert (classes == FROZEN).any() or not gone[classes].all()


@pytest.mark.parametrize("network", quick(NETWORKS, ["chain"]))
@pytest.mark.parametrize("name", ALONE)
def test_pruning(name: str, network: str) -> None:
    """An exact count of what there was, twice; nothing revived, nothing cut through; the input is left alone."""
    method, begun = criterion_named(name), start(network)
    state = copy.deepcopy(begun.model.state_dict())
    scope = "layer" if name == "n:m" else None
    total = begun.dense.nodes if method.unit == "nodes" else begun.dense.weights
    assert total is not None
    before = begun
    for sparsity in (0.4, 0.7):
        steps = min(method.steps, 10)
        options = {"criterion": name, "sparsity": sparsity, "scope": scope, "steps": steps, "batch_size": 16}
        after = prune(before, image_data(), **options)
        assert kept_of(after, method.unit, network) == total - round(sparsity * total)
        if method.unit == "nodes":
            assert after.history[-1].result["node_sparsity"] == pytest.approx(round(sparsity * total) / total)
        check_connected(after, network)
        if not method.regrow_value:
            assert not any(bool((after.masks[key] & ~mask).any()) for key, mask in before.masks.items())
        assert all(bool((p[~after.masks[n]] == 0).all()) for n, p in after.model.named_parameters() if n in after.masks)
        earlier, before = before, after
    same = prune(earlier, image_data(), **options)
    assert all(torch.equal(after.masks[key], same.masks[key]) for key in after.masks)
    assert all(torch.equal(tensor, state[key]) for key, tensor in begun.model.state_dict().items())
    assert shrink(after).history[-1].result["proof"]["float64"] < 1e-10


@pytest.mark.parametrize("network", quick(["chain", "residual"], ["chain"]))
@pytest.mark.parametrize("name", [name for name in CRITERIA if criterion_named(name).when == "during"])
def test_training(name: str, network: str) -> None:
    """The target is reached by the last round and holds; pruned weights are 0 after every step."""
    method, begun = criterion_named(name), start(network)
    target = {"sparsity": None, "scope": "2:4"} if name == "sr-ste" else {"sparsity": 0.6}
    during = GradualPruning(name, **target, prune_delay=1, prune_every=1, steps=3)
    trainer = Trainer(begun, image_data(), Recipe(epochs=7, batch_size=16, prune=during))
    for _ in trainer.steps():
        weights = dict(trainer.model.named_parameters())
        assert all(bool((weights[key][~mask] == 0).all()) for key, mask in trainer.current.masks.items())
    made = trainer.result()
    total = begun.dense.nodes if method.unit == "nodes" else begun.dense.weights
    assert total is not None
    result = made.history[-1].result
    kept = result["nodes"] if method.unit == "nodes" else made.masks.kept(made.model)
    if name == "sr-ste":
        fours = {key: w for key, w in prunable(made.model).items() if w.shape[1] % 4 == 0}
        assert all(bool((made.masks[key].unflatten(1, (-1, 4)).sum(2) == 2).all()) for key in fours)
        assert kept == total - sum(w.numel() // 2 for w in fours.values())
    else:
        assert kept == total - round(0.6 * total)
    assert all(parameter.requires_grad for parameter in made.model.parameters())
    assert len(result["events"]) == len(trainer.rounds.times)
    if method.unit == "weights":
        check_connected(made, network)


def test_blank_images_stand_in_for_none() -> None:
    """A criterion that needs no data sees the shape of the images all the same."""
    begun = start("chain")
    pair = [prune(begun, data, criterion="synflow", sparsity=0.8, batch_size=16) for data in (image_data(), None)]
    assert all(torch.equal(pair[0].masks[key], pair[1].masks[key]) for key in pair[0].masks)
