"""A network that runs a rewritten graph says so where it would not train as the masked one does."""

import pytest
import torch
from torch import Tensor, nn

from prunectl.pruning.prune import prune
from prunectl.pruning.shrink import shrink
from tests.helpers.marks import quick_rows
from tests.helpers.networks import checkpoint_of, randomise_
from tests.helpers.toys.parts import SHAPE, Toy, conv


class Sign(torch.autograd.Function):
    """Straight through: the gradient of the identity."""

    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Body(nn.Module):
    """Channels are normed over the whole image at the end, which needs a rewritten graph."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.layer, self.gate = kind, conv(8, 8), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        if self.kind == "straight-through":
            x = Sign.apply(x)
        if self.kind == "no-grad":
            with torch.no_grad():
                gate = torch.sigmoid(self.gate(x))
            x = x * gate
        else:
            x = x * torch.sigmoid(self.gate(x))
        if self.kind == "hook" and x.requires_grad:
            x.register_hook(lambda gradient: 2 * gradient)
        if self.kind == "noise" and self.training:
            x = x + 0.1 * torch.randn(x.shape)
        return x / (x.mean((1, 2, 3), keepdim=True).abs() + 1)


@pytest.mark.parametrize(
    ("kind", "doubt"),
    quick_rows(
        [
            ("plain", None),
            ("straight-through", r"its gradients .* masked network by .*: its code has an autograd\.Function, which"),
            ("no-grad", r"its gradients .* masked network by .*% at body\.gate.*: its code has no_grad, which"),
            ("hook", r"^its gradients differ from those of the masked network by \d+% at body\.layer\.\S+$"),
            ("noise", "it cannot be trained: "),
        ],
        chosen=(2,),
    ),
)
def test_what_a_rewritten_graph_does_not_keep_of_a_training_is_told(kind: str, doubt: str | None) -> None:
    torch.manual_seed(0)
    begun = checkpoint_of(randomise_(Toy(Body(kind))).eval(), SHAPE)
    result = shrink(prune(begun, None, criterion="structured-random", sparsity=0.3)).history[-1].result
    assert result["runs"] == "graph"
    if doubt is None:
        assert "training" not in result
    else:
        assert pytest.approx(0, abs=1e-5) == result["proof"]["float32"]
        with pytest.raises(ValueError, match=doubt):
            raise ValueError(result["training"])


NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body, self.gate, self.head = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 1), nn.Linear(8, classes)

    def forward(self, x):
        x = torch.relu(self.body(x))
        with torch.no_grad():
            gate = torch.sigmoid(self.gate(x))
        x = x * gate / (x.mean((1, 2, 3), keepdim=True).abs() + 1)
        return self.head(x.mean((2, 3)))


def net(shape, classes):
    return Net(classes)
"""


def test_shrink_warns_on_the_command_line(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    (tmp_path / "net.py").write_text(NET)
    made = raw(
        "prune", "--model", "net.py:net", "--image-size", 8, "-c", "structured-random", "-s", 0.5, "-o", "p.safetensors"
    )
    assert made.code == 0, made.err
    shrunk = raw("shrink", "p.safetensors", "-o", "s.safetensors")
    assert (shrunk.code, shrunk.out) == (0, "s.safetensors\n")
    assert "warning: for inference only: its gradients differ from those of the masked network" in shrunk.err
