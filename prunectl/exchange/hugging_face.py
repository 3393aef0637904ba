"""Reads folders of the Hugging Face hub: the network by its configuration, and the names in the files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunectl.checkpoints.header import Resize
from prunectl.errors import CheckpointError, FileError
from prunectl.exchange.matching import Matched, Tensors, match
from prunectl.exchange.state_dict import check_inside, check_regular, first_line
from prunectl.exchange.usage import Shape, Usage, of_timm, resize_rule
from prunectl.models.timm import SETTLED
from prunectl.models.transformers import NO_CODE, quiet

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
_MOST_JSON = 16 << 20
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""
_LABELS = ("id2label", "label2id")
_BYTE = 255


@dataclass(frozen=True)
class Described:
    """What a folder says about its network: name, options, use."""

    model: str
    options: dict[str, str]
    usage: Usage


def describe(folder: Path) -> Described | None:
    """Read the configuration in a folder of timm or transformers; None if there is none.

    Raises:
        FileError, CheckpointError: it cannot be read, or belongs to neither library.
    """
    if not (folder / CONFIG).exists():
        return None
    config = _read(folder, CONFIG)
    try:
        if "architecture" in config:
            return _timm(config)
        if "model_type" in config:
            preprocessor = _read(folder, PREPROCESSOR) if (folder / PREPROCESSOR).exists() else {}
            return _transformers(config, preprocessor)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{folder / CONFIG} cannot be read ({first_line(error)}); use an intact copy, or import the file with the "
            "weights and pass `model`, `input`, `classes`, `mean` and `std`"
        ) from error
    raise CheckpointError(f"{folder / CONFIG} names neither a timm architecture nor a transformers model_type")


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    check_inside(path, folder)
    try:
        check_regular(path)
        if path.stat().st_size > _MOST_JSON:
            raise CheckpointError(f"{path} is too large for a configuration; use an intact copy")
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({first_line(error)}); use an intact copy") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object; use an intact copy")
    return values


def _timm(config: dict[str, Any]) -> Described:
    arguments: dict[str, Any] = config.get("model_args") or {}
    options = {key: value for key, value in arguments.items() if key not in SETTLED}
    odd = next((key for key, value in options.items() if not isinstance(value, bool | int | float | str)), None)
    if odd is not None:
        raise ValueError(f"model_args: {odd} is not a plain value")
    labels: dict[str, Any] = {key: config[key] for key in ("label_names", "label_descriptions") if key in config}
    classes: Any = {"num_classes": config.get("num_classes", arguments.get("num_classes"))}
    usage = of_timm({**config.get("pretrained_cfg", {}), **classes, **labels})
    if usage.input is not None:
        channels, height, width = usage.input
        side = arguments.get("img_size") or (height, width)
        height, width = (side, side) if isinstance(side, int) else side
        usage = Usage(input=(int(arguments.get("in_chans", channels)), height, width)).over(usage)
    return Described(f"timm/{config['architecture']}", {key: str(value) for key, value in options.items()}, usage)


def _transformers(config: dict[str, Any], preprocessor: dict[str, Any]) -> Described:
    names, count = _names(config), config.get("num_labels")
    if count is None and "id2label" in config:
        count = len(config["id2label"])
    kept = {key: value for key, value in config.items() if key not in (*NO_CODE, *_LABELS)}
    mean, std = _normalisation(preprocessor)
    shape = _shape(config, preprocessor)
    return Described(
        f"transformers/{config['model_type']}",
        {"config": json.dumps(kept, sort_keys=True, separators=(",", ":"))},
        Usage(shape, None if count is None else int(count), mean, std, names, _resize(preprocessor, shape)),
    )


def _names(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The class names; None for the defaults `LABEL_0` and so on."""
    labels = config.get("id2label")
    if not labels:
        return None
    names = tuple(str(labels[str(i)]) for i in range(len(labels)))
    return None if all(name == f"LABEL_{i}" for i, name in enumerate(names)) else names


def _normalisation(preprocessor: Mapping[str, Any]) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and std for pixels in [0, 1], scaled from those that the processor states for its own `rescale_factor`."""
    if not preprocessor or preprocessor.get("rescale_offset"):
        return None, None
    factor = float(preprocessor.get("rescale_factor", 1 / _BYTE)) if preprocessor.get("do_rescale", True) else 1.0
    scale = 1.0 if abs(factor * _BYTE - 1) < 1e-6 else factor * _BYTE
    if preprocessor.get("do_normalize", True):
        mean, std = preprocessor.get("image_mean"), preprocessor.get("image_std")
        if mean is None or std is None:
            return None, None
    else:
        mean, std = [0.0], [1.0]
    return tuple(float(value) / scale for value in mean), tuple(float(value) / scale for value in std)


def _shape(config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Shape | None:
    """The image shape that the processor makes, else the one that the network takes."""
    channels = int(config.get("num_channels", 3))
    cropped = preprocessor.get("crop_size") if preprocessor.get("do_center_crop") else None
    for size in (cropped, preprocessor.get("size"), config.get("image_size")):
        if isinstance(size, int) and size > 0:
            return channels, size, size
        if isinstance(size, Mapping) and "height" in size and "width" in size:
            return channels, int(size["height"]), int(size["width"])
        if isinstance(size, Mapping) and "shortest_edge" in size and "crop_pct" in preprocessor:
            return channels, int(size["shortest_edge"]), int(size["shortest_edge"])
        if isinstance(size, list | tuple) and len(size) == 2:
            return channels, int(size[0]), int(size[1])
    return None


def _resize(preprocessor: Mapping[str, Any], shape: Shape | None) -> Resize | None:
    """The rule, if it is ours: resize the shorter side, then crop the middle; None for others, such as squeezing."""
    size = preprocessor.get("size")
    interpolation = _RESAMPLE.get(preprocessor.get("resample", 2))
    if shape is None or shape[1] != shape[2] or interpolation is None or not isinstance(size, Mapping):
        return None
    if "shortest_edge" not in size:
        return None
    edge = int(size["shortest_edge"])
    if preprocessor.get("do_center_crop"):
        return resize_rule(shape[1], shape[1] / edge, interpolation)
    crop = preprocessor.get("crop_pct")
    return resize_rule(shape[1], float(crop), interpolation) if crop is not None and edge < 384 else None


def is_transformers(network: nn.Module) -> bool:
    """Whether it is a network of transformers, whose files may use other names than its modules."""
    return type(network).__module__.startswith("transformers.")


def match_transformers(network: nn.Module, content: Mapping[str, Any], key: str | None, where: str) -> Matched:
    """As `match`, for a network of transformers: with the names of its modules or those of its files.

    Raises:
        OptionError, CheckpointError: as `match`.
    """
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    written = _written(network)
    if written == own:
        return match(content, own, key, where)
    found = match(content, {**written, **own}, key, where)
    if own.keys() <= found.tensors.keys():
        return found
    found = match(content, written, key, where)
    masks = {name: mask.float() for name, mask in found.masks.items()}
    return replace(
        found,
        tensors=_converted(network, found.tensors, where),
        masks={name: mask != 0 for name, mask in _converted(network, masks, where).items()} if masks else {},
    )


def _written(network: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's tensors in a file; before transformers 5 they are those of its modules."""
    state = {name: torch.empty_like(tensor, device="meta") for name, tensor in network.state_dict().items()}
    try:
        from transformers.core_model_loading import revert_weight_conversion  # noqa: PLC0415
    except ImportError:
        return {name: tuple(tensor.shape) for name, tensor in state.items()}
    return {name: tuple(tensor.shape) for name, tensor in revert_weight_conversion(network, state).items()}


def _converted(network: Any, state: Tensors, where: str) -> Tensors:
    """Tensors of a file under the names of the network's modules, converted by transformers' own reader."""
    with quiet():
        try:
            loaded, found = type(network).from_pretrained(
                None, config=network.config, state_dict=dict(state), output_loading_info=True,
                ignore_mismatched_sizes=True, local_files_only=True,
            )  # fmt: skip
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, OSError) as error:
            raise CheckpointError(f"transformers cannot read {where} ({first_line(error)})") from error
    other = {name: torch.empty(tuple(shape), device="meta") for name, shape, *_ in found["mismatched_keys"]}
    lacking = {*found["missing_keys"], *other}
    filled: dict[str, Tensor] = {name: t for name, t in loaded.state_dict().items() if name not in lacking}
    unused = {name: state[name] for name in found["unexpected_keys"] if name in state}
    return {**filled, **unused, **other}
