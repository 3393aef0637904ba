"""Makes a checkpoint of a new dense network, built by name, or of the user's own module."""

import copy
from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from prunectl.checkpoints.build import OWN, build, built_on_meta
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.header import DenseCounts, ModelSpec, Resize
from prunectl.checkpoints.header_check import MOST_CLASSES, MOST_VALUES, is_shape
from prunectl.checkpoints.options.others import ModuleOrigin
from prunectl.checkpoints.options.table import MODULE
from prunectl.checkpoints.options.values import recorded
from prunectl.checkpoints.rebuild import check_rebuilds
from prunectl.data.images import ImageData, Preprocessing
from prunectl.errors import OptionError, TooLarge
from prunectl.masks import Masks, check_prunable
from prunectl.measuring.cost import Cost, cost
from prunectl.plugins.options import keyword_options
from prunectl.plugins.registry import names_code, resolve
from prunectl.structure.count import count_nodes
from prunectl.torchtools.digest import digest
from prunectl.torchtools.rng import random_states_kept, seed_all_, seed_for

Shape = tuple[int, int, int]


def fresh(
    model: str, data: ImageData, *, source: str, options: Mapping[str, str] | None = None, seed: int = 0
) -> Checkpoint:
    """Build network `model` for the images of `data`, with seeded fresh weights, on the cpu.

    `source` names the dataset (`digits`, `imagefolder:PATH`); it is stored in the file as the default of --data.

    Raises:
        UnknownName, OptionError: unknown network or option; the network has no layer to prune, its output is not one
        logit per class, or a file could not hold it (`check_rebuilds`).
        DataError: the images are too small for it.
    """
    begun = untrained(model, data.shape, len(data.classes), data.preprocessing, options=options, seed=seed)
    return replace(begun, data=source, names=data.classes, resize=resize_of(data.shape))


def untrained(
    model: str,
    shape: Shape,
    classes: int,
    preprocessing: Preprocessing,
    *,
    options: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Checkpoint:
    """Build network `model` for images of a shape, without a dataset, with seeded fresh weights, on the cpu.

    Raises:
        UnknownName, OptionError, DataError: as `fresh`.
    """
    keywords = keyword_options(resolve("model", model), dict(options or {}), f"model {model}")
    if not is_shape(shape) or not 0 < classes <= MOST_CLASSES:
        raise TooLarge(
            f"{model} for images of {'x'.join(map(str, shape))} and {classes:,} classes is too large: use at most "
            f"{MOST_VALUES:,} values per image, and {MOST_CLASSES:,} classes"
        )
    spec = ModelSpec(name=model, input=shape, classes=classes, options=keywords)
    if not names_code("model", model):  # own code may count its calls
        built_on_meta(lambda: build(spec))  # refuses one that is too large before it takes memory
    with random_states_kept():
        seed_all_(seed_for("weights", seed))
        network = build(spec)
    counted = _counted(network, spec.input)
    if counted.outputs != (1, spec.classes):
        raise OptionError(
            f"{model} returns {counted.outputs} for one image, expected logits (1, {spec.classes}), one per class"
        )
    begun = Checkpoint(
        model=network,
        masks=Masks.dense(),
        spec=spec,
        data="",
        preprocessing=preprocessing,
        dense=_dense_counts(counted, network, spec.input),
    )
    check_rebuilds(begun)
    return begun


def resize_of(shape: Shape) -> Resize | None:
    """The rule by which our datasets make square images of this size; None if they are not square."""
    return Resize(shape[1]) if shape[1] == shape[2] else None


def from_module(
    module: nn.Module, shape: Shape, *, data: str = "", preprocessing: Preprocessing, names: tuple[str, ...] = ()
) -> Checkpoint:
    """A dense checkpoint around a module that takes images (B, C, H, W); the module itself is not changed.

    The number of classes is that of its logits. The history records the module's class and the sha256 of its tensors.

    Raises:
        OptionError: it does not take only images of this shape, has no layer to prune, or does not return logits
        (B, classes).
    """
    counted = _counted(module, shape)
    if len(counted.outputs) != 2 or counted.outputs[0] != 1:
        raise OptionError(f"the network returns {counted.outputs} for one image, expected logits (1, classes)")
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    begun = Checkpoint(
        model=module,
        masks=Masks.dense(),
        spec=ModelSpec(OWN + kind, shape, counted.outputs[1]),
        data=data,
        preprocessing=preprocessing,
        dense=_dense_counts(counted, module, shape),
        names=names if len(names) == counted.outputs[1] else (),
        resize=resize_of(shape),
        builder=lambda: copy.deepcopy(module).cpu(),
    )
    return begun.after(MODULE, recorded(ModuleOrigin(kind, digest(module.state_dict()))))


def _counted(network: nn.Module, shape: Shape) -> Cost:
    check_prunable(network, all_layers=False)
    return cost(network, Masks.dense(), shape)


def _dense_counts(counted: Cost, network: nn.Module, shape: Shape) -> DenseCounts:
    return DenseCounts(
        parameters=counted.parameters,
        weights=counted.weights,
        nodes=count_nodes(network, shape),
        flops=counted.flops,
    )
