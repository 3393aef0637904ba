"""Layers that must stay: exact counts over the whole network, and nothing of the kept layers is touched."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.pruning import GradualPruning
from prunectl.checkpoints.options.values import recorded, restored
from prunectl.errors import OptionError, UnknownName
from prunectl.masks import prunable
from prunectl.pruning.budget import Budget
from prunectl.pruning.options import PruneOptions
from prunectl.pruning.prune import prune
from prunectl.pruning.reachability import Reachability
from prunectl.pruning.rules import NodeRules
from prunectl.pruning.shrink import shrink
from prunectl.structure.keep import parameters_named
from prunectl.training.recipe import Recipe
from prunectl.training.trainer import Trainer
from tests.helpers.marks import one_in, quick_rows
from tests.helpers.networks import checkpoint_of, image_data, randomise_
from tests.helpers.node_networks import SHAPE, Chain, Residual

LAYERS = {"conv1": 54, "conv2": 432, "hidden": 320, "head": 30}
"""The weights of Chain."""
MAKERS = {"conv1", "conv2", "hidden", "stem", "inner"}
WEIGHTS = sum(LAYERS.values())


def start(kind: type[nn.Module] = Chain) -> Checkpoint:
    return checkpoint_of(randomise_(kind()), SHAPE)


def untouched(begun: Checkpoint, after: Checkpoint, keep: tuple[str, ...]) -> bool:
    """Whether all parameters of the layers have their values and no mask takes anything of them."""
    before, now = dict(begun.model.named_parameters()), dict(after.model.named_parameters())
    names = parameters_named(begun.model, keep)
    return bool(names) and all(
        torch.equal(before[name], now[name]) and bool(after.masks.of(name, now[name]).all()) for name in names
    )


@pytest.mark.parametrize("keep", one_in(4, [("conv1", "hidden"), ("head",), ("conv*",), ("conv2.weight", "*d.weight")]))
@pytest.mark.parametrize(
    ("criterion", "scope"),
    [("magnitude", s) for s in ("global", "layer", "erk", "lamp")]
    + [("snipit", None), ("force", None), ("cnip", None)],
)
def test_weights_are_counted_over_the_whole_network(criterion, scope, keep) -> None:
    begun = start()
    options = {"batches": "1"} if criterion != "magnitude" else {}
    pruned = prune(begun, image_data(), criterion=criterion, scope=scope, sparsity=0.4, keep=keep, options=options)
    assert pruned.masks.kept(pruned.model) == WEIGHTS - round(0.4 * WEIGHTS)
    assert untouched(begun, pruned, keep)
    assert pruned.history[-1].options["keep"] == list(keep)


@settings(deadline=None, max_examples=15)
@given(st.sets(st.sampled_from([*LAYERS]), min_size=1, max_size=3), st.floats(0.01, 0.99))
def test_any_layers_at_any_sparsity(layers, sparsity) -> None:
    """The target is reached exactly, or lies beyond one weight in every other layer."""
    begun, keep = start(), tuple(sorted(layers))
    asked = WEIGHTS - round(sparsity * WEIGHTS)
    least = sum(LAYERS[name] for name in layers) + len(LAYERS) - len(layers)
    if asked < least or asked == WEIGHTS:
        message = "already" if asked == WEIGHTS else r"was requested, but 0\.\d+ is the maximum with .* `keep`; use a"
        with pytest.raises(OptionError, match=message):
            prune(begun, None, criterion="magnitude", sparsity=sparsity, keep=keep)
        return
    pruned = prune(begun, None, criterion="magnitude", sparsity=sparsity, keep=keep)
    assert pruned.masks.kept(pruned.model) == asked
    assert untouched(begun, pruned, keep)


@pytest.mark.parametrize(
    ("criterion", "changes"),
    quick_rows(
        [
            ("snap", {}),
            ("snapit", {}),
            ("structured-random", {"scope": "global"}),
            ("structured-random", {"scope": "layer"}),
            ("magnitude", {"unit": "nodes", "schedule": "exponential"}),
        ],
        chosen=(1, 3),
    ),
)
@pytest.mark.parametrize(
    ("kind", "keep", "free"),
    [
        (Chain, ("conv2",), {"hidden"}),
        (Chain, ("head",), {"conv1", "conv2"}),
        (Chain, ("norm1.bias",), {"conv2", "hidden"}),
        (Residual, ("head",), {"inner"}),
        (Residual, ("inner.bias",), {"stem"}),
    ],
)
def test_all_nodes_on_the_axes_of_a_kept_layer_stay(kind, keep, free, criterion, changes) -> None:
    begun, data = start(kind), image_data()
    nodes = begun.dense.nodes
    pruned = prune(begun, data, criterion=criterion, sparsity=0.2, keep=keep, batch_size=16, **changes)
    assert pruned.history[-1].result["node_sparsity"] == 1 - (nodes - round(0.2 * nodes)) / nodes
    small = shrink(pruned)
    assert untouched(begun, pruned, keep) and untouched(begun, small, keep)
    widths = [
        {name: m.weight.shape[0] for name, m in c.model.named_modules() if name in MAKERS} for c in (begun, small)
    ]
    smaller = {name for name, width in widths[1].items() if width < widths[0][name]}
    assert smaller and smaller <= free


def test_layers_lose_the_same_share_of_the_nodes_that_may_go() -> None:
    """8 and 10 nodes are free, of which 4 and 5 go: half of each."""
    pruned = prune(
        start(), None, criterion="structured-random", sparsity=9 / 24, keep=["norm1"], scope="layer", batch_size=16
    )
    small = shrink(pruned).model
    assert (small.conv1.out_channels, small.conv2.out_channels, small.hidden.out_features) == (6, 4, 5)


def test_nodes_that_stay_count_for_the_least_number() -> None:
    """Two groups meet in one concatenation; the kept one has more than `min_nodes`, so the other may go wholly."""

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.flat = nn.Conv2d(1, 4, 8), nn.Conv2d(1, 4, 8), nn.Flatten()
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.flat(torch.relu(torch.cat([self.a(x), self.b(x)], 1))))

    begun = checkpoint_of(randomise_(Beside()), SHAPE)
    rules = NodeRules(min_nodes=2)
    pruned = prune(begun, None, criterion="structured-random", sparsity=0.25, keep=["a"], rules=rules)
    small = shrink(pruned).model
    assert (small.a.out_channels, small.b.out_channels) == (4, 2)
    with pytest.raises(
        OptionError, match=r"0\.25 is the maximum with 2 or more .* and 4 in the layers of `keep`; ask for"
    ):
        prune(begun, None, criterion="structured-random", sparsity=0.375, keep=["a"], rules=rules)


def test_patterns_of_inputs_leave_kept_layers_dense() -> None:
    begun = start()
    pruned = prune(begun, None, criterion="n:m", scope="1:2", keep=["hidden"])
    masks = pruned.masks
    kept = {name: int(masks.of(name, w).sum()) for name, w in prunable(pruned.model).items()}
    assert kept == {"conv1.weight": 54, "conv2.weight": 216, "hidden.weight": 320, "head.weight": 15}
    assert pruned.history[-1].result["weight_sparsity"] == 1 - sum(kept.values()) / WEIGHTS
    assert untouched(begun, pruned, ("hidden",))


def test_thresholds_and_budgets() -> None:
    begun = start()
    low = {name: int((w.abs() <= 0.2).sum()) for name, w in prunable(begun.model).items()}
    pruned = prune(begun, None, criterion="magnitude", threshold=0.2, keep=["conv2"])
    assert pruned.masks.kept(pruned.model) == WEIGHTS - sum(low.values()) + low["conv2.weight"]
    assert untouched(begun, pruned, ("conv2",))
    nodes = prune(begun, None, criterion="efficient-convnets", scope="global", threshold=1e9, keep=["conv2"])
    assert shrink(nodes).model.hidden.out_features == 1 and untouched(begun, shrink(nodes), ("conv2",))
    budget = Budget.read("params", "0.8x")
    spent = prune(begun, None, criterion="efficient-convnets", budget=budget, keep=["conv2"])
    assert spent.history[-1].result["parameters"] <= 0.8 * begun.dense.parameters
    assert untouched(begun, shrink(spent), ("conv2",))
    with pytest.raises(
        OptionError, match=r"parameters is the minimum with 1 or more .* and 14 in the layers of `keep`"
    ):
        prune(begun, None, criterion="efficient-convnets", budget=Budget.read("params", "0.1x"), keep=["conv2"])


@pytest.mark.parametrize("criterion", ["magnitude", "cnip"])
def test_shrinking_leaves_kept_layers_in_their_shapes(criterion) -> None:
    """Nodes of `conv2` that weights leave without inputs are constants, which `hidden` reads."""
    begun, keep = start(), ("hidden",)
    asked = {"criterion": criterion, "sparsity": 0.6, "batch_size": 16}
    with torch.no_grad():
        begun.model.conv2.weight[:4] *= 1e-3  # those four nodes die
    widths = []
    for chosen in ((), keep):
        small = shrink(prune(begun, image_data(), **asked, keep=chosen))
        widths.append(small.model.conv2.out_channels)
    assert widths[0] < widths[1] == 8
    assert untouched(begun, small, keep) and small.model.hidden.weight.shape == (10, 32)


def test_weights_pruned_before_stay_pruned_in_a_kept_layer() -> None:
    once = prune(start(), None, criterion="magnitude", sparsity=0.3)
    again = prune(once, None, criterion="random", sparsity=0.6, keep=["conv2"])
    assert torch.equal(again.masks["conv2.weight"], once.masks["conv2.weight"])
    assert again.masks.kept(again.model) == WEIGHTS - round(0.6 * WEIGHTS)


def test_a_path_is_kept_through_layers_that_stay() -> None:
    """One weight is left of each of the two other layers."""
    pruned = prune(start(), None, criterion="random", sparsity=750 / WEIGHTS, keep=["head", "conv1"])
    assert pruned.masks.kept(pruned.model) == 54 + 30 + 2
    assert Reachability(pruned.model, SHAPE).reaches(pruned.masks)


@pytest.mark.parametrize(
    ("keep", "error", "message"),
    [
        (["haed"], UnknownName, "no layer named 'haed'; did you mean 'head'?"),
        (["head", "act"], UnknownName, "no layer named 'act'"),
        (["*"], OptionError, "`keep` covers all layers with weights, so nothing can be pruned"),
    ],
)
def test_what_cannot_be_kept(keep, error, message) -> None:
    with pytest.raises(error, match=message.replace("?", r"\?")):
        prune(start(), None, criterion="magnitude", sparsity=0.5, keep=keep)
    if error is OptionError:
        message = "`keep` covers all remaining nodes"
    with pytest.raises(error, match=message.replace("?", r"\?")):
        prune(start(), None, criterion="structured-random", sparsity=0.5, keep=keep)


def test_a_tied_parameter_is_kept_by_each_of_its_names() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64, bias=False), nn.ReLU(), nn.Linear(64, 64, bias=False))
    model[3].weight = model[1].weight
    model.append(nn.Linear(64, 3))
    assert parameters_named(model, ["3"]) == parameters_named(model, ["1.weight"]) == {"1.weight"}
    assert parameters_named(model, ["[13]", "4.b*"]) == {"1.weight", "4.bias"}


def gradual(criterion: str, sparsity: float, keep: tuple[str, ...], **changes) -> Recipe:
    timing = {key: changes.pop(key) for key in list(changes) if key in GradualPruning.__dataclass_fields__}
    during = GradualPruning(
        criterion, sparsity, keep=keep, **{"prune_delay": 0, "prune_every": 1, "steps": 2, **timing}
    )
    return Recipe(epochs=5, batch_size=16, prune=during, **changes)


@pytest.mark.parametrize("criterion", ["rigl", "set"])
def test_methods_that_drop_and_grow_leave_kept_layers_dense(criterion) -> None:
    trainer = Trainer(start(), image_data(), gradual(criterion, 0.6, ("head", "conv1"), steps=None))
    masks = []
    for _ in trainer.steps():
        masks.append(trainer.current.masks)
        assert trainer.current.masks.kept(trainer.model) == WEIGHTS - round(0.6 * WEIGHTS)
        assert all(
            bool(trainer.current.masks.of(name, trainer.model.get_parameter(name)).all())
            for name in ("head.weight", "conv1.weight")
        )
    assert not torch.equal(masks[0]["conv2.weight"], masks[-1]["conv2.weight"])


@pytest.mark.parametrize(
    "criterion",
    one_in(3, ["snapit-during", "cnipit-during", "gmp", "imp", "granet", "top-kast", "gate-decorators", "l0"]),
)
def test_pruning_during_training_keeps_layers(criterion) -> None:
    keep = ("conv2",) if criterion != "gate-decorators" else ("conv1",)  # whose gates are in BatchNorm
    changes = {"rewind_to": 0} if criterion == "imp" else {}
    trained = Trainer(start(), image_data(), gradual(criterion, 0.2, keep, **changes))
    for _ in trained.steps():
        weight = trained.model.get_parameter(f"{keep[0]}.weight")
        assert weight.numel() == LAYERS[keep[0]]
        assert bool(trained.current.masks.of(f"{keep[0]}.weight", weight).all())
    result = trained.result()
    assert result.history[-1].options["keep"] == list(keep)
    if criterion in ("snapit-during", "l0"):
        assert result.model.hidden.out_features == 5


def test_gates_of_kept_nodes_are_never_trained() -> None:
    trainer = Trainer(start(), image_data(), gradual("l0", 0.2, ("conv2",), prune_every=4, steps=None))
    for _ in zip(range(8), trainer.steps(), strict=False):
        pass
    gates = trainer.learner.callback
    folded = trainer.learner.evaluated()
    assert torch.equal(folded.conv2.weight, trainer.model.conv2.weight)
    assert torch.equal(folded.hidden.weight, trainer.model.hidden.weight)  # reads the nodes of conv2
    assert not torch.equal(folded.head.weight, trainer.model.head.weight)
    assert gates.log_alpha.shape == (24,)


def test_what_a_history_holds_without_kept_layers_is_as_before() -> None:
    assert "keep" not in prune(start(), None, criterion="magnitude", sparsity=0.5).history[-1].options
    assert "keep" not in recorded(GradualPruning()) and "keep" not in recorded(PruneOptions())
    plan = GradualPruning("snapit-during", 0.5, keep=("head",), steps=3)
    assert restored(GradualPruning, recorded(plan)) == plan
    assert recorded(plan)["prune_steps"] == 3
