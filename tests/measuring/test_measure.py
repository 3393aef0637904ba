"""What eval reports is what can be counted by hand."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prunectl.data.images import Images, Preprocessing
from prunectl.errors import DataError, OptionError
from prunectl.masks import Masks
from prunectl.measuring.accuracy import accuracy
from prunectl.measuring.cost import cost
from prunectl.measuring.evaluate import evaluate
from prunectl.measuring.latency import latency
from prunectl.measuring.memory import peak_memory, stored_bytes
from prunectl.torchtools.contexts import single_steps
from tests.helpers.networks import checkpoint_of, image_data
from tests.helpers.toys import TOYS

SHAPE = (1, 8, 8)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))


def half() -> Masks:
    mask = torch.ones(3, 36, dtype=torch.bool)
    mask[:, :18] = False
    return Masks({"3.weight": mask})


def test_cost_counts_multiply_accumulates_twice() -> None:
    counted = cost(network(), half(), SHAPE)
    assert counted.parameters == 36 + 4 + 108 + 3
    assert counted.weights == 36 + 108
    assert counted.kept == 36 + 54
    assert [(layer.name, layer.uses) for layer in counted.layers] == [("0.weight", 9), ("3.weight", 1)]
    assert counted.flops == 2 * (36 * 9 + 108)
    assert counted.nonzero_flops == 2 * (36 * 9 + 54)


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 5, 5), 6 * 2 * 9 * 25),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 5, 5), 4 * 6 * 4 * 25),
    ],
)
def test_uses_per_weight_agree_with_the_flops(layer: nn.Module, shape: tuple[int, int, int], macs: int) -> None:
    counted = cost(nn.Sequential(layer), Masks.dense(), shape)
    assert counted.flops == 2 * macs
    assert counted.layers[0].weights * counted.layers[0].uses == macs


class Branches(nn.Module):
    """Torch runs one of two branches; both count."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(64, 3), nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, self.one, lambda y: self.one(y) + self.other(y), (x.flatten(1),))


def test_the_branches_of_a_network_are_counted() -> None:
    counted = cost(Branches(), Masks.dense(), SHAPE)
    assert counted.flops == 2 * 2 * 3 * 64  # the larger branch
    assert [(layer.name, layer.uses) for layer in counted.layers] == [("one.weight", 2), ("other.weight", 1)]


@pytest.mark.parametrize("name", ["residual", "encoder-layer", "lstm-bidirectional", "attention-fused-sdpa"])
def test_flops_are_those_of_torchs_counter(name: str) -> None:
    build, shape = TOYS[name]
    model = build().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad(), single_steps():
        model(torch.zeros(1, *shape))
    assert cost(model, Masks.dense(), shape).flops == counter.get_total_flops() > 0


@pytest.mark.long
def test_counting_loads_no_compiler() -> None:
    """It would take longer than all else that a short `eval` does."""
    code = """
import sys
from torch import nn
from prunectl.masks import Masks
from prunectl.measuring.cost import cost
counted = cost(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), Masks.dense(), (1, 2, 2))
sys.exit(counted.flops != 16 or "torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cost_leaves_mode_and_device_alone() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    cost(model, Masks.dense(), SHAPE)
    assert model.training
    assert model[1].running_mean.tolist() == [0, 0]
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert not any(module._forward_hooks for module in model.modules())


def test_stored_bytes() -> None:
    assert stored_bytes(network(), Masks.dense()) == (4 * 151, 4 * 151)
    assert stored_bytes(network(), half()) == (4 * 151, 4 * (151 - 108) + 4 * 54 + 14)


class Fixed(nn.Module):
    """Predicts the class that is written in the first pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(x[:, 0, 0, 0].round().long(), 7).float() * 4


def test_accuracy_counts_over_uneven_batches() -> None:
    predicted, labels = torch.tensor([0, 1, 1, 2, 6]), torch.tensor([0, 1, 0, 2, 2])
    images = Images(predicted.view(-1, 1, 1, 1).to(torch.uint8), labels)
    found = accuracy(Fixed().train(), images, Preprocessing((0.0,), (1 / 255,)), classes=7, batch_size=2)
    assert found.top1 == 3 / 5
    assert found.confusion[0, :2].tolist() == [1, 1]
    assert found.confusion[2].tolist() == [0, 0, 1, 0, 0, 0, 1]
    assert found.per_class[:4] == [0.5, 1.0, 0.5, None]
    logits = 4 * nn.functional.one_hot(predicted, 7).float()
    assert found.loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels)))
    assert found.top5 >= found.top1


def test_of_equal_logits_the_first_class_counts_as_by_argmax() -> None:
    images = Images(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 1]))

    class Tied(Fixed):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[2.0] * 40 + [1.0] * 60]).expand(len(x), 100)

    found = accuracy(Tied(), images, Preprocessing((0.0,), (1.0,)), classes=100)
    assert (found.top1, found.top5) == (0.5, 1.0)


def test_top5_is_top1_where_there_are_fewer_classes() -> None:
    images = Images(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 1]))

    class Two(Fixed):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[1.0, 0.0]]).expand(len(x), 2)

    found = accuracy(Two(), images, Preprocessing((0.0,), (1.0,)), classes=2)
    assert (found.top1, found.top5) == (0.5, 1.0)


def test_latency_is_measured() -> None:
    taken = latency(network(), SHAPE, 4)
    assert taken["batch"] == 4
    assert 0 < taken["median_s"] < 1
    assert taken["runs"] >= 1  # blocks: a busy machine may fit but one into the time


def test_a_record_says_everything_once() -> None:
    start = checkpoint_of(network(), SHAPE)
    checkpoint = start.after("prune", {}, masks=half())
    half().apply_(checkpoint.model)
    record = evaluate(checkpoint, image_data(), with_latency=False)
    assert record["weights"] == 90
    assert record["weight_sparsity"] == pytest.approx(54 / 144)
    assert record["nodes"] == 2  # half of the features are cut off: channels 0 and 1
    assert record["node_sparsity"] == 0.5
    assert record["macs"] == 432
    assert record["flops"] == record["dense"]["flops"] == 864
    assert record["nonzero_flops"] == 756
    assert record["images"] == sum(map(sum, record["confusion"])) == 30
    assert record["top5"] == 1.0
    assert record["accuracy"] == pytest.approx(sum(record["per_class"].values()) / 3)
    assert record["peak_memory_bytes"] > 1e6
    assert "latency" not in record


@pytest.mark.skipif(sys.platform != "linux", reason="no other system forgets a peak")
def test_the_peak_of_memory_is_that_of_the_work() -> None:
    device = torch.device("cpu")
    much = peak_memory(device, lambda: torch.ones(100_000_000).sum())[1]
    assert peak_memory(device, lambda: torch.ones(1).sum())[1] < much - 300_000_000


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="takes 1x8x8 images of 3 classes, test has 3x8x8 of 3"):
        evaluate(checkpoint_of(network(), SHAPE), image_data(shape=(3, 8, 8)))


class Masked(nn.Module):
    """Some channels are masked by a tensor that is no buffer, and by one made on the cpu."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.body, self.head = torch.tensor(0.5), nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((self.body(x - self.mean) * (torch.arange(4) < 3)[:, None, None]).mean((2, 3)))


class Looking(Masked):
    """Depends on values: a number, a branch, how many are above 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x) / (x.abs().max().item() + 1)
        with torch.autocast(x.device.type, enabled=False):
            x = x.mean((2, 3))
        return self.head(x if x.mean() > 0 else x + torch.nonzero(x).numel())


@pytest.mark.parametrize("kind", [Masked, Looking])
def test_cost_counts_what_cannot_run_on_the_meta_device(kind: type[nn.Module]) -> None:
    model = kind()
    before, state = {name: p.clone() for name, p in model.state_dict().items()}, torch.get_rng_state()
    counted = cost(model, Masks.dense(), SHAPE)
    assert counted.flops == 2 * (36 * 36 + 12)
    assert [(layer.name, layer.uses) for layer in counted.layers] == [("body.weight", 36), ("head.weight", 1)]
    assert model.training
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["encoder-layer", "attention-fused-sdpa", "lstm-bidirectional", "gru", "grouped-4"])
def test_cost_is_the_same_off_the_meta_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, shape = TOYS[name]
    model = build()
    expected = cost(model, Masks.dense(), shape)
    monkeypatch.setattr("prunectl.measuring.cost.on_meta", lambda model: 1 / 0)
    assert cost(model, Masks.dense(), shape) == expected


class Named(Masked):
    """Gives its logits by name."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.head(self.body(x).mean((2, 3)))}


class Two(Masked):
    """Needs more than images."""

    def forward(self, x: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3))) + age


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Named(), r"^expected a network that returns a tensor of logits \(B, classes\), found dict; "),
        (Two(), r"^the network does not take images \(B, 1, 8, 8\): .*missing 1 required .*'age'; use another"),
        (nn.Linear(5, 3), r"^the network does not take images \(B, 1, 8, 8\): .*; use another"),
    ],
)
def test_networks_that_cannot_be_run_on_images_are_told(model: nn.Module, message: str) -> None:
    with pytest.raises(OptionError, match=message) as error:
        checkpoint_of(model, SHAPE)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_the_old_weight_norm_is_told_with_its_layer() -> None:
    model = nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(64, 3)))
    with pytest.raises(OptionError, match=r"^layer 1 holds a weight computed .*; use .*parametrizations\.weight_norm"):
        cost(model, Masks.dense(), SHAPE)
