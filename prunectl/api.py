"""The public API: functions that make networks. They print nothing, and only `save` writes files."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from prunectl.checkpoints import checkpoint as files
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.files import check_target
from prunectl.checkpoints.names import mask_path
from prunectl.checkpoints.options.pruning import check_runtime
from prunectl.checkpoints.options.repair import RepairOptions
from prunectl.checkpoints.options.training import Recipe
from prunectl.checkpoints.rebuild import check_rebuilds
from prunectl.checkpoints.reference import reference_of
from prunectl.data.images import Preprocessing
from prunectl.data.loader import Batches
from prunectl.errors import OptionError
from prunectl.exchange.usage import normalisation
from prunectl.models.given import Data, Network, Shape, given, read_network, warn_of_missing_classes
from prunectl.plugins.near import some
from prunectl.pruning import prune as pruning
from prunectl.pruning import shrink as shrinking
from prunectl.pruning.budget import BUDGET_UNITS, Budget
from prunectl.pruning.latency_target import missed, undecided
from prunectl.pruning.repair import repair as repairing
from prunectl.pruning.rules import NodeRules
from prunectl.training import train as training


def prune(
    model: Network,
    data: Data | None = None,
    *,
    criterion: str = "snipit",
    sparsity: float | None = None,
    flops: str | None = None,
    params: str | None = None,
    size: str | None = None,
    latency: str | None = None,
    runtime: str | None = None,
    threshold: float | None = None,
    min_accuracy: float | None = None,
    schedule: str | None = None,
    steps: int | None = None,
    scope: str | None = None,
    unit: str | None = None,
    options: Mapping[str, Any] | None = None,
    min_nodes: int = 1,
    multiple_of: int | str = 1,
    outer_layers: bool = False,
    normalize: str | None = None,
    max_pruned: float | None = None,
    refill: bool = True,
    keep: Sequence[str] = (),
    repair: str | None = None,
    batch_size: int = 128,
    balanced: bool = True,
    amp: bool = False,
    seed: int = 0,
    input: Shape | None = None,
) -> Checkpoint:
    """Prune weights or nodes (channels and neurons) of a network; the input is not changed.

    Pass one target: `sparsity` in (0, 1) of the original dense network, exact to the weight or node; a budget of the
    shrunk network (`flops="4x"`, `params="1.2M"`, `size="200KB"`, `latency="0.5x"` in the `runtime` "eager", "compiled"
    or "onnx"); a `threshold` of the scores; or a `scope` such as "2:4". Scores of nodes are made comparable between
    groups by `normalize` (none, mean, max, l2, gaussian, flops; by default the criterion's own), no group loses more
    than the share `max_pruned`, every group keeps a multiple of `multiple_of` nodes ("auto": of 8 where it has more
    than 16), and `refill` adds nodes back if the target leaves room. `keep=["head", "layer4.*"]` names modules or
    parameters that are not pruned; `repair` is a method of `prunectl.repair` to run afterwards. On a trained network,
    criterion "auto" tries several with a repair and keeps the best on held-out training images, or the smallest network
    that classifies `min_accuracy` of them correctly; `history[-1].result["tried"]` lists the attempts. In the result's
    `model`, pruned weights are zero; its `masks` say which.
    Scores are computed on `data`. A criterion such as "magnitude" needs none; pass `input`, the shape (C, H, W) of an
    image, for a module. A loader's images are read once and drawn again in batches of `batch_size`, which the history
    records, whatever the loader's own size. Batches hold equally many images of every class (a warning names classes
    without images); `balanced=False` draws images at random.

    Raises:
        OptionError: an unreachable target, an unknown option, or a network that takes more than images.
        DataError: `data` does not yield images and labels, or they do not fit the network.
    """
    budgets = {"params": params, "flops": flops, "size": size, "latency": latency}
    check_runtime(runtime, latency)
    asked = [Budget.read(kind, text, runtime) for kind, text in budgets.items() if text is not None]
    if len(asked) > 1:
        raise OptionError(f"use one budget of {', '.join(BUDGET_UNITS)}, got {len(asked)}")
    begun = given(model, data, input)
    warn_of_missing_classes(begun.images, balanced)
    pruned = pruning.prune(
        begun.checkpoint,
        begun.images,
        criterion=criterion,
        sparsity=sparsity,
        budget=asked[0] if asked else None,
        threshold=threshold,
        min_accuracy=min_accuracy,
        schedule=schedule,
        steps=steps,
        scope=scope,
        unit=unit,
        options={key: str(value) for key, value in (options or {}).items()},
        rules=NodeRules(min_nodes, multiple_of, outer_layers, normalize, max_pruned, refill),
        keep=keep,
        repair=repair,
        batch_size=batch_size,
        balanced=balanced,
        amp=amp,
        seed=seed,
    )
    last = pruned.history[-1]
    doubt = missed(last.options, last.result) or undecided(last.options, last.result)
    if doubt is not None:
        warnings.warn(doubt, stacklevel=2)
    return begun.restored(pruned)


def repair(
    checkpoint: Checkpoint | str | Path,
    data: Data | None = None,
    *,
    reference: Network | None = None,
    method: str = "refit",
    n: int = 1024,
    calibration: str = "data",
    amp: bool = False,
    seed: int = 0,
) -> Checkpoint:
    """Fit the kept weights of a pruned network to the outputs of the dense one, without training; its masks stay.

    `reference` is the network before pruning; for the path of a checkpoint it is found by its hash in the same folder.
    `method` "refit" solves for the kept weights, layer by layer; "scale" matches the variances of channels; "bn"
    estimates BatchNorm statistics again, which needs no reference. It reads `n` training images of `data`, without
    their labels; `calibration="noise"` needs no images. `amp` runs both networks in bfloat16 where that is safe.
    `history[-1].result["layers"]` has the error of every layer.

    Raises:
        OptionError: nothing is pruned, or the reference is missing or another network.
        DataError: as `prune`.
        StructureError: the network cannot be traced.
    """
    options = RepairOptions(method, n, calibration, amp, seed)
    begun = given(checkpoint, data)
    if reference is None and method != "bn" and isinstance(checkpoint, str | Path):
        reference = reference_of(Path(checkpoint))
    dense = None if reference is None else given(reference, None, begun.checkpoint.spec.input).checkpoint
    return begun.restored(repairing.repair(begun.checkpoint, begun.images, options, reference=dense))


def shrink(checkpoint: Checkpoint | str | Path, *, norm: str = "exact") -> Checkpoint:
    """Remove the pruned weights; the result's `model` is a smaller module that computes the same.

    `proof` of the result holds the largest relative difference to the masked network, by dtype. With `norm="alive"`,
    normalisations over channels take their statistics over the kept channels, which changes the function.

    Raises:
        OptionError: nothing is pruned.
        StructureError: the network cannot be traced.
        ProofError: the difference is above 1e-10 in float64, or 1e-5 in float32.
    """
    return shrinking.shrink(read_network(checkpoint), norm=norm)


def train(
    model: Network,
    data: Data,
    *,
    test: Batches | None = None,
    teacher: Network | None = None,
    recipe: Recipe | None = None,
    **fields: Any,
) -> Checkpoint:
    """Train a network with its pruned weights held at zero; the input is not changed.

    `fields` are those of `Recipe`: `epochs=10, lr=1e-3, opt="adam", seed=0` and so on. `batch_size` defaults to that of
    a DataLoader, else 128. Images are shuffled in every epoch; if `data` is a loader, `test` are the images to evaluate
    on after each epoch. With a `teacher`, such as the dense network, the loss includes the divergence from its
    predictions (Hinton et al. 2015), with the share `teacher_weight`.

    Raises:
        OptionError: a field that `Recipe` does not have, or a value that cannot work.
        DataError: as `prune`.
    """
    if recipe is not None and fields:
        raise OptionError(f"pass `recipe`, or its fields ({', '.join(fields)}), not both")
    begun = given(model, data, test=test)
    try:
        chosen = recipe or Recipe(**{**_batch_size_of(data), **fields})
    except TypeError as error:
        known = some([*Recipe.__dataclass_fields__], "help(prunectl.Recipe)")
        raise OptionError(f"{str(error).partition(') ')[2] or error}; known: {known}") from error
    taught_by = None if teacher is None else given(teacher, data).checkpoint
    return begun.restored(training.train(begun.checkpoint, begun.data, chosen, teacher=taught_by))


def _batch_size_of(data: Data) -> dict[str, int]:
    """A DataLoader's batch size, for a recipe; empty if there is none, or it is too small for BatchNorm."""
    size = None if isinstance(data, str) else getattr(data, "batch_size", None)
    return {"batch_size": size} if isinstance(size, int) and size > 1 else {}


def save(
    checkpoint: Checkpoint | str | Path,
    path: str | Path,
    *,
    model: str | None = None,
    data: str | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    force: bool = False,
) -> Path:
    """Write `NAME.safetensors` and, if something is masked, `NAME.mask.safetensors`; returns the path.

    To load a network of your own class, use `load(path, model=Net)`. With `model="file.py:build"`, a function of
    (shape (C, H, W), classes) that builds the dense network, every command can read the file; `data` names the default
    dataset of commands. `mean` and `std`, one number or one per channel, say how pixels in [0, 1] became the images of
    your loader; commands that read images need them.

    Raises:
        FileError: it cannot be written, or it exists and `force` is not set.
        OptionError: `model` does not build this network, or one that computes something else; `mean` or `std` alone, or
        a wrong number of values.
    """
    target = Path(path)
    for place in (target, mask_path(target)):
        check_target(place, force=force)
    named = read_network(checkpoint)
    named = named if model is None else replace(named, spec=replace(named.spec, name=model))
    if mean is not None or std is not None:
        named = replace(named, preprocessing=_preprocessing(mean, std, named.spec.input[0]))
    named = named if data is None else replace(named, data=data)
    if model is not None:
        check_rebuilds(replace(named, builder=None).to(torch.device("cpu")))
    files.write(named, target, force=force)
    return target


def _preprocessing(
    mean: float | Sequence[float] | None, std: float | Sequence[float] | None, channels: int
) -> Preprocessing:
    """The normalisation that the caller states.

    Raises:
        OptionError: one of the two is missing or has a wrong number of values, or a `std` is not above 0.
    """
    if mean is None or std is None:
        raise OptionError("pass `mean` and `std` together, one number or one per channel")
    means, stds = ((float(v),) if isinstance(v, int | float) else tuple(map(float, v)) for v in (mean, std))
    return Preprocessing(*normalisation(means, stds, channels))
