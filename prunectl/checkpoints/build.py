"""The dense network that a header names, with fresh weights."""

import inspect

from torch import nn

from prunectl.checkpoints.header import ModelSpec
from prunectl.errors import OptionError
from prunectl.plugins.options import keyword_options
from prunectl.plugins.registry import resolve


def build(spec: ModelSpec) -> nn.Module:
    """Build the dense network of a spec, with fresh weights on torch's current default device."""
    builder = resolve("model", spec.name)
    options = keyword_options(builder, {k: str(v) for k, v in spec.options.items()}, f"model {spec.name}")
    try:
        inspect.signature(builder).bind(spec.input, spec.classes, **options)
    except TypeError as error:
        raise OptionError(
            f"model {spec.name} is called with the shape (C, H, W) of an image and the number of classes: {error}"
        ) from error
    module = builder(spec.input, spec.classes, **options)
    if not isinstance(module, nn.Module):
        raise OptionError(f"model {spec.name} makes a {type(module).__name__}, expected a torch.nn.Module")
    return module
