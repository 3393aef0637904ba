"""import: makes a checkpoint of a network that another program trained."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunectl.checkpoints.bounds import at_most
from prunectl.checkpoints.checkpoint import Checkpoint
from prunectl.checkpoints.options.others import ImportOptions
from prunectl.checkpoints.options.table import IMPORT, STATE_DICT
from prunectl.checkpoints.options.values import recorded
from prunectl.data.images import Preprocessing
from prunectl.errors import OptionError
from prunectl.exchange.auxiliary import AUXILIARY, with_transform
from prunectl.exchange.filling import fill_
from prunectl.exchange.hugging_face import describe, is_transformers, match_transformers
from prunectl.exchange.matching import match
from prunectl.exchange.state_dict import WeightFile, read_weights, tensors_in
from prunectl.exchange.suggestion import suggesting
from prunectl.exchange.usage import Shape, Usage, check_complete, configuration_of, is_published
from prunectl.masks import Masks
from prunectl.models.fresh import untrained
from prunectl.torchtools.digest import digest
from prunectl.torchtools.freed import trim

_LARGER, _FRESH = 4, 50_000_000
"""Limit of a network's size: this multiple of its file's numbers, plus this many for fresh layers and copies."""


def from_state_dict(
    state: str | Path | Mapping[str, Any],
    model: str | None = None,
    *,
    input: Shape | None = None,
    classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    weights: str | None = None,
    key: str | None = None,
    allow_missing: Sequence[str] = (),
    data: str = "",
    seed: int = 0,
) -> Checkpoint:
    """Make a checkpoint of weights that another program wrote: a file, a folder, or a state dict.

    `model` names the network, as `torchvision/resnet18`, `timm/...` or `file.py:build`; `options` are its own. `input`
    (C, H, W), `classes`, `mean`, `std` and the classes' `names` default to the library's configuration; a folder of
    timm or transformers with a `config.json` has all of it and needs no `model`.
    `key` chooses among several state dicts in a file, `weights` says which of torchvision's published weights it holds.
    Names that match a pattern of `allow_missing` (`head.*`) may be missing, and stay fresh, or be unused.

    Raises:
        FileError, CheckpointError: the file cannot be read as weights, or they do not fit the network.
        UnknownName, OptionError: unknown network or option, or its input, classes or normalisation are unknown.
    """
    file = _in_memory(state) if isinstance(state, Mapping) else read_weights(Path(state))
    given = {key: str(value) for key, value in (options or {}).items()}
    described = None if isinstance(state, Mapping) or not Path(state).is_dir() else describe(Path(state))
    if described is not None and model in (None, described.model):
        model, given = described.model, {**described.options, **given}
    if model is None:
        raise OptionError(
            f"{file.name} does not state which network it holds; pass `model`, such as torchvision/resnet18"
        )
    known, source = configuration_of(model, weights, file.sha256)
    if described is not None:
        known, source = described.usage.over(known), "its config.json"
    given = with_transform(model, given, published=is_published(model, weights, file.sha256))
    own = Usage(input, classes, _tuple(mean), _tuple(std), _tuple(names))
    usage = own.over(known)
    with suggesting(model, file.content):
        shape, count, means, stds = check_complete(usage, model)
    held = sum(tensor.numel() for tensor in tensors_in(file.content))
    with at_most(_LARGER * held + _FRESH, f"{file.name} holds {held:,}; pass the network that it belongs to"):
        begun = untrained(model, shape, count, Preprocessing(means, stds), options=given, seed=seed)
    trim()  # the memory of its first weights
    begun = replace(begun, names=usage.names or (), resize=usage.resize, data=data)
    chosen = ImportOptions(
        file.name, file.sha256, weights, key, tuple(allow_missing), seed=seed if allow_missing else None
    )
    with suggesting(model, file.content):
        return _imported(begun, file, chosen, source)


def _imported(
    begun: Checkpoint,
    file: WeightFile,
    options: ImportOptions,
    source: str,
) -> Checkpoint:
    """The fresh network of `begun` filled with a file's tensors, and the masks that they hold."""
    network = begun.model
    expected = {name: tuple(t.shape) for name, t in network.state_dict().items() if isinstance(t, Tensor)}
    if is_transformers(network):
        matched = match_transformers(network, file.content, options.key, file.name)
    else:
        matched = match(file.content, expected, options.key, file.name)
    allowed = (*options.allow_missing, *AUXILIARY.get(begun.spec.name, ()))
    filled = fill_(
        network,
        matched,
        allowed,
        file.name,
        image=begun.spec.input,
        classes=begun.spec.classes,
        mapped=file.name != STATE_DICT,
    )
    masks = Masks(matched.masks)
    masks.check(network, file.name)
    masks.apply_(network)
    left = {"missing": list(filled.fresh), "unused": list(filled.unused), "converted": list(filled.converted)}
    result = {
        "weight_sparsity": 1 - masks.kept(network) / begun.dense.weights,
        **({"configuration": source} if source else {}),
        **({"found_under": matched.key} if matched.key else {}),
        **{name: values for name, values in left.items() if values},
    }
    return begun.after(IMPORT, recorded(options, unset=False), masks=masks).with_result(result)


def _in_memory(state: Mapping[str, Any]) -> WeightFile:
    if not state:
        raise OptionError("the state dict is empty; pass net.state_dict()")
    plain = {name: t for name, t in state.items() if isinstance(t, Tensor) and t.layout == torch.strided}
    return WeightFile(STATE_DICT, digest(plain), state)


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
