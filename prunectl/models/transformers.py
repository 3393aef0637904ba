"""transformers' image classifiers by type, with fresh weights."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from prunectl.errors import OptionError, UnknownName
from prunectl.models.library import Builder, build, refuse
from prunectl.plugins.registry import unknown

_SETTLED = ("num_labels", "id2label", "label2id", "num_channels", "image_size", "return_dict")
NO_CODE = frozenset(
    {
        *(
            "auto_map",
            "trust_remote_code",
            "custom_pipelines",
            "_name_or_path",
            "quantization_config",
            "compression_config",
        ),
        *("_attn_implementation", "_attn_implementation_internal", "attn_implementation", "experts_implementation"),
        *("_experts_implementation", "_experts_implementation_internal"),
        *("backbone", "backbone_config", "backbone_kwargs", "use_pretrained_backbone", "use_timm_backbone"),
    }
)
"""Keys of a configuration that name code or weights elsewhere."""
_MISSING = "needs the package transformers: pip install 'prunectl[hf]'"


def network(kind: str) -> Builder:
    """The builder of `transformers/TYPE`: `(input_shape, classes, *, config, **options)`.

    `config` is the JSON text of a `config.json`; other options replace its values. Both are optional.

    Raises:
        UnknownName: transformers has no image classifier of that type, or is not installed.
    """
    known = types(f"transformers/{kind}")
    if kind not in known:
        raise unknown("model", f"transformers/{kind}", [f"transformers/{each}" for each in known])

    def builder(input_shape: tuple[int, int, int], classes: int, *, config: str = "{}", **options: Any) -> nn.Module:
        full = f"transformers/{kind}"
        refuse(full, options, (*_SETTLED, *NO_CODE))
        values = {**_read(config, full), **options}
        return build(full, partial(_made, kind, values, input_shape, classes), input_shape, classes)

    return builder


def types(name: str) -> list[str]:
    """The types for which transformers has an image classifier, except its wrapper around other libraries.

    Raises:
        UnknownName: transformers is not installed, so no `name` is known.
    """
    try:
        from transformers.models.auto.modeling_auto import (  # noqa: PLC0415
            MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as known,
        )
    except ImportError as error:
        raise UnknownName(f"{name} {_MISSING}") from error
    return [kind for kind in known if kind != "timm_wrapper"]


def _read(config: str, name: str) -> dict[str, Any]:
    """The values of a configuration, without those that depend on the images or name code or weights."""
    try:
        values = json.loads(config)
        return {key: value for key, value in values.items() if key not in (*_SETTLED, *NO_CODE)}
    except (ValueError, AttributeError, RecursionError) as error:
        raise OptionError(f"{name}: `config` is not a JSON object ({error}); pass the text of a config.json") from error


def _made(kind: str, values: dict[str, Any], input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    from transformers import AutoConfig, AutoModelForImageClassification  # noqa: PLC0415

    channels, height, width = input_shape
    values = {key: value for key, value in values.items() if key not in ("model_type", "transformers_version")}
    values.setdefault("architectures", [_class_of(kind)])
    sized = hasattr(AutoConfig.for_model(kind), "image_size")
    size = {"image_size": height if height == width else [height, width]} if sized else {}
    try:
        config = AutoConfig.for_model(kind, **{**values, **size, "num_channels": channels, "num_labels": classes})
    except Exception as error:  # its checks raise errors of several libraries
        what = " ".join(str(error).split())
        raise OptionError(f"transformers/{kind} does not take these options: {what}") from error
    with quiet():
        model: nn.Module = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    model.float().register_forward_hook(_logits)
    return model


def _class_of(kind: str) -> str:
    """The class of a type's image classifier; the first if there are several."""
    from transformers.models.auto.modeling_auto import (  # noqa: PLC0415
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as known,
    )

    found = known[kind]
    return str(found if isinstance(found, str) else found[0])


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' messages about fresh weights and about its progress."""
    from transformers.utils import logging  # noqa: PLC0415

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _logits(_module: nn.Module, _images: tuple[Any, ...], output: Any) -> Tensor:
    """The logits in the output of a network of transformers."""
    logits: Tensor = output if isinstance(output, Tensor) else output.logits
    return logits
