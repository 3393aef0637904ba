"""A network with its masks and its story, and the two files that hold them."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from prunectl.checkpoints import files, header
from prunectl.checkpoints.build import (
    Builder,
    build,
    builder_of,
    built_aside,
    built_on_meta,
    check_buildable,
    check_readable,
    is_complete,
)
from prunectl.checkpoints.header import DenseCounts, Header, ModelSpec, Resize
from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.names import checkpoint_file, mask_path
from prunectl.checkpoints.pixels import FromPixels
from prunectl.checkpoints.versions import versions
from prunectl.data.images import ImageData, Preprocessing
from prunectl.errors import CheckpointError, OptionError, PrunectlError
from prunectl.masks import Masks, pack, unpack
from prunectl.plugins.registry import check_trusted
from prunectl.structure.surgery import resize
from prunectl.structure.surgery.cut import cut_unstored_
from prunectl.structure.surgery.plan import Plan
from prunectl.torchtools.digest import digest


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network, its masks, and what its file says of it. Operations take one and return a new one."""

    model: nn.Module
    masks: Masks
    spec: ModelSpec
    data: str
    preprocessing: Preprocessing
    dense: DenseCounts
    edits: tuple[dict[str, Any], ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    names: tuple[str, ...] = ()
    """Those of the classes; empty where nobody gave any."""
    resize: Resize | None = None
    """How image files become network input; None where no rule is known."""
    sha256: str | None = None
    """Of the file that this was read from; None for a network that no file holds yet."""
    builder: Callable[[], nn.Module] | None = None
    """Builds the dense network of a class of the user's own, which the name in `spec` does not."""

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.model.parameters()).device

    @property
    def proof(self) -> Mapping[str, float]:
        """The largest relative differences to the masked network that the last shrink found, by dtype; else empty."""
        found = (entry.result["proof"] for entry in reversed(self.history) if "proof" in entry.result)
        return next(found, {})

    def dense_network(self) -> nn.Module:
        """The dense original on the cpu; the values of its state dict mean nothing."""
        return built_aside(lambda: build(self.spec) if self.builder is None else self.builder())

    def to(self, device: torch.device) -> "Checkpoint":
        """Place network and masks on a device; the network is copied when that is another one."""
        model = self.model if device == self.device else copy.deepcopy(self.model).to(device)
        return replace(self, model=model, masks=self.masks.to(device))

    def check_held_out(self, data: ImageData) -> None:
        """Refuse to measure on held-out training images (--tuning) that a training of this network saw.

        Raises:
            OptionError: some training of its history, on this dataset, held nothing out.
        """
        for entry in self.history if dict(data.changes).get("tuning") else ():
            seen = entry.data or {}
            trained = entry.command == "train" and entry.options.get("steps", 0) > 0
            if trained and seen.get("name") == data.name and not seen.get("tuning"):
                raise OptionError(
                    "`tuning` measures on training images, which this network was trained on (`train` without "
                    "`tuning`); leave it out to measure on the test images"
                )

    def after(self, command: str, options: Mapping[str, Any], **changes: Any) -> "Checkpoint":
        """The checkpoint that `command` makes of this one, with its line in the history."""
        entry = HistoryEntry(
            command,
            dict(options),
            versions=versions(self.spec.name),
            threads=torch.get_num_threads(),
            parent=self.sha256,
        )
        return replace(self, history=(*self.history, entry), sha256=None, **changes)

    def with_result(self, result: Mapping[str, Any]) -> "Checkpoint":
        """The same, with what came out written to the last line of the history."""
        *earlier, last = self.history
        return replace(self, history=(*earlier, last.with_result(result)))


def load(
    path: str | Path, device: str | torch.device = "cpu", *, model: Builder | None = None, pixels: bool = False
) -> nn.Module:
    """The network of a checkpoint in eval mode, for normalised images (B, C, H, W): dense, masked or shrunk.

    With `pixels`, the network takes pixels in [0, 1] and normalises them by the checkpoint's mean and std. `model`
    builds the dense network where the file alone cannot: a class, a function, a network, or `file.py:build`.

    Raises:
        FileError, CheckpointError: as `read`.
    """
    found = read(Path(path), torch.device(device), model=model)
    network = found.model.eval()
    return FromPixels(network, found.preprocessing.mean, found.preprocessing.std) if pixels else network


def read(path: Path, device: torch.device | None = None, *, model: Builder | None = None) -> Checkpoint:
    """Read a checkpoint and its mask file, or an exported folder; `model` is as in `load`.

    Raises:
        FileError, CheckpointError: missing, damaged, of another program, or with a mask file that belongs to another.
    """
    device, path = device or torch.device("cpu"), checkpoint_file(path)
    head, _ = header.read_header(path)
    builder = None if model is None else builder_of(model, head.model)
    if builder is None:
        check_buildable(head.model, str(path))
        check_trusted("model", head.model.name, str(path))
    masks = Masks.dense() if head.pair is None else _read_masks(path, head.pair)
    try:
        state = tensors_of(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    made = network(head, state, str(path), builder)
    masks.check(made, str(path))
    masks.apply_(made)
    return replace(from_header(head, made, masks, files.sha256(path)), builder=builder).to(device)


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, each in memory of its own.

    In a file they lie at any byte, and torch's sums over what is not aligned can differ in the last bit: a network that
    is read must compute what it computed when it was written.
    """
    return {name: tensor.clone() for name, tensor in load_file(path).items()}


def to_header(checkpoint: Checkpoint, pair: str | None) -> Header:
    """What the file of a checkpoint says of it."""
    return Header(
        model=checkpoint.spec,
        data=checkpoint.data,
        mean=checkpoint.preprocessing.mean,
        std=checkpoint.preprocessing.std,
        dense=checkpoint.dense,
        weights=checkpoint.masks.kept(checkpoint.model),
        edits=checkpoint.edits,
        history=checkpoint.history,
        pair=pair,
        names=checkpoint.names,
        resize=checkpoint.resize,
    )


def from_header(head: Header, model: nn.Module, masks: Masks, sha256: str | None) -> Checkpoint:
    """Undo `to_header`, with the network and masks that stand beside it."""
    return Checkpoint(
        model=model,
        masks=masks,
        spec=head.model,
        data=head.data,
        preprocessing=Preprocessing(head.mean, head.std),
        dense=head.dense,
        edits=head.edits,
        history=head.history,
        names=head.names,
        resize=head.resize,
        sha256=sha256,
    )


def network(
    head: Header, state: dict[str, Tensor], where: str, builder: Callable[[], nn.Module] | None = None
) -> nn.Module:
    """The network of a header with the tensors of a file: built dense, changed as the shrinks changed it, filled.

    `builder` builds the dense network in place of the name in the header.

    Raises:
        CheckpointError: options, edits or tensors that do not make a network.
    """

    def dense_network() -> nn.Module:
        return build(head.model) if builder is None else builder()

    def fitted(model: nn.Module) -> nn.Module:
        plan.apply_(model)
        resize.check_tensors(model, state, plan.kept)
        return model

    try:
        plan = Plan.of(head.edits)
        empty = built_on_meta(dense_network)
        model = None if empty is None else fitted(empty)  # refuses what does not fit before it takes any memory
        if model is None or not is_complete(model):
            model = fitted(built_aside(dense_network))
    except PrunectlError as error:
        raise type(error)(f"{where}: {error}") from error
    except Exception as error:  # the network's own code may raise anything
        raise _damaged(head, where, error) from error
    resize.load_state_(model, state, where)
    try:
        cut_unstored_(model, plan.kept)
        return plan.finish_(model, built_aside(dense_network), head.model.input) if plan.graph else model
    except (IndexError, RuntimeError, KeyError, ValueError) as error:
        raise _damaged(head, where, error) from error


def _damaged(head: Header, where: str, error: Exception) -> CheckpointError:
    what = str(error).partition("\n")[0]
    return CheckpointError(f"{where}: network {head.model.name} cannot be built as the header says ({what})")


def write(checkpoint: Checkpoint, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a checkpoint and its mask file; the same checkpoint makes the same bytes.

    `metadata` are further texts for the file's own metadata.

    Raises:
        FileError: it cannot be written; earlier files at that place stay whole.
        CheckpointError: it could not be read again, as nothing builds its network or its header does not read.
    """
    check_readable(checkpoint.spec)
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in checkpoint.model.state_dict().items()}
    for name, mask in checkpoint.masks.items():
        state[name].masked_fill_(~mask.cpu(), 0)
    bits = {name: pack(mask.cpu()) for name, mask in checkpoint.masks.items()}
    pair = digest({**state, **{f"mask:{name}": tensor for name, tensor in bits.items()}})[:16] if bits else None
    sizes = {name: list(mask.shape) for name, mask in sorted(checkpoint.masks.items())}
    mask_head = json.dumps({"schema": 1, "pair": pair, "shapes": sizes}, sort_keys=True)
    data = save(state, {header.KEY: _header_text(checkpoint, pair, path)})
    files.write_pair(
        path,
        files.with_metadata(data, metadata) if metadata else data,
        mask_path(path),
        save(bits, {header.KEY: mask_head}) if bits else None,
        pair,
    )


def _header_text(checkpoint: Checkpoint, pair: str | None, path: Path) -> str:
    """The JSON of a header, after it was read back once: what is written can be read."""
    text = to_header(checkpoint, pair).to_json()
    Header.from_json(text, path)
    return text


def _read_masks(path: Path, pair: str) -> Masks:
    """Read the mask file that carries this pair id."""
    toc, sizes = header.read_mask_header(path, pair)
    try:
        bits = load_file(toc.path)
        return Masks({name: unpack(bits[name], size) for name, size in sizes.items()})
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        what = str(error).partition("\n")[0]
        raise CheckpointError(f"{toc.path} is not a readable mask file ({what}); take an intact copy") from error
