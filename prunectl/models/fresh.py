"""fresh: a new dense network for a dataset, as a checkpoint that no file holds yet."""

from collections.abc import Mapping

import torch

from prunectl.checkpoints.build import build
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.header import DenseCounts, ModelSpec
from prunectl.data.images import ImageData
from prunectl.errors import OptionError
from prunectl.masks import Masks, check_prunable
from prunectl.measuring.cost import cost
from prunectl.plugins.options import keyword_options
from prunectl.plugins.registry import resolve
from prunectl.structure.count import count_nodes
from prunectl.torchtools.rng import seed_for


def fresh(
    model: str, data: ImageData, *, source: str, options: Mapping[str, str] | None = None, seed: int = 0
) -> Checkpoint:
    """Build network `model` for the images of `data`, with seeded fresh weights, on the cpu.

    `source` is what names the dataset (`digits`, `imagefolder:PATH`); it goes into the file as the default of --data.

    Raises:
        UnknownName, OptionError: no such network or option, or a network without a layer to prune, or
            that does not give a logit for each class.
        DataError: the images are too small for it.
    """
    keywords = keyword_options(resolve("model", model), dict(options or {}), f"model {model}")
    spec = ModelSpec(name=model, input=data.shape, classes=len(data.classes), options=keywords)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for("weights", seed))  # that of the cpu alone
        network = build(spec)
    check_prunable(network, all_layers=False)
    counted = cost(network, Masks.dense(), spec.input)
    if counted.outputs != (1, spec.classes):
        raise OptionError(
            f"{model} gives {counted.outputs} for one image, expected logits (1, {spec.classes}), one for each class"
        )
    dense = DenseCounts(
        parameters=counted.parameters,
        weights=counted.weights,
        nodes=count_nodes(network, spec.input),
        flops=counted.flops,
    )
    return Checkpoint(
        model=network, masks=Masks.dense(), spec=spec, data=source, preprocessing=data.preprocessing, dense=dense
    )
