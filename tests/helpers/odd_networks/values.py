"""Constructors that look at the values of the parameters."""

from typing import Any

import numpy as np
import torch


def by_item(net: Any) -> None:
    net.scale = torch.tensor(2.0).item()


def by_float(net: Any) -> None:
    net.scale = float(torch.linspace(0, 1, 5)[3])


def by_list(net: Any) -> None:
    net.scale = torch.linspace(0.5, 1.5, 8).tolist()[2]


def by_numpy(net: Any) -> None:
    net.scale = torch.arange(8).numpy().sum() / 10.0


def by_nonzero(net: Any) -> None:
    net.shift = float(len(torch.eye(3).nonzero()))


def by_branch(net: Any) -> None:
    net.scale = 0.1 if net.conv.weight.std() > 10 else 3.0


def by_format(net: Any) -> None:
    net.scale = len(f"{torch.ones(3)}") / 10


def by_caught_error(net: Any) -> None:
    try:
        net.scale = torch.tensor(2.5).item()
    except RuntimeError:
        net.scale = 1.0


def by_bool_mask(net: Any) -> None:
    values = torch.arange(6.0)
    net.scale = len(values[values > 2])


def by_unique(net: Any) -> None:
    net.scale = len(torch.tensor([1, 1, 2, 3]).unique())


def by_assert_on_forward(net: Any) -> None:
    with torch.no_grad():
        assert net.eval()(torch.zeros(1, 1, 28, 28)).isfinite().all()
    net.train()


def by_assert_equal(net: Any) -> None:
    assert torch.equal(net.conv.weight, net.conv.weight.clone())


def by_max_index(net: Any) -> None:
    net.scale = [0.5, 1.5, 2.5][torch.tensor([1, 9, 3]).argmax()]


def by_numpy_function(net: Any) -> None:
    net.shift = float(np.asarray(torch.ones(4)).mean())
