"""OBC and OBSPA against the removal of one weight, or node, after the other, and against least squares."""

import pytest
import torch
from torch import Tensor, nn

from prunectl.criteria.base.surgeon import layers
from prunectl.criteria.obc import trace_of_losses
from prunectl.criteria.obspa import surgeons_loss
from prunectl.data.sampling import scoring_batches
from prunectl.masks import prunable
from prunectl.pruning.prune import prune
from prunectl.structure.trace import trace
from tests.helpers.criterion_networks import NETWORKS, SHAPE
from tests.helpers.networks import checkpoint_of, fresh_checkpoint, image_data, randomise_

DAMP = 0.01


def batches_of(images: Tensor):
    while True:
        yield images, torch.zeros(len(images), dtype=torch.int64)


def removed_one_by_one(row: Tensor, hessian: Tensor) -> list[tuple[int, float, Tensor]]:
    """(weight, loss, the row then) of every removal, by solving for the rest of the row anew each time."""
    steps, left = [], list(range(len(row)))
    now = row.clone()

    def best(kept: list[int]) -> Tensor:
        gone = [i for i in range(len(row)) if i not in kept]
        found = torch.zeros_like(row)
        if kept:
            found[kept] = row[kept] + torch.linalg.solve(hessian[kept][:, kept], hessian[kept][:, gone] @ row[gone])
        return found

    def error(values: Tensor) -> float:
        return float((values - row) @ hessian @ (values - row))

    while left:
        trials = {i: best([j for j in left if j != i]) for i in left}
        goes = min(trials, key=lambda i: error(trials[i]))
        loss, now = error(trials[goes]) - error(now), trials[goes]
        left.remove(goes)
        steps.append((goes, loss, now))
    return steps


def test_obc_removes_the_weight_that_the_others_best_make_up_for() -> None:
    torch.manual_seed(0)
    model, images = nn.Linear(7, 3), torch.randn(40, 7) @ torch.randn(7, 7)
    scores = trace_of_losses(model, batches_of(images), images=40, damp=DAMP)
    hessian = (images.double().T @ images.double()) + DAMP * images.double().square().sum(0).mean() * torch.eye(7)
    mask = torch.ones(3, 7, dtype=torch.bool)
    for r, row in enumerate(model.weight.detach().double()):
        steps = removed_one_by_one(row, hessian)
        assert torch.argsort(scores["weight"][r]).tolist() == [i for i, _, _ in steps]
        most = [max(loss for _, loss, _ in steps[: k + 1]) for k in range(7)]
        assert scores["weight"][r].sort().values.tolist() == pytest.approx(most, rel=1e-4)
        mask[r, [i for i, _, _ in steps[: r + 3]]] = False
        updated = scores.update({"weight": mask})["weight"][r]
        torch.testing.assert_close(updated, steps[r + 2][2], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_node_costs_what_least_squares_cannot_take_back(network: str) -> None:
    torch.manual_seed(0)
    model = randomise_(NETWORKS[network]())
    structure, images = trace(model, SHAPE), torch.randn(12, *SHAPE)
    scores = surgeons_loss(model, batches_of(images), structure, images=12, damp=DAMP)
    found = layers(model, batches_of(images), 12, DAMP)
    for node in range(0, structure.nodes, 3):
        total = 0.0
        for name, axis in structure.consumers:
            classes, weight = structure.axes[name, axis], model.get_parameter(name)
            index = torch.nonzero(classes == node).flatten()
            mask = torch.ones_like(weight, dtype=torch.bool).index_fill(axis, index, False)
            change = found[name].unfolding.matrix(found[name].updated(mask)) - found[name].matrix
            total += float(torch.einsum("gok,gkl,gol->", change, found[name].hessian, change))
        assert float(scores.nodes[node]) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
        nn.Conv2d(4, 6, 3, dilation=2, bias=False),
    ],
)
def test_the_hessian_is_that_of_the_squared_outputs(layer: nn.Module) -> None:
    """The error of a changed weight's outputs is tr(Δ H Δᵀ), also where groups split the channels."""
    torch.manual_seed(0)
    images, before = torch.randn(5, 4, 7, 7), layer.weight.detach().clone()
    found = layers(nn.Sequential(layer), batches_of(images), 5, 0.0)["0.weight"]
    change = torch.randn_like(before)
    with torch.no_grad():
        outputs = layer(images)
        layer.weight.add_(change)
        error = (layer(images) - outputs).double().square().sum()
    delta = found.unfolding.matrix(change).double()
    assert torch.einsum("gok,gkl,gol->", delta, found.hessian, delta).item() == pytest.approx(error.item(), rel=1e-4)


@pytest.mark.parametrize("criterion", ["obc", "obspa"])
def test_kept_weights_make_up_for_those_that_go(criterion: str) -> None:
    begun, data = fresh_checkpoint(NETWORKS["residual"], SHAPE, randomise_), image_data()
    made = prune(begun, data, criterion=criterion, sparsity=0.4, batch_size=16, keep=("head",))
    before = prunable(begun.model)
    for name, weight in prunable(made.model).items():
        mask = made.masks.of(name, weight)
        assert bool((weight[~mask] == 0).all())
        in_part = bool((mask.flatten(1).any(1) & ~mask.flatten(1).all(1)).any())
        assert weight.equal(before[name] * mask) == (not in_part or name == "head.weight"), name


def test_the_update_lowers_the_error_of_the_outputs() -> None:
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 3)), image_data()
    begun = checkpoint_of(model, SHAPE)
    images = next(scoring_batches(data.train, begun.preprocessing, torch.device("cpu"), 60, 0))[0]
    dense = begun.model[:2](images)
    errors = {}
    for criterion in ("magnitude", "wanda", "obc"):
        made = prune(begun, data, criterion=criterion, sparsity=0.5, scope="layer", batch_size=16)
        errors[criterion] = (made.model[:2](images) - dense).square().sum().item()
    assert errors["obc"] < 0.7 * min(errors["magnitude"], errors["wanda"])
