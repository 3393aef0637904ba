"""Every operation has one whole entry in the table, and one decorated function is all that a new one takes."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

import prunectl.structure.rules
from prunectl.masks import Masks
from prunectl.pruning.shrink import shrink
from prunectl.structure.labels import Value
from prunectl.structure.operations import OPERATIONS, Arguments, Liveness, operation
from prunectl.structure.propagation import Propagation
from prunectl.structure.surgery.edits import Edits
from prunectl.structure.surgery.graph_writer import Emitter
from prunectl.structure.trace import analyse, trace
from tests.helpers.networks import checkpoint_of, randomise_

SHAPE = (1, 6, 6)
WEIGHTED = (Liveness.LINEAR, Liveness.CONVOLUTION, Liveness.TRANSPOSED)


def test_every_entry_has_a_rule_and_a_liveness() -> None:
    assert len(OPERATIONS) > 150
    assert [name for name, entry in OPERATIONS.items() if not callable(entry.rule)] == []
    assert [name for name, entry in OPERATIONS.items() if not isinstance(entry.liveness, Liveness)] == []


def test_all_of_an_entry_is_in_one_file_of_rules() -> None:
    for name, entry in OPERATIONS.items():
        parts = [part for part in (entry.rule, entry.writer, entry.editor) if part is not None]
        places = {part.__module__ for part in parts}
        assert len(places) == 1, name
        assert places.pop().startswith(prunectl.structure.rules.__name__ + "."), name


def test_every_entry_is_of_an_operation_that_torch_has() -> None:
    assert [name for name in OPERATIONS if not hasattr(torch.ops.aten, name)] == ["getitem"]


def test_operations_with_a_weight_name_their_arguments_as_liveness_reads_them() -> None:
    weighted = [name for name, entry in OPERATIONS.items() if entry.liveness in WEIGHTED]
    assert {"linear", "conv2d", "conv_transpose2d"} <= set(weighted)
    for name in weighted:
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads():
            arguments = {argument.name for argument in getattr(packet, overload)._schema.arguments}
            assert {"input", "weight", "bias"} <= arguments, f"{name}.{overload}"


def test_a_second_entry_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the operation 'roll' already has an entry, in prunectl.*\.move"):
        operation("roll")(swapped)


@torch.library.custom_op("prunectl_tests::swap_halves", mutates_args=())
def swap_halves(x: Tensor, half: int) -> Tensor:
    """The channels from `half` on, then those before."""
    return torch.cat([x[:, half:], x[:, :half]], 1)


@swap_halves.register_fake
def _(x: Tensor, half: int) -> Tensor:
    return torch.empty_like(x)


def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return swap_halves(gradient, gradient.shape[1] - ctx.half), None


def setup(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
    ctx.half = inputs[1]


swap_halves.register_autograd(backward, setup_context=setup)


class Swapping(nn.Module):
    """Eight channels, whose halves change places before they are read."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mix, self.head = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 6, 1), nn.Linear(6, 3)
        self.half = 4

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(swap_halves(torch.relu(self.body(x)), self.half))
        return self.head(torch.relu(x).mean((2, 3)))


def swapped(flow: Propagation, node: fx.Node, a: Arguments) -> Value:
    """The rule: the halves stay equally long, so channel i of one goes with channel i of the other."""
    x, half = flow.value(a["x"]), a["half"]
    row = x.rows[1]
    if row is not None:
        flow.labels.unify(row[:half], row[half:])
        row = np.concatenate([row[half:], row[:half]])
    return Value(x.shape, (x.rows[0], row, *x.rows[2:]), x.zero, x.image)


def write(em: Emitter, node: fx.Node, a: Arguments) -> fx.Node:
    return em.call(node.target, a["x"], em.size(em.flow.value(a["x"]), 1) // 2)


def edit(edits: Edits, node: fx.Node, a: Arguments) -> None:
    edits.set(node, "half", a["half"], edits.size(edits.flow.value(a["x"]), 1) // 2)


@contextlib.contextmanager
def entered(**parts: Any) -> Iterator[None]:
    """The toy operation in the table, for a while."""
    operation("swap_halves", **parts)(swapped)
    try:
        yield
    finally:
        del OPERATIONS["swap_halves"]


def unread() -> tuple[nn.Module, Masks]:
    """The network with channels 1 and 5 of the body read by nothing."""
    model = randomise_(Swapping())
    mask = torch.ones(6, 8, 1, 1, dtype=torch.bool)
    mask[:, [1, 5]] = False
    masks = Masks({"mix.weight": mask})
    masks.apply_(model)
    return model, masks


def shrunk(**parts: Any) -> Any:
    model, masks = unread()
    with entered(**parts):
        return shrink(checkpoint_of(model, SHAPE).after("prune", {}, masks=masks))


@pytest.mark.parametrize(
    ("parts", "runs"),
    [({"editor": edit}, "modules"), ({"writer": write}, "graph"), ({"editor": edit, "writer": write}, "modules")],
    ids=["editor", "writer", "both"],
)
def test_a_new_operation_is_followed_and_shrunk_exactly(parts: dict[str, Any], runs: str) -> None:
    small = shrunk(liveness=Liveness.PASSES, **parts)
    result = small.history[-1].result
    assert (small.model.body.out_channels, small.model.mix.in_channels) == (6, 6)
    assert (result["nodes"], result["removed"], result["runs"]) == (3 + 6, 1, runs)
    assert result["proof"]["float64"] <= 1e-10
    assert small.model.half == (3 if runs == "modules" else 4)
    assert "training" not in result
    assert "swap_halves" not in OPERATIONS


def test_an_operation_that_mixes_keeps_what_it_reads() -> None:
    small = shrunk(editor=edit)
    assert small.model.body.out_channels == 8
    assert small.history[-1].result["removed"] == 0


def test_without_an_entry_a_network_stays_with_a_reason() -> None:
    structure = analyse(Swapping(), SHAPE, lines=True).structure
    assert structure.nodes == 6  # those of `mix` alone
    reason = structure.reasons["body.weight", 0]
    assert str(reason).startswith("no rule for this operation (swap_halves; test_operations.py:")
    assert structure.reasons["mix.weight", 1].why == "meets an axis that stays"
    with entered():
        structure = trace(Swapping(), SHAPE)
    assert structure.nodes == 4 + 6
    assert structure.axes["mix.weight", 1].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
