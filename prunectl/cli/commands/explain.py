"""prunectl explain."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from prunectl.cli import node_options, options, output, texts
from prunectl.cli.completion import completes
from prunectl.errors import OptionError
from prunectl.plugins.registry import check

_WIDTH = 80
_NAMED = 2
"""The number of axes named for each cause."""


def command(
    ctx: typer.Context,
    checkpoint: options.CheckpointArgument = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Explain a new network of this name (list: `prunectl models`).", autocompletion=completes("model")
        ),
    ] = None,
    model_options: options.ModelOptions = None,
    data: Annotated[
        str | None,
        typer.Option(help="Dataset that --model is built for  [default: digits]", autocompletion=completes("data")),
    ] = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    input_shape: Annotated[
        str | None,
        typer.Option("--input", metavar="CxHxW", help="Shape of the images, such as 3x224x224, instead of --data."),
    ] = None,
    classes: Annotated[int, typer.Option(help="With --input: the number of classes.", min=1)] = 1000,
    keep: node_options.Keep = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON record.")] = False,
    trust: options.Trust = False,
    config: options.Config = None,
) -> None:
    """Show which nodes of a network can be pruned, how they are coupled, and what must stay, and why."""
    if input_shape is None and options.given(ctx, {"classes"}):
        raise OptionError("--classes is for --input; --data sets its own number of classes")
    if model is None:
        if not all(given is None for given in (data, image_size, input_shape, model_options)):
            raise OptionError("--data, --image-size, --input and -M are for --model; a checkpoint has its own images")
        source = options.checkpoint_path(checkpoint, or_model=True)

        from prunectl.checkpoints.checkpoint import read
        from prunectl.measuring.explain import explain

        found = explain(read(source), keep=keep or ())
    else:
        check("model", model)
        if checkpoint not in (None, "-"):
            raise OptionError(f"expected a CHECKPOINT or --model, got both: {checkpoint} and {model}")
        if input_shape is not None and (data is not None or image_size is not None):
            raise OptionError("use --input CxHxW, or --data and --image-size, not both")
        found = _fresh(
            model, model_options, texts.image_shape(input_shape), classes, data, data_dir, image_size, keep or ()
        )
    if as_json:
        output.emit(json.dumps(found))
    else:
        for line in _page(found):
            output.emit(line)


def _fresh(
    model: str,
    model_options: list[str] | None,
    shape: tuple[int, int, int] | None,
    classes: int,
    data: str | None,
    data_dir: Path | None,
    image_size: int | None,
    keep: Sequence[str],
) -> dict[str, Any]:
    """Explain a network built for a shape, or for the images of a dataset."""
    from prunectl.checkpoints.build import build
    from prunectl.checkpoints.header import ModelSpec
    from prunectl.cli.start import fresh_images
    from prunectl.measuring.explain import explain_network

    if shape is None:
        images = fresh_images(model, data or "digits", data_dir, image_size=image_size)
        shape, classes = images.shape, len(images.classes)
    network = build(ModelSpec(model, shape, classes, texts.pairs(model_options, "-M")))
    return {"model": model, "shrunk": False, "input": list(shape), **explain_network(network, shape, keep=keep)}


def _page(found: dict[str, Any]) -> list[str]:
    """The output for a person, in lines of at most 80 columns."""
    size, groups, parameters = "x".join(map(str, found["input"])), found["groups"], found["parameters"]
    form = ", shrunk" if found["shrunk"] else ""
    lines = [
        f"{found['model']}{form}: {size} images, {output.counted(found['flops'])} FLOPs, {found['nodes']:,} nodes in "
        f"{len(groups):,} {'group' if len(groups) == 1 else 'groups'}",
        f"removals can reach {parameters - found['untouchable']:,} of {parameters:,} parameters",
    ]
    if groups:
        lines += ["", *_table(groups)]
        lines += ["A weight between two groups counts for both: shares add up to more than 100 %."]
    if found["frozen"]:
        lines += ["", "what stays, and why"]
    for cause in found["frozen"]:
        lines += _cause(cause)
    return lines


def _table(groups: list[dict[str, Any]]) -> list[str]:
    """The table of groups, one line each."""
    made = min(max(7, *(len(_first(group["made_by"], _WIDTH)) for group in groups)), 34)
    lines = [f" nodes  params   FLOPs  {'made by':<{made}}  read by"]
    for group in groups:
        shares = "  ".join(f"{100 * group[key]:>5.1f}%" for key in ("parameters_share", "flops_share"))
        makers, readers = _first(group["made_by"], made), _first(group["read_by"], 54 - made)
        lines.append(f"{group['nodes']:>6,}  {shares}  {makers:<{made}}  {readers}")
    return lines


def _first(names: list[str], width: int) -> str:
    """The first of some layers, and the number of others."""
    more = f" + {len(names) - 1}" if len(names) > 1 else ""
    return _fitted(names[0].removesuffix(".weight"), width - len(more)) + more if names else "-"


def _fitted(text: str, width: int) -> str:
    """The end of a text: the part in which names differ most."""
    return text if len(text) <= width else "…" + text[1 - width :]


def _cause(cause: dict[str, Any]) -> list[str]:
    """The lines of a cause: why axes stay, the source line, the first axes."""
    axes = cause["axes"]
    operation = "" if cause["operation"] in ("output", "") else f" ({cause['operation']})"
    head = f"- {cause['why']}{operation}: {len(axes)} {'axis' if len(axes) == 1 else 'axes'}"
    shown = axes if len(axes) <= _NAMED + 1 else axes[:_NAMED]
    named = [_axis(*axis) for axis in shown]
    more = [f"and {len(axes) - _NAMED} more"] if len(axes) > len(shown) else []
    line = [cause["line"]] if cause["line"] else []
    return [head, *(f"    {text[: _WIDTH - 4]}" for text in (*line, *named, *more))]


def _axis(name: str, axis: int, stay: int, size: int) -> str:
    """The line of an axis: its name, and how much of it stays."""
    part = f"{size:,}" if stay == size else f"{stay:,} of {size:,}"
    where = f" axis {axis}: {part}"
    return _fitted(name, _WIDTH - 4 - len(where)) + where
