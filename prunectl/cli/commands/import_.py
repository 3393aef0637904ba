"""prunectl import."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prunectl.cli import kept, options, output, progress, texts
from prunectl.cli.completion import completes
from prunectl.errors import FileError, OptionError, PrunectlError
from prunectl.plugins.registry import HUBS, check

if TYPE_CHECKING:
    from prunectl.checkpoints.checkpoint import Checkpoint
    from prunectl.data.images import ImageData

_ENDS = (".index.json", ".safetensors", ".st", ".pt", ".pth", ".bin", ".ckpt", ".tar")
_LISTED = 6
_MEASURED = 500
"""Most test images for measuring the accuracy: enough to check that images are preprocessed correctly."""


def command(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="Weights: .safetensors, .pt, .pth, .bin, an index of shards, a folder, or hf-hub:OWNER/NAME.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Network that FILE holds: a name (list: `prunectl models`), torchvision/NAME, timm/NAME or "
            "net.py:build  [default: the one that a folder or hf-hub:OWNER/NAME names]",
            autocompletion=completes("model"),
        ),
    ] = None,
    model_options: options.ModelOptions = None,
    input_shape: Annotated[
        str | None, typer.Option("--input", metavar="CxHxW", help="Shape of an image  [default: the library's]")
    ] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Number of classes  [default: the library's]")] = None,
    mean: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Mean of the pixels, in [0, 1]  [default: the library's]")
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Standard deviation of the pixels  [default: the library's]")
    ] = None,
    class_names: Annotated[
        str | None,
        typer.Option(metavar="FILE|A,B,C", help="Names of the classes: a file with one name per line, or a list."),
    ] = None,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained", help="Download the weights that the library of --model publishes, instead of FILE."
        ),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which of torchvision's published weights FILE holds, or to download, such as IMAGENET1K_V2.",
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Name of the state dict in a file that holds several, such as model_ema.")
    ] = None,
    allow_missing: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Parameters that may be missing, unused or of another shape, such as 'head.*'; repeatable.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Dataset that later commands use by default: a name (list: `prunectl datasets`) or imagefolder:PATH. "
            "Without --class-names, its class names are used; the accuracy on up to 500 test images is printed.",
            autocompletion=completes("data"),
        ),
    ] = None,
    data_dir: options.DataDir = None,
    seed: options.Seed = 0,
    output_path: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write  [default: FILE's name with .import.safetensors, in the current folder]",
        ),
    ] = None,
    force: options.Force = False,
    config: options.Config = None,
) -> None:
    """Make a checkpoint from the weights of a network that another program trained.

    Input, normalisation and classes come from the library's configuration if it has one. No code in FILE runs.
    """
    if model is not None:
        check("model", model)
    if data is not None:
        check("data", data)
    name = _source(file, model, pretrained=pretrained)
    path = options.target(output_path, _stem(name), "import", force=force)

    from prunectl.checkpoints.checkpoint import write
    from prunectl.cli.start import with_names
    from prunectl.exchange.fetch import fetch_pretrained, place_of
    from prunectl.exchange.imported import from_state_dict

    with progress.progress_bar("import") as bar:
        bar.step("finding the weights")
        place = fetch_pretrained(str(model), weights) if pretrained else place_of(name)
        bar.step("reading the weights")
        imported = from_state_dict(
            place,
            None if name.startswith(HUBS) else model,
            input=texts.image_shape(input_shape),
            classes=classes,
            mean=texts.numbers(mean, "--mean"),
            std=texts.numbers(std, "--std"),
            names=None if class_names is None else _names(class_names),
            options=texts.pairs(model_options, "-M"),
            weights=weights,
            key=key,
            allow_missing=allow_missing or [],
            data=data or "",
            seed=seed,
        )
        bar.step("reading the images")
        images = None if data is None else _images(imported, data, data_dir)
        if images is not None:
            imported = with_names(imported, images)
        kept.written(path, lambda place: write(imported, place, force=force))
        if images is not None:
            bar.step("measuring the accuracy")
            measured = _accuracy(imported, images)
    use = {"input_shape": input_shape, "classes": classes, "mean": mean, "std": std, "class_names": class_names or data}
    _say(imported, name, {option for option, value in use.items() if value is not None}, pretrained=pretrained)
    if images is not None:
        output.say(f"        {measured}")
    output.emit(path)


def _images(imported: "Checkpoint", data: str, data_dir: Path | None) -> "ImageData | None":
    """The network's images; None, with a warning, if they do not load and are not needed.

    Raises:
        PrunectlError: they do not load, but the class names are needed.
    """
    from prunectl.cli.start import images_for

    try:
        return images_for(imported, data, data_dir)
    except PrunectlError as error:
        if not imported.names:
            raise
        output.warn(f"the accuracy was not measured: {error}")
        return None


def _accuracy(imported: "Checkpoint", images: "ImageData") -> str:
    """A text with the accuracy on test images, spread evenly over the set."""
    import torch

    from prunectl.measuring.accuracy import accuracy

    count = min(_MEASURED, len(images.test))
    if not count:
        return f"accuracy not measured: {images.name} has no test images"
    some = images.test.take(torch.linspace(0, len(images.test) - 1, count).long())
    found = accuracy(imported.model, some, imported.preprocessing, classes=imported.spec.classes)
    of_all = "" if count == len(images.test) else f" of {len(images.test):,}"
    return f"accuracy {output.percent(found.top1)} on {count:,}{of_all} test images of {images.name}"


def _source(file: str | None, model: str | None, *, pretrained: bool) -> str:
    """The source of the import: FILE, or the network whose published weights are fetched.

    Raises:
        OptionError: there is none or both, or the file does not state its network.
    """
    if pretrained:
        hub = model is not None and model.startswith(HUBS)
        if file is not None or model is None or "/" not in model or (":" in model and not hub):
            raise OptionError("--pretrained is for --model torchvision/NAME or timm/NAME, without FILE")
        return model
    if not file:
        raise OptionError("no FILE: expected weights, a folder, hf-hub:OWNER/NAME, or --pretrained with --model")
    if model is None and not file.startswith(("hf-hub:", "local-dir:")) and not Path(file).is_dir():
        raise OptionError("FILE does not name its network; pass --model torchvision/NAME, timm/NAME or file.py:build")
    return file


def _stem(name: str) -> Path:
    """The default name of the output, in the current folder."""
    last = Path(name).resolve().name if Path(name).is_dir() else Path(name).name
    return Path(next((last.removesuffix(end) for end in _ENDS if last.endswith(end)), last) or "network")


def _names(text: str) -> tuple[str, ...]:
    """Class names: the lines of a file, or a list separated by commas."""
    if not Path(text).is_file():
        if Path(text).suffix in (".txt", ".names", ".labels"):
            raise FileError(f"cannot read --class-names {text}: no such file; check the path")
        return tuple(part.strip() for part in text.split(","))
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read --class-names {text}: {error}") from error
    return tuple(line.strip() for line in lines if line.strip())


def _taken(imported: "Checkpoint", stated: Collection[str]) -> Iterator[str]:
    """The network's use, except what the command line states."""
    how, rule = imported.preprocessing, imported.resize
    found = {
        "input_shape": f"input {'x'.join(map(str, imported.spec.input))}",
        "classes": f"{imported.spec.classes:,} classes",
        "mean": f"mean {','.join(f'{value:.4g}' for value in how.mean)}",
        "std": f"std {','.join(f'{value:.4g}' for value in how.std)}",
        **({"class_names": "their names"} if imported.names else {}),
    }
    yield from (text for option, text in found.items() if option not in stated)
    if rule is not None:
        cut = "no crop" if rule.crop == 1 else f"crop {rule.size} px"
        yield f"resize {rule.shorter_side} px, {rule.interpolation}, {cut}"


def _assumption(imported: "Checkpoint", unstated: Collection[str]) -> str:
    """That the library's normalisation is assumed, and how to set another."""
    how = {"mean": imported.preprocessing.mean, "std": imported.preprocessing.std}
    assumed = " and ".join(f"{name} {','.join(f'{value:.4g}' for value in how[name])}" for name in unstated)
    flags = " ".join(f"--{name} R,G,B" for name in unstated)
    return (
        f"the file does not state its normalisation, so the library's {assumed} is assumed; if the network was trained "
        f"with another, add {flags}"
    )


def _say(imported: "Checkpoint", name: str, stated: Collection[str], *, pretrained: bool) -> None:
    """Print what was read, and how; `stated` are the options on the command line."""
    from prunectl.exchange.usage import is_assumed

    spec, result = imported.spec, imported.history[-1].result
    size, under = "x".join(map(str, spec.input)), result.get("found_under")
    place = f"{name}, {under}" if under else name
    masked = f", weight sparsity {result['weight_sparsity']:.6f}" if imported.masks else ""
    output.say(f"import: {spec.name} of {place}; {size} images of {spec.classes} classes{masked}")
    if "configuration" in result:
        taken = ", ".join(_taken(imported, stated))
        output.say(
            f"        from {result['configuration']}: {taken or 'nothing, because the command line sets everything'}"
        )
        unstated = [option for option in ("mean", "std") if option not in stated]
        if unstated and is_assumed(result["configuration"]) and not pretrained:
            output.warn(_assumption(imported, unstated))
    if "converted" in result:
        output.say(f"        {', '.join(result['converted'])} converted to the network's own type")
    for kind, names in (
        ("fresh, as the file lacks them", "missing"),
        ("left out, as the network lacks them", "unused"),
    ):
        if found := result.get(names):
            more = ", ..." if len(found) > _LISTED else ""
            output.say(f"        {len(found)} {kind}: {', '.join(found[:_LISTED])}{more}")
