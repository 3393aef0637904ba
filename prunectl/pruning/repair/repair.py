"""repair: recovers what pruning has cost, with the outputs of the dense network and without training."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from math import prod

import torch
from torch import Tensor, nn

from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.repair import LEAST_IMAGES, RepairOptions, RepairRun
from prunectl.checkpoints.options.values import recorded
from prunectl.checkpoints.reference import pruned_by
from prunectl.data.images import ImageData
from prunectl.errors import OptionError
from prunectl.masks import Masks
from prunectl.pruning.repair.calibration import noise_images, training_images
from prunectl.pruning.repair.errors_by_layer import LayerError
from prunectl.pruning.repair.layers import Layer, Norm, stops
from prunectl.pruning.repair.pair import Pair, paired
from prunectl.pruning.repair.refit import HELD_OUT, refit_, too_wide
from prunectl.pruning.repair.scale import scale_
from prunectl.pruning.repair.statistics import recalibrate_
from prunectl.pruning.repair.walk import PRUNED, Tensors, Walk
from prunectl.structure.export import BATCH, Graph, export, sizes
from prunectl.structure.trace import named_tensors
from prunectl.torchtools.contexts import evaluating, full_precision, precision

Report = Callable[[int, int, str], None]
"""Called before each stop with (stops done, stops, the layer's name)."""
MOST_BATCH = 128
BATCH_BYTES = 4 << 20
"""Most entries of the largest tensor of a batch in the network."""
LEAST_KEPT = 16 << 20
"""Least bytes of activations kept in memory; more go to temporary files."""
_OF_LAYERS: dict[str, Callable[[Walk, Layer, Masks], LayerError | None]] = {"refit": refit_, "scale": scale_}


def repair(
    checkpoint: Checkpoint,
    data: ImageData | None,
    options: RepairOptions | None = None,
    *,
    reference: Checkpoint | None = None,
    report: Report | None = None,
    in_order: bool = False,
    in_place: bool = False,
) -> Checkpoint:
    """Fit the kept weights of a pruned network to the network that it was pruned from, the `reference`; masks stay.

    Layer by layer in the order of the graph, `refit` solves for the kept weights and biases (`refit_`) and `scale`
    matches variances (`scale_`); both also estimate the BatchNorm statistics again. `bn` does only that, and needs no
    reference. With noise instead of images, the statistics do not change. A layer that is `too_wide` for `refit` is not
    changed, and is named in the history under `too_wide`. A shrunk network is repaired in the shapes of the dense one.
    The history has the error of every layer before and after, under `layers`. `in_order` says that the channels of the
    reference have the checkpoint's order, whatever a pruning has permuted. `in_place` repairs the checkpoint's own
    network, if the caller no longer needs it; otherwise a copy, which takes as much memory again.

    Raises:
        OptionError: no reference, one with channels in another order, no images, or nothing is pruned.
        StructureError: the network cannot be traced.
        FileError: the folder of temporary files is full.
    """
    options = options or RepairOptions()
    _check(checkpoint, data, options, reference)
    if options.method != "bn" and not in_order and _has_permuted(checkpoint):
        raise OptionError(
            "pruning permuted the channels of this network, so its reference has them in a different order; "
            "repair while pruning: `prunectl prune` with `repair`"
        )
    pair = paired(checkpoint, reference, in_place=in_place)
    repaired, errors, wide = repaired_pair(pair, checkpoint, data, options, report)
    run = RepairRun(checkpoint.device.type, _other_reference(checkpoint, reference))
    seen = None if data is None or options.calibration == "noise" else data.described
    chosen = {**recorded(options), **recorded(run), "data": seen}
    result = {"layers": [asdict(error) for error in errors], **({"too_wide": wide} if wide else {})}
    return checkpoint.after("repair", chosen, model=repaired).with_result(result)


def repaired_pair(
    pair: Pair, checkpoint: Checkpoint, data: ImageData | None, options: RepairOptions, report: Report | None = None
) -> tuple[nn.Module, list[LayerError], list[str]]:
    """The repaired network in the shapes of the checkpoint, the errors of its layers, and the layers too wide."""
    tensors = named_tensors(pair.model)
    networks: list[Tensors] = [tensors]
    if options.method != "bn" and pair.dense is not None:
        networks.append(pair.dense)
    with evaluating(pair.model), full_precision(), torch.no_grad():
        graph = export(pair.model, checkpoint.spec.input, any_batch=True, lines=False, pure=True)
        errors, wide = _walked(graph, networks, pair.masks, checkpoint, data, options, report)
    pair.masks.apply_(pair.model)
    return pair.result(checkpoint), errors, wide


def _walked(
    graph: Graph,
    networks: list[Tensors],
    masks: Masks,
    checkpoint: Checkpoint,
    data: ImageData | None,
    options: RepairOptions,
    report: Report | None,
) -> tuple[list[LayerError], list[str]]:
    """Walk through the graph and repair each layer and BatchNorm in place, except the layers that are too wide."""
    treat = _OF_LAYERS.get(options.method)
    images = data if options.calibration == "data" else None
    places = [
        s for s in stops(graph, networks[0]) if (images is not None if isinstance(s, Norm) else treat is not None)
    ]
    wide = [s.name for s in places if isinstance(s, Layer) and treat is refit_ and too_wide(networks[PRUNED], s, masks)]
    places = [s for s in places if s.name not in wide]
    held = sum(tensor.numel() * tensor.element_size() for tensor in networks[0].values())
    errors = []
    limit, amp = max(LEAST_KEPT, held // 8), options.amp and precision(checkpoint.model, amp=True) == "bfloat16"
    with closing(Walk(graph, networks, checkpoint.device, limit, amp=amp)) as walk:
        walk.start(_batches(graph, checkpoint, images, options))
        for i, stop in enumerate(places):
            if report is not None:
                report(i, len(places), stop.name)
            walk.advance(stop.node)
            if isinstance(stop, Norm):
                recalibrate_(walk, stop)
            elif treat is not None and (error := treat(walk, stop, masks)) is not None:
                errors.append(error)
    return errors, wide


def _batches(
    graph: Graph, checkpoint: Checkpoint, images: ImageData | None, options: RepairOptions
) -> Iterator[Tensor]:
    """The images in at least `HELD_OUT` batches, small enough for the largest tensor in the graph."""
    n = options.n if images is None else min(options.n, len(images.train))
    image = graph.images[0].meta["val"]
    if isinstance(image.shape[0], torch.SymInt):
        made = [node.meta.get("val") for node in graph.nodes if node.op == "call_function"]
        largest = max(prod(sizes(v)) * v.element_size() for v in [image, *made] if isinstance(v, Tensor))
        size = max(1, min(MOST_BATCH, n // HELD_OUT, BATCH_BYTES * BATCH // largest))
    else:
        size, n = BATCH, n - n % BATCH
    if images is None:
        return noise_images(checkpoint, n, size, options.seed)
    return training_images(checkpoint, images, n, size, options.seed)


def _other_reference(checkpoint: Checkpoint, reference: Checkpoint | None) -> str | None:
    """The hash of a reference that the checkpoint's history does not lead to."""
    pruning = pruned_by(checkpoint.history)
    known = None if pruning is None else checkpoint.history[pruning].parent
    return None if reference is None or reference.sha256 == known else reference.sha256


def _has_permuted(checkpoint: Checkpoint) -> bool:
    """Whether a pruning has changed the order of channels."""
    asked = (entry.options.get("options") for entry in checkpoint.history if entry.command == "prune")
    return any(bool(each.get("permute")) for each in asked if each)


def _check(
    checkpoint: Checkpoint, data: ImageData | None, options: RepairOptions, reference: Checkpoint | None
) -> None:
    if options.calibration == "data" and (data is None or not len(data.train)):
        raise OptionError("a repair needs training images: add `data`, or `calibration` noise")
    if options.calibration == "data" and data is not None and len(data.train) < LEAST_IMAGES:
        raise OptionError(f"a repair needs {LEAST_IMAGES} training images or more, {data.name} has {len(data.train)}")
    if options.method == "bn":
        return
    if not checkpoint.masks and not checkpoint.edits:
        raise OptionError("nothing to repair: this checkpoint is not pruned; run `prunectl prune` first")
    if reference is None:
        raise OptionError("no dense network to compare with; pass `reference`, the checkpoint before it was pruned")
