"""The public API: functions that measure and compare networks. They return plain values."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from prunectl.checkpoints import diff as differences
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.errors import OptionError
from prunectl.measuring import classify as classifying
from prunectl.measuring import evaluate as evaluating
from prunectl.measuring import explain as explaining
from prunectl.measuring.classify import Prediction
from prunectl.measuring.side_by_side import evaluate_beside
from prunectl.models.given import Data, Network, Shape, given_to_measure, read_network
from prunectl.plugins.registry import check_options
from prunectl.reporting import rows
from prunectl.robustness import attack as attacking
from prunectl.robustness import corrupt as corrupting


def evaluate(
    model: Network,
    data: Data,
    *,
    batch_size: int | None = None,
    amp: bool = False,
    latency: bool = True,
    runtimes: Sequence[str] = (),
    against: Network | None = None,
) -> dict[str, Any]:
    """Measure accuracy and cost on the test images of `data`, or on all images of a loader.

    Returns plain values: `accuracy`, `top5`, `loss`, `per_class`, `confusion`, `parameters`, `weights`, `nodes`,
    `flops` (2 x multiply-accumulates of one image), `bytes`, and the sparsities; with `latency`, seconds per batch
    in torch or in each of the `runtimes` "eager", "compiled" (torch.compile) and "onnx" (ONNX Runtime). With `amp`, the
    network runs in bfloat16 where that is safe; `precision` says in which type it ran. Another network, `against`, is
    measured on the same images and in turns with this one; the result's `against` holds its `accuracy`,
    `accuracy_difference`, and for each `latency` the `ratio` of the first's time to its own, with `ratio_low` and
    `ratio_high`, a 95 % interval.

    Raises:
        DataError: the images do not fit the network, or there are none.
        UnknownName, OptionError, StructureError: unknown runtime, or it cannot run the network; networks of two tasks.
    """
    found = given_to_measure(model, data)
    if against is not None:
        other = given_to_measure(against, data).checkpoint
        return evaluate_beside(
            found.checkpoint, other, found.data, batch_size=batch_size, amp=amp, with_latency=latency, runtimes=runtimes
        )[0]
    return evaluating.evaluate(
        found.checkpoint, found.data, batch_size=batch_size, amp=amp, with_latency=latency, runtimes=runtimes
    )


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
    amp: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure accuracy under attack: one name, several separated by commas, or a preset (`quick`, `standard`).

    Images are in [0, 1], and `eps` is in that unit; a loader that yields other images is refused, because the range of
    its pixels is unknown. `n` is the number of images to attack, spread evenly. With `amp`, the network is attacked
    while running in bfloat16.

    Raises:
        OptionError, UnknownName: no such attack or option, or an `eps` out of range.
        DataError: images outside [0, 1], or that do not fit the network.
    """
    found = given_to_measure(model, data)
    chosen = {key: str(value) for key, value in (options or {}).items()}
    check_options(attack, chosen)
    return attacking.attack(
        found.checkpoint, found.data, attack=attack, eps=eps, norm=norm, options=chosen, target=target, n=n,
        batch_size=batch_size, amp=amp, seed=seed,
    )  # fmt: skip


def corrupt(
    model: Network,
    data: Data,
    *,
    corruptions: Sequence[str] | None = None,
    n: int | None = None,
    batch_size: int = 256,
    amp: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure accuracy on corrupted images, at five severities; all corruptions by default.

    Raises:
        UnknownName: no such corruption.
        DataError: as `attack`.
    """
    found = given_to_measure(model, data)
    chosen = tuple(corrupting.SEVERITIES if corruptions is None else corruptions)
    return corrupting.corrupt(
        found.checkpoint, found.data, corruptions=chosen, n=n, batch_size=batch_size, amp=amp, seed=seed
    )


def classify(model: Checkpoint | str | Path, images: Iterable[Any], *, top: int = 5) -> list[Prediction]:
    """Name the classes of images: paths, PIL images, or pixels (C, H, W), uint8 or float in [0, 1].

    Images are resized and normalised as the checkpoint says; each result has `name`, `probability` and the `top` ones.

    Raises:
        DataError: something is not an image, or pixels do not have the network's input shape.
    """
    return classifying.classify(read_network(model), images, top=top)


def explain(model: Network, input: Shape | None = None) -> dict[str, Any]:
    """Show what pruning can remove from a network: groups of coupled nodes, their share, and what must stay and why.

    `input` is the shape (C, H, W) of an image, for a module.

    Raises:
        StructureError: the network cannot be traced.
    """
    if isinstance(model, nn.Module):
        if input is None:
            raise OptionError("a module does not state its input shape; pass `input`, the shape (C, H, W) of an image")
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
    return rows.report(paths, parents=parents)
