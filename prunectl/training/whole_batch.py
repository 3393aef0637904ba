"""WholeBatch: computes one process's part of a batch as within the whole batch."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prunectl.torchtools.distributed import rows
from prunectl.training.batch import Batch

_F = nn.functional
_DROPOUTS = (_F.dropout, _F.dropout1d, _F.dropout2d, _F.dropout3d)
_DRAWS = (Tensor.bernoulli_, torch.rand_like, torch.randn_like)


def whole_batch(batch: Batch) -> AbstractContextManager[Any]:
    """The context for the passes of a batch; does nothing if no other process has a part of it."""
    return WholeBatch(batch.whole, rows(batch.whole)) if batch.whole else nullcontext()


class WholeBatch(TorchFunctionMode):
    """Inside the block, BatchNorm uses the statistics of all processes, and random draws are those of the whole batch.

    `count` is the number of images of the whole batch, of which `rows` go through the network here. Draws per image are
    recognised by a first axis as long as the part: those of dropout, `bernoulli_`, `rand_like` and `randn_like`.
    """

    def __init__(self, count: int, rows: slice) -> None:
        super().__init__()
        self.count, self.rows, self.part = count, rows, len(range(count)[rows])

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """The result of a torch function for the part."""
        keywords = dict(kwargs or {})
        if func is _F.batch_norm:
            return batch_norm(*args, **keywords)
        if func in _DROPOUTS and self._is_part(args[0]):
            return self._dropout(func, *args, **keywords)
        if func in _DRAWS and self._is_part(args[0]):
            drawn = func(self._whole(args[0]), *args[1:], **keywords)[self.rows]
            return args[0].copy_(drawn) if func is Tensor.bernoulli_ else drawn
        return func(*args, **keywords)

    def _dropout(
        self, func: Callable[..., Tensor], x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training:
            return x
        factors = func(self._whole(x), p, True)[self.rows]
        return x.mul_(factors) if inplace else x * factors

    def _is_part(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor) and tensor.ndim > 1 and len(tensor) == self.part

    def _whole(self, part: Tensor) -> Tensor:
        """Ones in the shape of the whole batch, laid out like the part, because draws follow the memory order."""
        ones = part.new_ones((self.count, *part.shape[1:]))
        last = part.ndim == 4 and part.is_contiguous(memory_format=torch.channels_last) and not part.is_contiguous()
        return ones.contiguous(memory_format=torch.channels_last) if last else ones


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm` (B, C, ...) with the statistics of the batches of all processes together."""
    if not training:
        return _F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    values = x if x.dtype == torch.float64 else x.float()
    axes, shape = [i for i in range(x.ndim) if i != 1], [1, -1, *[1] * (x.ndim - 2)]
    sums = _Sum.apply(torch.cat([values.sum(axes), values.new_tensor([x.numel() / max(x.shape[1], 1)])]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = values - mean.view(shape)
    variance = _Sum.apply(centred.square().sum(axes)) / count
    with torch.no_grad():
        for running, now in ((running_mean, mean), (running_var, variance * count / (count - 1))):
            if running is not None:
                running.lerp_(now.to(running.dtype), momentum)
    normal = centred * (variance + eps).rsqrt().view(shape)
    normal = normal if weight is None else normal * weight.view(shape)
    shifted: Tensor = normal if bias is None else normal + bias.view(shape)
    return shifted.to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all processes; the gradient of a process's term is the sum of all gradients of it."""

    @staticmethod
    def forward(ctx: Any, term: Tensor) -> Tensor:
        total = term.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
