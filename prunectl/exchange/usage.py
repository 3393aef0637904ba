"""How a network is used: input, normalisation, classes and resize rule, from its library's own configuration."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any

from prunectl.checkpoints.header import Resize
from prunectl.checkpoints.header_check import INTERPOLATIONS
from prunectl.errors import OptionError
from prunectl.plugins.registry import unknown

Shape = tuple[int, int, int]
_AGREED, _OF_TIMM = "torchvision's weights of", "timm's configuration of"
"""Sources of a use that is only the library's default for the network, and may not be that of the file."""


@dataclass(frozen=True)
class Usage:
    """What is known of a network's use; an unknown field is None. `names` are the class names."""

    input: Shape | None = None
    classes: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    names: tuple[str, ...] | None = None
    resize: Resize | None = None

    def over(self, other: "Usage") -> "Usage":
        """These values, filled up with those of `other`."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        merged = replace(other, **{name: value for name, value in known.items() if value is not None})
        if self.input not in (None, other.input) and self.resize is None:
            merged = replace(merged, resize=None)
        if self.names is None and merged.names is not None and len(merged.names) != merged.classes:
            merged = replace(merged, names=None)
        return merged


def check_complete(usage: Usage, model: str) -> tuple[Shape, int, tuple[float, ...], tuple[float, ...]]:
    """Input, classes, mean and std, one number a channel.

    Raises:
        OptionError: one of them is unknown, or they contradict each other.
    """
    if usage.classes is None and usage.names is not None:
        usage = replace(usage, classes=len(usage.names))
    wanted = {"`input`": usage.input, "`classes`": usage.classes, "`mean`": usage.mean, "`std`": usage.std}
    forms = {"`input`": "CxHxW", "`classes`": "N", "`mean`": "R,G,B", "`std`": "R,G,B"}
    lacking = [flag for flag, value in wanted.items() if value is None]
    if lacking or usage.input is None or usage.classes is None or usage.mean is None or usage.std is None:
        raise OptionError(
            f"the file does not state the {', '.join(flag.strip('`') for flag in lacking)} of {model}; pass "
            + " ".join(f"{flag} {forms[flag]}" for flag in lacking)
        )
    mean, std = normalisation(usage.mean, usage.std, usage.input[0])
    if usage.names is not None and len(usage.names) != usage.classes:
        raise OptionError(f"expected {usage.classes} `class_names`, one per class, got {len(usage.names)}")
    return usage.input, usage.classes, mean, std


def normalisation(
    mean: tuple[float, ...], std: tuple[float, ...], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std, one number a channel, from one number or one per channel.

    Raises:
        OptionError: wrong count, or a std that is not above 0.
    """
    found = [_per_channel(values, channels, flag) for flag, values in (("`mean`", mean), ("`std`", std))]
    if any(value <= 0 for value in found[1]):
        raise OptionError(f"`std` takes numbers above 0, got {','.join(map(str, found[1]))}")
    return found[0], found[1]


def _per_channel(values: tuple[float, ...], channels: int, flag: str) -> tuple[float, ...]:
    found = values * channels if len(values) == 1 else values
    if len(found) != channels:
        raise OptionError(f"{flag} takes 1 number or {channels}, one per channel; got {len(found)}")
    return found


def configuration_of(model: str, weights: str | None, digest: str) -> tuple[Usage, str]:
    """The use of network `model` by its library's configuration, and the source of it ("" if there is none).

    `weights` names published weights of torchvision (`IMAGENET1K_V2`). Without it they are recognised by the file's
    sha256, else only values on which all weights of the network agree are used.

    Raises:
        OptionError: no such weights.
    """
    library, slash, name = model.partition("/")
    if slash and library == "torchvision" and ":" not in model:
        return _torchvision(name, weights, digest)
    if weights is not None:
        raise OptionError(f"`weights` is for torchvision networks, got {weights} for {model}; leave it out")
    if slash and library == "timm" and ":" not in model:
        return _timm(name)
    return Usage(), ""


def is_assumed(source: str) -> bool:
    """Whether the use that `configuration_of` found is for the library's own weights, which the file may not hold."""
    return source.startswith((_AGREED, _OF_TIMM))


def published_weights(name: str, weights: str | None) -> Any:
    """One of torchvision's published weights of network `name`, by default the best.

    Raises:
        OptionError: there are none, or none with that name.
    """
    from torchvision import models  # noqa: PLC0415

    if name not in models.list_models(module=models):
        raise unknown("model", f"torchvision/{name}", [f"torchvision/{each}" for each in models.list_models()])
    found = models.get_model_weights(name)
    chosen = weights and weights.rpartition(".")[2]
    if chosen is not None and chosen not in found.__members__:
        raise OptionError(f"torchvision/{name} has no weights {weights}; known: {', '.join(found.__members__)}")
    return found.DEFAULT if chosen is None else found[chosen]


def is_published(model: str, weights: str | None, digest: str) -> bool:
    """Whether these are published weights of torchvision, by the user's word or their hash."""
    from torchvision import models  # noqa: PLC0415

    library, _, name = model.partition("/")
    if library != "torchvision" or name not in models.list_models(module=models):
        return False
    return weights is not None or any(f"-{digest[:8]}." in each.url for each in models.get_model_weights(name))


def _torchvision(name: str, weights: str | None, digest: str) -> tuple[Usage, str]:
    from torchvision import models  # noqa: PLC0415

    if name not in models.list_models(module=models):
        return Usage(), ""  # the registry says so better
    every = list(models.get_model_weights(name))
    known = [each for each in every if f"-{digest[:8]}." in each.url]
    if weights is not None:
        known = [published_weights(name, weights)]
    if known:
        return _of_weights(known[0]), f"torchvision's {known[0]}"
    found = [_of_weights(each) for each in every if each.meta["categories"]]  # others have no classifier
    agreed = {field.name: _agreed([getattr(each, field.name) for each in found]) for field in fields(Usage)}
    return Usage(**agreed), f"{_AGREED} {name}"


def _agreed(values: list[Any]) -> Any:
    return values[0] if values and all(value == values[0] for value in values) else None


def _of_weights(weights: Any) -> Usage:
    transforms, names = weights.transforms(), tuple(weights.meta["categories"] or ())
    (crop,), (size,) = transforms.crop_size, transforms.resize_size
    return Usage(
        input=(len(transforms.mean), crop, crop),
        classes=len(names) or None,
        mean=tuple(map(float, transforms.mean)),
        std=tuple(map(float, transforms.std)),
        names=names or None,
        resize=resize_rule(crop, crop / size, transforms.interpolation.value),
    )


def resize_rule(size: int, crop: float, interpolation: str) -> Resize | None:
    """The rule, or None if a file cannot express it."""
    return Resize(size, crop, interpolation) if 0 < crop <= 1 and interpolation in INTERPOLATIONS else None


def _timm(name: str) -> tuple[Usage, str]:
    try:
        import timm  # noqa: PLC0415
    except ImportError:
        return Usage(), ""  # the registry says so better
    found = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if found is None:
        return Usage(), ""
    return of_timm(asdict(found)), f"{_OF_TIMM} {name}"


def of_timm(config: Mapping[str, Any]) -> Usage:
    """The use of a network according to timm's `pretrained_cfg`.

    Raises:
        ValueError, TypeError: a value is not of the expected type.
    """
    classes, names = config.get("num_classes"), config.get("label_names")
    descriptions = config.get("label_descriptions")
    if names and isinstance(descriptions, Mapping):
        names = [descriptions.get(name, name) for name in names]
    size = config.get("input_size")
    square = size is not None and size[1] == size[2] and config.get("crop_mode", "center") == "center"
    return Usage(
        input=None if size is None else (int(size[0]), int(size[1]), int(size[2])),
        classes=int(classes) if classes else None,
        mean=_numbers(config.get("mean")),
        std=_numbers(config.get("std")),
        names=tuple(map(str, names)) if names else _imagenet(config),
        resize=resize_rule(int(size[1]), float(config.get("crop_pct") or 1), str(config.get("interpolation")))
        if square and size
        else None,
    )


def _numbers(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(value) for value in values)


def _imagenet(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The class names of ImageNet, if the weights' tag says that they were trained on it."""
    tag, classes = str(config.get("tag") or ""), config.get("num_classes")
    if classes != 1000 or not tag.endswith(("in1k", "_in1k_384")):
        return None
    return _imagenet_names()


@cache
def _imagenet_names() -> tuple[str, ...]:
    from timm.data.imagenet_info import ImageNetInfo  # noqa: PLC0415

    info = ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_description(i) for i in range(1000))
