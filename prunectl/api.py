"""The public API: what the commands do, as functions. They print nothing; only `save` and `export` write files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from prunectl.checkpoints import diff as differences
from prunectl.checkpoints.checkpoint import Checkpoint, load
from prunectl.checkpoints.options.repair import RepairOptions
from prunectl.checkpoints.options.training import Recipe
from prunectl.checkpoints.reference import reference_of
from prunectl.checkpoints.save import save
from prunectl.data.loader import Batches, as_pixels, check_unit_range
from prunectl.errors import OptionError
from prunectl.exchange.export import export
from prunectl.exchange.imported import from_state_dict
from prunectl.measuring import classify as classifying
from prunectl.measuring import evaluate as evaluating
from prunectl.measuring import explain as explaining
from prunectl.measuring.classify import Prediction
from prunectl.models.given import Data, Network, Shape, given, given_to_measure, read_network, warn_of_missing_classes
from prunectl.pruning import prune as pruning
from prunectl.pruning import shrink as shrinking
from prunectl.pruning.budget import BUDGET_UNITS, Budget
from prunectl.pruning.repair import repair as repairing
from prunectl.pruning.rules import NodeRules
from prunectl.reporting import rows
from prunectl.robustness import attack as attacking
from prunectl.robustness import corrupt as corrupting
from prunectl.training import train as training
from prunectl.training.hold import Held, carry_, hold

__all__ = [
    "Data",
    "Held",
    "Network",
    "attack",
    "carry_",
    "classify",
    "corrupt",
    "diff",
    "evaluate",
    "explain",
    "export",
    "from_state_dict",
    "hold",
    "load",
    "prune",
    "repair",
    "report",
    "save",
    "shrink",
    "train",
]


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
    threshold: float | None = None,
    schedule: str | None = None,
    steps: int | None = None,
    scope: str | None = None,
    unit: str | None = None,
    options: Mapping[str, Any] | None = None,
    min_nodes: int = 1,
    multiple_of: int = 1,
    outer_layers: bool = False,
    keep: Sequence[str] = (),
    repair: str | None = None,
    batch_size: int = 128,
    balanced: bool = True,
    amp: bool = False,
    seed: int = 0,
    input: Shape | None = None,
) -> Checkpoint:
    """Prune weights, or nodes (channels and neurons), of a network; what comes in is not changed.

    Give one target: `sparsity` in (0, 1) of the original dense network, exact to the weight or node; a budget of the
    shrunk network (`flops="4x"`, `params="1.2M"`, `size="200KB"`, `latency="0.5x"`); a `threshold` of the scores; or a
    `scope` such as "2:4". `keep=["head", "layer4.*"]` names modules or parameters of which nothing goes, and `repair`
    a method of `prunectl.repair` that follows. The result's `model` has pruned weights at zero, its `masks` say which.

    Scores are computed on `data`, which a criterion such as "magnitude" does not need; then `input`, the shape
    (C, H, W) of an image, says what a module takes. Batches hold all classes equally often, as far as the labels have
    them (a warning says which they lack); `balanced=False` draws images as they come.

    Raises:
        OptionError: a target that cannot be reached, an unknown option, or a network that does not take images alone.
        DataError: `data` does not yield images and labels, or they do not fit the network.
    """
    budgets = {"params": params, "flops": flops, "size": size, "latency": latency}
    asked = [Budget.read(kind, text) for kind, text in budgets.items() if text is not None]
    if len(asked) > 1:
        raise OptionError(f"give one budget of {', '.join(BUDGET_UNITS)}, got {len(asked)}")
    begun = given(model, data, input)
    warn_of_missing_classes(begun.images, balanced)
    pruned = pruning.prune(
        begun.checkpoint,
        begun.images,
        criterion=criterion,
        sparsity=sparsity,
        budget=asked[0] if asked else None,
        threshold=threshold,
        schedule=schedule,
        steps=steps,
        scope=scope,
        unit=unit,
        options={key: str(value) for key, value in (options or {}).items()},
        rules=NodeRules(min_nodes, multiple_of, outer_layers),
        keep=keep,
        repair=repair,
        batch_size=batch_size,
        balanced=balanced,
        amp=amp,
        seed=seed,
    )
    return begun.restored(pruned)


def repair(
    checkpoint: Checkpoint | str | Path,
    data: Data | None = None,
    *,
    reference: Network | None = None,
    method: str = "refit",
    n: int = 1024,
    calibration: str = "data",
    seed: int = 0,
) -> Checkpoint:
    """Fit what is left of a pruned network to the outputs of the dense one, without training; its masks stay.

    `reference` is the network before, for a path by default found by its hash. More: `prunectl.pruning.repair.repair`.
    """
    options = RepairOptions(method, n, calibration, seed)
    begun = given(checkpoint, data)
    if reference is None and method != "bn" and isinstance(checkpoint, str | Path):
        reference = reference_of(Path(checkpoint))
    dense = None if reference is None else given(reference, None, begun.checkpoint.spec.input).checkpoint
    return begun.restored(repairing.repair(begun.checkpoint, begun.images, options, reference=dense))


def shrink(checkpoint: Checkpoint | str | Path, *, norm: str = "exact") -> Checkpoint:
    """Remove what the masks have pruned; the result's `model` is a smaller module that computes the same.

    `proof` of the result holds the largest relative difference to the masked network, by dtype. With `norm="alive"`,
    normalisations over channels take their statistics over what is left, which changes the function.

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
    """Train a network with its pruned weights held at zero; what comes in is not changed.

    `fields` are those of `Recipe`: `epochs=10, lr=1e-3, opt="adam", seed=0` and so on. `test` are images to evaluate on
    after every epoch, where `data` is a loader. With a `teacher`, such as the dense network, the loss is also the
    divergence from its predictions (Hinton et al. 2015), in shares by the field `teacher_weight`.

    Raises:
        OptionError: a field that `Recipe` does not have, or a value that cannot work.
        DataError: as `prune`.
    """
    if recipe is not None and fields:
        raise OptionError(f"give `recipe`, or its fields ({', '.join(fields)}), not both")
    begun = given(model, data, test=test)
    try:
        chosen = recipe or Recipe(**fields)
    except TypeError as error:
        known = ", ".join(Recipe.__dataclass_fields__)
        raise OptionError(f"{str(error).partition(') ')[2] or error}; known: {known}") from error
    taught_by = None if teacher is None else given(teacher, data).checkpoint
    return begun.restored(training.train(begun.checkpoint, begun.data, chosen, teacher=taught_by))


def evaluate(model: Network, data: Data, *, batch_size: int = 512, latency: bool = True) -> dict[str, Any]:
    """Measure accuracy and cost on the test images of `data`, or on all images of a loader.

    Returns plain values: `accuracy`, `top5`, `loss`, `per_class`, `confusion`, `parameters`, `weights`, `nodes`,
    `flops` (2 x multiply-accumulates of one image), `bytes`, and their sparsities; with `latency`, seconds per batch.

    Raises:
        DataError: the images do not fit the network, or there are none.
    """
    found = given_to_measure(model, data)
    return evaluating.evaluate(found.checkpoint, found.data, batch_size=batch_size, with_latency=latency)


def attack(
    model: Network,
    data: Data,
    *,
    attack: str = "pgd",
    eps: Sequence[float] | None = None,
    norm: str | None = None,
    options: Mapping[str, Any] | None = None,
    target: str | None = None,
    n: int | None = None,
    batch_size: int = 256,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure accuracy under attack: one name, several with commas, or a preset (`quick`, `standard`).

    Images are in [0, 1], and `eps` is in that unit; a network whose loader yields other images is refused, as then
    nothing says where pixels end. `n` attacks so many images, spread evenly.

    Raises:
        OptionError, UnknownName: no such attack or option, or an `eps` out of range.
        DataError: images outside [0, 1], or that do not fit the network.
    """
    found = given_to_measure(model, data)
    check_unit_range(found.data.test)
    chosen = {key: str(value) for key, value in (options or {}).items()}
    return attacking.attack(
        found.checkpoint, found.data, attack=attack, eps=eps, norm=norm, options=chosen, target=target, n=n,
        batch_size=batch_size, seed=seed,
    )  # fmt: skip


def corrupt(
    model: Network,
    data: Data,
    *,
    corruptions: Sequence[str] | None = None,
    n: int | None = None,
    batch_size: int = 256,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure accuracy on corrupted images, at five severities; all corruptions by default.

    Raises:
        UnknownName: no such corruption.
        DataError: as `attack`.
    """
    found = given_to_measure(model, data)
    images = replace(found.data, test=as_pixels(found.data.test))
    chosen = tuple(corrupting.SEVERITIES if corruptions is None else corruptions)
    return corrupting.corrupt(found.checkpoint, images, corruptions=chosen, n=n, batch_size=batch_size, seed=seed)


def classify(model: Checkpoint | str | Path, images: Iterable[Any], *, top: int = 5) -> list[Prediction]:
    """Name the classes of images: paths, PIL images, or pixels (C, H, W), uint8 or float in [0, 1].

    Images are resized and normalised as the checkpoint says; each result has `name`, `probability` and the `top` ones.

    Raises:
        DataError: something is no image, or pixels have another shape than the network takes.
    """
    return classifying.classify(read_network(model), images, top=top)


def explain(model: Network, input: Shape | None = None) -> dict[str, Any]:
    """Say what pruning can do to a network: groups of coupled nodes, their share, and what must stay and why.

    `input` is the shape (C, H, W) of an image, for a module.

    Raises:
        StructureError: the network cannot be traced.
    """
    if isinstance(model, nn.Module):
        if input is None:
            raise OptionError("a module does not say what it takes; give `input`, the shape (C, H, W) of an image")
        return {"model": type(model).__name__, "input": list(input), **explaining.explain_network(model, input)}
    return explaining.explain(read_network(model))


def diff(a: Checkpoint | str | Path, b: Checkpoint | str | Path) -> dict[str, Any]:
    """Compare two checkpoints: commands and options, masks, widths, weights."""
    return differences.diff(read_network(a), read_network(b))


def report(paths: Sequence[str | Path], *, parents: bool = False) -> list[dict[str, Any]]:
    """Return one row of plain values for every checkpoint, as `prunectl report --json` does.

    Raises:
        FileError, CheckpointError: a checkpoint is missing or damaged.
    """
    return rows.report([Path(path) for path in paths], parents=parents)
