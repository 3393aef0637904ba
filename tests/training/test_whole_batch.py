"""A part of a batch is computed as within the whole one."""

import pytest
import torch
from torch import Tensor, nn

from prunectl.training.whole_batch import WholeBatch, batch_norm
from tests.helpers.processes import together

ROWS = slice(1, 7, 3)
DROPOUTS = {
    "dropout": (nn.Dropout(0.4), (7, 5)),
    "dropout2d": (nn.Dropout2d(0.4), (7, 5, 2, 2)),
    "dropout3d": (nn.Dropout3d(0.4), (7, 5, 2, 2, 2)),
    "in place": (nn.Dropout(0.4, inplace=True), (7, 5)),
}


@pytest.mark.parametrize("name", DROPOUTS)
@pytest.mark.parametrize("training", [True, False])
def test_dropout_draws_for_the_whole_batch(name: str, training: bool) -> None:
    dropout, shape = DROPOUTS[name]
    dropout.train(training)
    images = torch.arange(1.0, 1 + torch.Size(shape).numel()).view(shape)
    torch.manual_seed(3)
    whole = dropout(images.clone())
    torch.manual_seed(3)
    with WholeBatch(7, ROWS):
        part = dropout(images[ROWS].clone())
    torch.testing.assert_close(part, whole[ROWS])


@pytest.mark.parametrize("draw", [torch.rand_like, torch.randn_like, lambda x: torch.empty_like(x).bernoulli_(0.5)])
def test_draws_by_image_are_those_of_the_whole_batch(draw) -> None:
    torch.manual_seed(3)
    whole = draw(torch.zeros(7, 4))
    torch.manual_seed(3)
    with WholeBatch(7, ROWS):
        part = draw(torch.zeros(2, 4))
    assert torch.equal(part, whole[ROWS])


def statistics(rows: tuple[slice, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Outputs, gradients and running statistics of a part of 7 images."""
    import torch.distributed as dist

    mine = rows[dist.get_rank() if dist.is_initialized() else 0]
    torch.manual_seed(0)
    images, factors = torch.randn(7, 3, 2, 2, dtype=dtype) + 5, torch.randn(7, 3, 2, 2, dtype=dtype)
    scale, shift = torch.tensor([1.0, 2.0, 3.0], dtype=dtype), torch.ones(3, dtype=dtype)
    part = images[mine].clone().requires_grad_(True)
    running = torch.zeros(3, dtype=dtype), torch.ones(3, dtype=dtype)
    function = batch_norm if dist.is_initialized() else nn.functional.batch_norm
    outputs = function(part, *running, scale, shift, training=True)
    (outputs * factors[mine]).sum().backward()
    return outputs.detach(), part.grad, *running


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_norm_takes_the_statistics_of_all_processes(dtype: torch.dtype) -> None:
    outputs, gradient, mean, variance = statistics((slice(7),), dtype)
    rows = (slice(0, 7, 2), slice(1, 7, 2))
    for mine, found in zip(rows, together(2, statistics, rows, dtype), strict=True):
        expected = (outputs[mine], gradient[mine], mean, variance)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
