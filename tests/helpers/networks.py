"""Small networks and images that several tests share."""

from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.header import DenseCounts, ModelSpec
from prunectl.data.images import ImageData, Images, Preprocessing
from prunectl.masks import Masks
from prunectl.measuring.cost import cost
from prunectl.structure.count import count_nodes


def checkpoint_of(
    model: nn.Module, shape: tuple[int, int, int], classes: int = 3, dense: DenseCounts | None = None
) -> Checkpoint:
    """A dense checkpoint around any network, whose counts may be known."""
    dense = dense or _counts(model, shape)
    spec = ModelSpec("test", shape, classes)
    return Checkpoint(model, Masks.dense(), spec, "test", Preprocessing((0.5,) * shape[0], (0.25,) * shape[0]), dense)


def fresh_checkpoint(
    build: Callable[[], nn.Module], shape: tuple[int, int, int], edit: Callable[[nn.Module], nn.Module] | None = None
) -> Checkpoint:
    """A dense checkpoint around a new network, with the values of `edit`; what `build` makes is traced only once."""
    model = build() if edit is None else edit(build())
    return checkpoint_of(model, shape, dense=_counts_by(build, shape))


@cache
def _counts_by(build: Callable[[], nn.Module], shape: tuple[int, int, int]) -> DenseCounts:
    with torch.random.fork_rng(devices=[]):
        return _counts(build(), shape)


def _counts(model: nn.Module, shape: tuple[int, int, int]) -> DenseCounts:
    counted = cost(model, Masks.dense(), shape)
    return DenseCounts(counted.parameters, counted.weights, count_nodes(model, shape), counted.flops)


def random_images(count: int, shape: tuple[int, int, int], classes: int = 3, seed: int = 0) -> Images:
    """Noise with labels that can be learnt: the class brightens the image."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    noise = torch.randint(0, 100, (count, *shape), generator=generator)
    return Images((noise + 50 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels)


def image_data(count: int = 60, shape: tuple[int, int, int] = (1, 8, 8), classes: int = 3) -> ImageData:
    """A dataset of `random_images`."""
    return ImageData(
        name="test",
        train=random_images(count, shape, classes),
        test=random_images(count // 2, shape, classes, seed=1),
        classes=tuple(str(i) for i in range(classes)),
        preprocessing=Preprocessing((0.5,) * shape[0], (0.25,) * shape[0]),
    )


def randomise_(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and statistic a value that no default initialisation has: defaults hide errors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.is_floating_point():
                draw = torch.rand(tensor.shape, generator=generator).to(tensor)
                tensor.copy_(draw + 0.5 if "var" in name else draw - 0.5)
    return model
