"""An optimiser follows its network to smaller shapes: training goes on as that of the masked network would."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from prunectl.checkpoints.build import build
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.header import ModelSpec
from prunectl.errors import OptionError
from prunectl.pruning.shrink import shrink
from prunectl.structure.node_masks import node_masks
from prunectl.structure.surgery.cut import composed, since
from prunectl.structure.surgery.optimizer import carry_
from prunectl.structure.surgery.plan import Plan
from prunectl.structure.trace import trace
from prunectl.training.enforcer import Enforcer
from prunectl.training.recipe import Recipe, optimizer
from tests.helpers.networks import checkpoint_of, randomise_
from tests.helpers.toys import TOYS

SHAPE = (1, 8, 8)


class Residual(nn.Module):
    """A residual stream with BatchNorm everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.inner, self.middle = nn.Conv2d(6, 9, 3, padding=1), nn.BatchNorm2d(9)
        self.outer, self.last = nn.Conv2d(9, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.head = nn.Linear(6 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = x + self.last(self.outer(torch.relu(self.middle(self.inner(x)))))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


def toy(name: str) -> Callable[[], tuple[nn.Module, tuple[int, int, int]]]:
    return lambda: (randomise_(TOYS[name][0]()), TOYS[name][1])


def resnet18() -> tuple[nn.Module, tuple[int, int, int]]:
    torch.manual_seed(0)
    return build(ModelSpec("resnet18", (3, 12, 12), 3)), (3, 12, 12)


def residual() -> tuple[nn.Module, tuple[int, int, int]]:
    torch.manual_seed(0)
    return Residual(), SHAPE


class Fit:
    """A network with its optimiser, masks and images, step by step."""

    def __init__(self, checkpoint: Checkpoint, opt: torch.optim.Optimizer, seed: int = 0) -> None:
        self.checkpoint, self.model, self.opt = checkpoint, checkpoint.model.train(), opt
        self.enforcer = Enforcer(checkpoint.masks, self.model)
        self.generator = torch.Generator().manual_seed(seed)

    def step(self) -> float:
        labels = torch.arange(16) % 3
        noise = torch.randn(16, *self.checkpoint.spec.input, generator=self.generator)
        noise = noise.to(next(self.model.parameters()))
        loss = nn.functional.cross_entropy(self.model(noise + labels.view(-1, 1, 1, 1)), labels)
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        self.enforcer.weights_()
        return float(loss.detach())


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if hasattr(module, "p"):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return model


def masked(fit: Fit, share: float = 0.5) -> Fit:
    """Take nodes away by masks, in place."""
    checkpoint, structure = fit.checkpoint, trace(fit.model, fit.checkpoint.spec.input)
    removed = torch.rand(structure.nodes, generator=torch.Generator().manual_seed(2)) < share
    masks = node_masks(structure, removed, fit.model)
    masks.apply_(fit.model)
    return Fit(checkpoint.after("prune", {}, masks=masks), fit.opt, seed=1)


def copied(fit: Fit) -> Fit:
    """The same network and optimiser in memory of their own."""
    model, opt = copy.deepcopy((fit.model, fit.opt))
    return Fit(replace(fit.checkpoint, model=model), opt, seed=1)


def widened(fit: Fit) -> Fit:
    """Go on in float64, where rounding, which the BatchNorms of a deep network blow up, hides nothing."""
    fit.model.double()
    for parameter, slots in fit.opt.state.items():
        for slot, value in slots.items():
            if value.shape == parameter.shape:
                slots[slot] = value.double()
    return Fit(fit.checkpoint, fit.opt, seed=1)


def cut_along(fit: Fit) -> Fit:
    """The smaller network, with the optimiser of the masked one."""
    small = shrink(fit.checkpoint, constants=False)
    assert not small.masks
    carry_(fit.opt, fit.model, small.model, Plan.of(small.edits).kept)
    return Fit(small, fit.opt, seed=1)


def begun(made: tuple[nn.Module, tuple[int, int, int]], opt: str, steps: int = 3) -> Fit:
    model, shape = made
    checkpoint = checkpoint_of(without_dropout(model), shape)
    fit = Fit(checkpoint, optimizer(Recipe(opt=opt, lr=1e-3 if opt == "sgd" else 1e-4, wd=0.1), model))
    for _ in range(steps):
        fit.step()
    return fit


@pytest.mark.parametrize(
    ("made", "opt", "steps"),
    [
        *((residual, opt, 20) for opt in ("sgd", "adam")),
        *(pytest.param(residual, opt, 20, marks=pytest.mark.long) for opt in ("adamw", "rmsprop")),
        pytest.param(toy("multihead-attention"), "adam", 20, marks=pytest.mark.long),
        (toy("encoder-layer"), "sgd", 20),
        pytest.param(resnet18, "adam", 4, marks=pytest.mark.long),
        *(pytest.param(resnet18, opt, 20, marks=pytest.mark.slow) for opt in ("sgd", "adam")),
    ],
)
def test_training_goes_on_as_that_of_the_masked_network(made, opt: str, steps: int) -> None:
    fit = masked(begun(made(), opt))
    small = cut_along(copied(fit))
    fit, small = widened(fit), widened(small)
    assert sum(p.numel() for p in small.model.parameters()) < 0.7 * sum(p.numel() for p in fit.model.parameters())
    before = {name: p.detach().clone() for name, p in small.model.named_parameters()}
    losses = [(fit.step(), small.step())]
    still = [n for n, p in small.model.named_parameters() if float((p.detach() - before[n]).abs().max()) == 0]
    assert still == []
    losses += [(fit.step(), small.step()) for _ in range(steps - 1)]
    assert [b for _, b in losses] == pytest.approx([a for a, _ in losses], abs=1e-8)


def test_schedulers_hooks_and_everything_but_shapes_stay() -> None:
    fit = masked(begun(residual(), "adam"))
    rates = torch.optim.lr_scheduler.StepLR(fit.opt, step_size=1, gamma=0.5)
    steps = [float(slots["step"]) for slots in fit.opt.state.values()]
    group = {key: value for key, value in fit.opt.param_groups[0].items() if key != "params"}
    momentum = fit.opt.state[fit.model.inner.weight]["exp_avg"]
    small = cut_along(fit)
    assert (
        [float(slots["step"]) for slots in fit.opt.state.values()]
        == steps
        == [3.0] * len(list(small.model.parameters()))
    )
    assert {key: value for key, value in fit.opt.param_groups[0].items() if key != "params"} == group
    assert all(a is b for a, b in zip(fit.opt.param_groups[0]["params"], small.model.parameters(), strict=True))
    kept = Plan.of(small.checkpoint.edits).kept
    rows, columns = kept["inner.weight", 0], kept["inner.weight", 1]
    assert torch.equal(fit.opt.state[small.model.inner.weight]["exp_avg"], momentum[rows][:, columns])
    small.step()
    rates.step()
    assert fit.opt.param_groups[0]["lr"] == pytest.approx(0.5e-4)


def test_state_takes_the_memory_format_of_the_smaller_parameters() -> None:
    """Fused steps on a gpu, where convolutions are channels_last, refuse anything else."""
    fit = masked(begun(residual(), "adam"))
    small = shrink(fit.checkpoint, constants=False)
    small.model.to(memory_format=torch.channels_last)
    carry_(fit.opt, fit.model, small.model, Plan.of(small.edits).kept)
    assert all(slots["exp_avg"].stride() == p.stride() for p, slots in fit.opt.state.items())


def test_factored_state_follows_and_any_other_shape_is_refused() -> None:
    old, new, kept = nn.Linear(4, 3), nn.Linear(2, 3), {("weight", 1): torch.tensor([1, 3])}
    opt = torch.optim.Adafactor(old.parameters())
    opt.state[old.weight] = {"row_var": torch.ones(3, 1), "col_var": torch.arange(4.0).view(1, 4)}
    carry_(opt, old, new, kept)
    assert opt.state[new.weight]["row_var"].shape == (3, 1)
    assert opt.state[new.weight]["col_var"].tolist() == [[1.0, 3.0]]
    opt = torch.optim.SGD(old.parameters())
    opt.state[old.weight] = {"preconditioner": torch.eye(4)}
    with pytest.raises(OptionError, match=r"preconditioner has shape \(4, 4\) for a parameter of \(3, 4\)"):
        carry_(opt, old, new, kept)


def test_since_undoes_composed() -> None:
    first, second = (
        {("a", 0): torch.tensor([0, 2, 5, 7])},
        {("a", 0): torch.tensor([1, 3]), ("b", 1): torch.tensor([4])},
    )
    both = composed(first, second)
    assert both["a", 0].tolist() == [2, 7]
    undone = since(first, both)
    assert {key: left.tolist() for key, left in undone.items()} == {("a", 0): [1, 3], ("b", 1): [4]}
    assert since(first, first) == {}
