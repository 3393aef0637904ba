"""Networks with odd constructors, as users write them: each function takes (shape, classes) and builds one.

`KEPT` are written and read without a difference; `REFUSED` are refused before the first step, with the words given.
"""

import torch
from torch import nn

from tests.helpers.odd_networks.behaviour import (
    Auxiliary,
    CachedPositions,
    Counting,
    EmptyParameter,
    FourierFilter,
    InPlace,
    Nested,
    RandomBuffers,
    WithoutGradients,
    all_frozen,
    frozen,
    of_type,
    python_init,
    sized_by_forward,
    stamped,
)
from tests.helpers.odd_networks.places import (
    Alias,
    Hooked,
    InContainers,
    assigns_weights,
    channels_last,
    data_initialised,
    lazy,
    loads_weights,
    numpy_attribute,
    orthogonal,
    settings_object,
    spectral,
    symmetric,
    tensor_attribute,
    tied,
    unstored_buffer,
    weight_normed,
)
from tests.helpers.odd_networks.refused import (
    ExtraState,
    HiddenParameter,
    Permuted,
    RandomClosure,
    RandomList,
    SparseBuffer,
    copy_of_weights,
    from_weights,
    once_only,
    random_activation,
    random_depth,
    random_number,
    random_numpy_array,
    random_numpy_number,
    random_tensor,
    random_torch_number,
    random_unstored_buffer,
    random_width,
    shared_layer,
    singleton,
    view_of_weights,
)
from tests.helpers.odd_networks.small import Build, Shape, looks
from tests.helpers.odd_networks.values import (
    by_assert_equal,
    by_assert_on_forward,
    by_bool_mask,
    by_branch,
    by_caught_error,
    by_float,
    by_format,
    by_item,
    by_list,
    by_max_index,
    by_nonzero,
    by_numpy,
    by_numpy_function,
    by_unique,
)

TYPES: dict[str, Build] = {
    "float16": of_type(torch.float16),
    "bfloat16": of_type(torch.bfloat16),
    "float64": of_type(torch.float64),
}
UNTRAINABLE: dict[str, tuple[Build, str]] = {
    "auxiliary": (Auxiliary, "returns a tuple in training, expected only logits"),
    "in place": (InPlace, "no backward pass: an in-place operation overwrites"),
    "without gradients": (WithoutGradients, "no backward pass: its outputs depend on no parameter"),
    "all frozen": (all_frozen, "no backward pass: its outputs depend on no parameter"),
}
KEPT: dict[str, Build] = {
    **TYPES,
    **{name: build for name, (build, _) in UNTRAINABLE.items()},
    **{
        change.__name__: looks(change)
        for change in (
            *(by_item, by_float, by_list, by_numpy, by_nonzero, by_branch, by_format, by_caught_error, by_bool_mask),
            *(by_unique, by_assert_on_forward, by_assert_equal, by_max_index, by_numpy_function, tensor_attribute),
            *(unstored_buffer, settings_object, numpy_attribute, stamped),
        )
    },
    "in containers": InContainers,
    "hooked": Hooked,
    "alias": Alias,
    "spectral norm": spectral,
    "weight norm": weight_normed,
    "orthogonal": orthogonal,
    "symmetric": symmetric,
    "tied": tied,
    "lazy": lazy,
    "loads weights": loads_weights,
    "assigns weights": assigns_weights,
    "data initialised": data_initialised,
    "channels last": channels_last,
    "sized by forward": sized_by_forward,
    "counting": Counting,
    "cached positions": CachedPositions,
    "empty parameter": EmptyParameter,
    "complex parameter": FourierFilter,
    "nested": Nested,
    "random buffers": RandomBuffers,
    "frozen": frozen,
    "python init": python_init,
}

REFUSED: dict[str, tuple[Build, str]] = {
    **{
        change.__name__: (looks(change), words)
        for change, words in (
            (random_tensor, r"different scale .*register_buffer\('scale', tensor\)"),
            (random_unstored_buffer, r"different scale .*register_buffer\('scale', tensor\)"),
            (random_number, r"different scale .*-M.*register_buffer"),
            (random_numpy_number, "different scale"),
            (random_numpy_array, "different table"),
            (random_torch_number, "different scale"),
            (from_weights, "different scale"),
            (copy_of_weights, "different scale"),
            (view_of_weights, r"holds shift, which shares the memory of conv\.weight"),
        )
    },
    "random permutation": (Permuted, r"different order\[\d\]"),
    "random list": (RandomList, r"different gains\[0\]"),
    "hidden parameter": (HiddenParameter, r"different hidden\[0\]"),
    "random closure": (RandomClosure, r"different act\.factor"),
    "random activation": (random_activation, "GELU at norm.1 or a Tanh|Tanh at norm.1 or a GELU"),
    "random width": (random_width, r"could not be read again.*head\.\d\.\w+"),
    "random depth": (random_depth, "could not be read again"),
    "singleton": (singleton, "same module at every call"),
    "shared layer": (shared_layer, "same module at every call"),
    "extra state": (ExtraState, "dict at _extra_state"),
    "sparse buffer": (SparseBuffer, "edges"),
    "once only": (once_only, "lock.txt"),
}


def pick(shape: Shape, classes: int, *, which: str) -> nn.Module:
    """One network of the tables by its name, which a checkpoint can hold."""
    build = KEPT[which] if which in KEPT else REFUSED[which][0]
    return build(shape, classes)
