"""Networks that do the same share a graph; whatever changes what they do makes another."""

import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prunectl.errors import StructureError
from prunectl.structure import graphs
from prunectl.structure.export import export
from prunectl.structure.graphs import graph_of
from prunectl.structure.run_record import record
from prunectl.structure.trace import analyse, trace
from tests.helpers.running import run_cli

SHAPE = (1, 4, 4)
SWITCH = {"on": True}


class Net(nn.Module):
    """Reads an attribute, a constant, a number that no module holds, and autocast."""

    def __init__(self, slope: float = 0.1, shift: float = 1.0, cast: bool = False) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 3, 3), nn.Linear(12, 2)
        self.slope, self.cast = slope, cast
        self.shift = [shift, 2.0]

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=self.cast):
            x = self.body(x)
        x = x.float() + torch.tensor(self.shift).sum()
        if SWITCH["on"]:
            x = functional.leaky_relu(x, self.slope)
        return self.head(functional.dropout(x, 0.5, self.training).flatten(1))


def recorded(model: nn.Module, *, training: bool = False, shape: tuple[int, int, int] = SHAPE) -> str:
    found = record(model, shape, training=training, batches=(2,))
    assert found is not None
    return found


@pytest.fixture
def exports(monkeypatch) -> list[bool]:
    """One entry for every export: whether it was in training mode."""
    found: list[bool] = []
    real = graphs.export

    def counted(*arguments, **options):
        found.append(options["training"])
        return real(*arguments, **options)

    monkeypatch.setattr(graphs, "export", counted)
    monkeypatch.setattr(graphs, "_known", type(graphs._known)())
    return found


def test_values_of_parameters_do_not_count() -> None:
    torch.manual_seed(0)
    one = Net()
    torch.manual_seed(1)
    assert recorded(one) == recorded(Net()) == recorded(Net().to(memory_format=torch.contiguous_format))


def _renamed() -> Net:
    model = Net()
    model.add_module("tail", model.head)
    return model


def _hooked() -> Net:
    model = Net()
    model.body.register_forward_hook(lambda _module, _inputs, output: output * 2)
    return model


def _frozen() -> Net:
    model = Net()
    model.body.weight.requires_grad_(False)
    return model


def _owned() -> Net:
    model = Net()
    body = model.body
    model.body = nn.Sequential(body)
    model.body.register_parameter("weight", body.weight)
    return model


@pytest.mark.parametrize(
    "other",
    [
        lambda: Net(slope=0.2),
        lambda: Net(shift=1.5),
        lambda: Net(cast=True),
        lambda: Net().double(),
        _renamed,
        _hooked,
        _frozen,
        _owned,
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 2)),
    ],
)
def test_what_changes_the_graph_changes_the_record(other) -> None:
    assert recorded(Net()) != recorded(other())


def test_modes_shapes_and_numbers_outside_the_network_count(monkeypatch) -> None:
    before = recorded(Net())
    assert recorded(Net(), training=True) != before
    wide = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1))
    assert recorded(wide) != recorded(wide, shape=(1, 5, 5))
    monkeypatch.setitem(SWITCH, "on", False)
    assert recorded(Net()) != before


@pytest.mark.parametrize("swapped", [False, True])
def test_where_an_input_comes_from_counts(swapped) -> None:
    class Difference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)
            self.swapped = False

        def forward(self, x: Tensor) -> Tensor:
            y, z = self.one(x), self.two(x)
            return z - y if self.swapped else y - z

    first, second = Difference(), Difference()
    second.swapped = swapped
    assert (recorded(first) != recorded(second)) == swapped


class Branch(nn.Module):
    """Code that branches on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.flatten(1)) if self.body.bias.sum() > 0 else x


def test_code_that_reads_values_has_no_record(exports) -> None:
    assert record(Branch(), SHAPE, training=False, batches=(2,)) is None
    for _ in range(2):
        with pytest.raises(StructureError, match=r"it branches on values.*test_graphs.py|test_graphs.py"):
            graph_of(Branch(), SHAPE)
    assert len(exports) == 2


def test_random_numbers_are_left_alone_and_so_is_the_network() -> None:
    class Noisy(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + torch.rand(()) + random.random())

    model = Noisy().eval()
    states = (
        torch.get_rng_state(),
        random.getstate(),
        {name: tensor.clone() for name, tensor in model.named_parameters()},
    )
    record(model, SHAPE, training=True, batches=(2, 3))
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert not model.training
    assert not model.body._forward_hooks
    assert all(torch.equal(states[2][name], tensor) for name, tensor in model.named_parameters())


def test_one_export_serves_networks_that_do_the_same(exports) -> None:
    first = graph_of(Net(), SHAPE)
    assert graph_of(Net(), SHAPE) is first
    assert trace(Net(), SHAPE).nodes == 3
    assert graph_of(Net(slope=0.3), SHAPE) is not first
    assert graph_of(Net(), SHAPE, training=True) is not first
    assert graph_of(Net(), SHAPE, any_batch=True) is not first
    assert exports == [False, False, True, False]
    assert all(not isinstance(value, nn.Parameter) for value in first.constants.values())


def test_both_modes_share_a_graph_where_they_do_the_same(exports) -> None:
    for model, same in ((nn.Conv2d(1, 2, 3), True), (nn.BatchNorm2d(1), False), (nn.Dropout(0.5), False)):
        network = nn.Sequential(nn.Conv2d(1, 1, 1), model)
        assert (graph_of(network, SHAPE) is graph_of(network, SHAPE, training=True)) == same
    assert len(exports) == 1 + 2 + 2


def test_only_the_last_graphs_are_kept(exports, monkeypatch) -> None:
    monkeypatch.setattr(graphs, "_MOST", 2)
    for slope in (0.1, 0.2, 0.1, 0.3, 0.1, 0.2):  # what was used last stays
        graph_of(Net(slope=slope), SHAPE)
    assert len(exports) == 4
    assert len(graphs._known) == 2


def test_reasons_have_lines_where_they_are_asked_for() -> None:
    for lines in (False, True):
        reason = analyse(Net(), SHAPE, lines=lines).structure.reasons["body.weight", 2]
        assert reason.line.startswith("test_graphs.py") >= lines  # torch 2.11 always keeps them
        assert reason.why == "the kernel's positions"


def test_a_command_exports_a_network_once(tmp_path, exports) -> None:
    line = "prune --model lenet300 --image-size 4 --data digits --subset 64 -c snap -s 0.5 -o thin.safetensors"
    assert run_cli(tmp_path, *line.split()).code == 0
    assert exports == [False]


def test_what_a_network_prints_while_it_is_traced_stays_out_of_stdout(capsys) -> None:
    class Prints(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            print("shape", x.shape)
            return self.layer(x.flatten(1))

    assert export(Prints(), (1, 2, 2)).names
    assert capsys.readouterr() == ("", "")
