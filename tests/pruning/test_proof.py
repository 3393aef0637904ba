"""A shrunk network is proved to compute what the masked one does: in its types, on its own pixels, or it is refused."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prunectl.data.images import Preprocessing
from prunectl.errors import ProofError
from prunectl.masks import Masks
from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from prunectl.structure.surgery import proof
from prunectl.structure.surgery.proof import difference
from tests.helpers.networks import checkpoint_of, randomise_
from tests.helpers.shrinking import same, toy, weight_masked


def test_a_proof_that_fails_is_refused_for_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    masked = prune(toy("residual"), None, criterion="structured-random", sparsity=0.3)

    def wrong(*arguments: object) -> torch.Tensor:
        return torch.arange(40) % 2 == 0  # nodes that are alive

    monkeypatch.setattr("prunectl.pruning.removal.bury_", wrong)
    with pytest.raises(ProofError, match="differs from the masked one"):
        shrink(masked)


class Casting(nn.Module):
    """Computes a part in float32, whatever the type of its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Conv2d(1, 8, 3), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x).flatten(2).transpose(1, 2)
        x = nn.functional.layer_norm(x.float(), (8,), self.norm.weight.float(), self.norm.bias.float()).to(x)
        return self.head(torch.relu(x).mean(1))


def test_a_network_that_casts_to_float32_is_proved_to_float32() -> None:
    masked = prune(checkpoint_of(randomise_(Casting()), (1, 8, 8)), None, criterion="structured-random", sparsity=0.5)
    small = shrink(masked)
    assert same(small, masked)
    assert 1e-10 < small.history[-1].result["proof"]["float64"] < 1e-5


class Logarithm(Casting):
    """Takes no pixel below 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(torch.log(x + 0.1)).mean((2, 3)))


class Palette(Casting):
    """Looks pixels up, which raises an error outside of [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Embedding(256, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.colours((x * 255).long()).mean((1, 2, 3)))


@pytest.mark.parametrize(
    ("network", "message"), [(Logarithm, "own outputs are not finite"), (Palette, "fails on .* index out of range")]
)
def test_a_network_is_proved_on_the_pixels_that_it_takes(network: type[nn.Module], message: str) -> None:
    masked = weight_masked(checkpoint_of(randomise_(network()), (1, 8, 8)), 0.5)
    small = shrink(replace(masked, preprocessing=Preprocessing((0.0,), (1.0,))))
    assert small.history[-1].result["proof"]["float64"] < 1e-10
    with pytest.raises(ProofError, match=f"^nothing can be proved: the network.* {message}"):
        shrink(masked)


class Shifted(nn.Module):
    """Its first four channels are constants by their bias, which a shrink folds into the next layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(functional.relu(self.first(x))).mean((2, 3))


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.bfloat16, 0.1), (torch.float16, 0.01)])
def test_what_is_stored_is_proved_in_its_own_type(dtype: torch.dtype, allowed: float) -> None:
    network = randomise_(Shifted())
    with torch.no_grad():
        network.first.bias[:4] = torch.tensor([1.013, 2.017, 3.019, 5.023])
    start = checkpoint_of(network.to(dtype), (1, 8, 8))
    kept = torch.ones(8, 1, 3, 3, dtype=torch.bool)
    kept[:4] = False
    masked = replace(start, masks=Masks({"first.weight": kept}))
    masked.masks.apply_(masked.model)
    small = shrink(masked)
    assert small.model.first.out_channels == 4  # type: ignore[union-attr]
    name = str(dtype).removeprefix("torch.")
    assert small.proof.keys() == {"float64", "float32", name}
    assert small.proof[name] == difference(masked.model, small.model, (1, 8, 8))
    assert 0 < small.proof[name] < allowed


def test_the_proof_runs_each_network_twice_in_each_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one image and on eight; the traced graph, which finds constants, is no network that is compared."""
    start = toy("residual")
    ran: list[tuple[torch.dtype, str, int]] = []
    real = proof._outputs

    def counted(network: nn.Module, images: torch.Tensor, name: str, kind: type[Exception]) -> torch.Tensor:
        dtype = next(network.parameters()).dtype
        ran.append((dtype, "small" if name == "the smaller network" else "masked", len(images)))
        return real(network, images, name, kind)  # type: ignore[arg-type]

    monkeypatch.setattr(proof, "_outputs", counted)
    assert shrink(prune(start, None, criterion="structured-random", sparsity=0.5)).proof.keys() == {
        "float64",
        "float32",
    }
    types, sides = (torch.float64, torch.float32), ("masked", "small")
    assert sorted(ran, key=str) == sorted(((t, s, n) for t in types for s in sides for n in (1, 8)), key=str)
