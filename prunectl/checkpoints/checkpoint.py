"""A network with its masks and its history, and the two files that hold them."""

import copy
import json
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from prunectl.checkpoints import files, header
from prunectl.checkpoints.build import (
    Builder,
    build,
    builder_of,
    built_aside,
    check_buildable,
    check_readable,
)
from prunectl.checkpoints.header import DenseCounts, Header, ModelSpec, Resize
from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.names import checkpoint_file, mask_path
from prunectl.checkpoints.network import network
from prunectl.checkpoints.pixels import Deployed
from prunectl.checkpoints.places import named_in, places_of, warn_of_change, written
from prunectl.checkpoints.steady import steadily
from prunectl.checkpoints.stored import Stored
from prunectl.checkpoints.tensor_file import content, head_of, map_tensors, read_tensors
from prunectl.checkpoints.versions import versions
from prunectl.data.images import ImageData, Preprocessing
from prunectl.errors import CheckpointError, OptionError
from prunectl.masks import Masks, pack, unpack
from prunectl.plugins.places import Places, known
from prunectl.plugins.registry import check_trusted
from prunectl.plugins.trust import trusting
from prunectl.torchtools.digest import digest


@dataclass(frozen=True, eq=False, repr=False)
class Checkpoint:
    """A network, its masks and its description. Operations take a checkpoint and return a new one."""

    model: nn.Module
    masks: Masks
    spec: ModelSpec
    data: str
    preprocessing: Preprocessing
    dense: DenseCounts
    edits: tuple[dict[str, Any], ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    names: tuple[str, ...] = ()
    """Names of the classes; empty if they are unknown."""
    resize: Resize | None = None
    """How image files become network input; None if unknown."""
    sha256: str | None = None
    """Hash of the file that this was read from; None for a network that was not saved yet."""
    builder: Callable[[], nn.Module] | None = None
    """Builds a dense network of the user's own class, which the name in `spec` cannot build."""
    places: Places = field(default_factory=dict)
    """Possible places of the files that it names, as recorded in its file."""

    def __repr__(self) -> str:
        """One line: network, images, classes, and what is left of it."""
        shape, dense = "x".join(map(str, self.spec.input)), self.dense
        form = "shrunk" if any("kept" in edit for edit in self.edits) else "masked" if self.masks else "dense"
        shares = (entry.result["node_sparsity"] for entry in reversed(self.history) if "node_sparsity" in entry.result)
        left = f"{self.masks.kept(self.model):,} of {dense.weights:,} weights"
        if (share := next(shares, None)) is not None and dense.nodes is not None:
            left = f"{round(dense.nodes * (1 - share)):,} of {dense.nodes:,} nodes"
        return f"Checkpoint({self.spec.name}, {shape}, {self.spec.classes} classes, {form}, {left})"

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.model.parameters()).device

    @property
    def proof(self) -> Mapping[str, float]:
        """The largest relative differences to the masked network that the last shrink found, by dtype; else empty."""
        found = (entry.result["proof"] for entry in reversed(self.history) if "proof" in entry.result)
        return next(found, {})

    def dense_network(self) -> nn.Module:
        """The dense original on the cpu; the values of its state dict are arbitrary."""
        return built_aside(self.fresh_network)

    def fresh_network(self) -> nn.Module:
        """The dense original with fresh weights, on torch's default device, by its random state."""
        with known(self.places):
            return build(self.spec) if self.builder is None else self.builder()

    def to(self, device: torch.device) -> "Checkpoint":
        """Move network and masks to a device; the network is copied if it is on another one."""
        model = self.model if device == self.device else copy.deepcopy(self.model).to(device)
        return replace(self, model=model, masks=self.masks.to(device))

    def check_held_out(self, data: ImageData) -> None:
        """Refuse to measure on held-out training images (--tuning) if this network was trained on them.

        Raises:
            OptionError: a training in its history used this dataset and held nothing out.
        """
        for entry in self.history if dict(data.changes).get("tuning") else ():
            seen = entry.data or {}
            trained = entry.command == "train" and entry.options.get("steps", 0) > 0
            if trained and seen.get("name") == data.name and not seen.get("tuning"):
                raise OptionError(
                    "`tuning` measures on training images, and this network was trained on them (`train` without "
                    "`tuning`); leave it out to measure on the test images"
                )

    def doubts_of(self, data: ImageData) -> list[str]:
        """Warnings about measuring on these images: the test images are not for making choices."""
        trainings = [
            entry.data or {}
            for entry in self.history
            if entry.command == "train"
            and entry.options.get("steps", 0)
            and (entry.data or {}).get("name") == data.name
        ]
        if dict(data.changes).get("tuning") or not (trainings and trainings[-1].get("tuning")):
            return []
        return [
            "these are the test images, but the network was trained with --tuning, which holds out training images: "
            "use --tuning while you make choices, and measure on the test images once"
        ]

    def after(self, command: str, options: Mapping[str, Any], **changes: Any) -> "Checkpoint":
        """The checkpoint that `command` makes of this one, with an entry in the history."""
        entry = HistoryEntry(
            command,
            dict(options),
            versions=versions(self.spec.name),
            threads=torch.get_num_threads(),
            parent=self.sha256,
        )
        return replace(self, history=(*self.history, entry), sha256=None, **changes)

    def with_result(self, result: Mapping[str, Any]) -> "Checkpoint":
        """The same, with the result recorded in the last entry of the history."""
        *earlier, last = self.history
        return replace(self, history=(*earlier, last.with_result(result)))


def load(
    path: str | Path,
    device: str | torch.device = "cpu",
    *,
    model: Builder | None = None,
    pixels: bool = False,
    trust: bool = False,
) -> nn.Module:
    """The network of a checkpoint in eval mode, for normalised images (B, C, H, W): dense, masked or shrunk.

    With `pixels`, the network takes pixels in [0, 1] and normalises them by the checkpoint's mean and std. `model`
    builds the dense network if the file alone cannot: a class, a function, a network, or `file.py:build`. `trust`
    allows code named in the file to run.

    Raises:
        FileError, CheckpointError, UntrustedCode: as `read`.
        NoNormalisation: `pixels`, but the file does not say how they are normalised.
    """
    with trusting(everything=trust):
        found = read(path, device, model=model)
    network = found.model.eval()
    return Deployed(network, found.preprocessing) if pixels else network


def read(
    path: str | Path,
    device: torch.device | str | None = None,
    *,
    model: Builder | None = None,
    mapped: bool = False,
) -> Checkpoint:
    """Read a checkpoint and its mask file, or an exported folder; `model` is as in `load`.

    With `mapped`, the network's tensors stay in the file, for code that looks at each number by itself.

    Raises:
        FileError, CheckpointError: it is missing, damaged, from another program, or has another file's masks.
        UntrustedCode: it names code, and the user has not consented.
    """
    device, path = torch.device(device or "cpu"), checkpoint_file(Path(path))
    return steadily(path, lambda: _read(path, model, mapped)).to(device)


def _read(path: Path, model: Builder | None, mapped: bool) -> Checkpoint:
    """Read a checkpoint's files once, on the cpu."""
    head, toc = header.read_header(path)
    places = places_of(toc.metadata, path)
    builder = None if model is None else builder_of(model, head.model)
    if builder is None:
        check_buildable(head.model, str(path))
        with known(places):
            check_trusted("model", head.model.name, str(path))
        warn_of_change(head.model.name, places, path)
    masks = Masks.dense() if head.pair is None else _read_masks(path, head.pair)
    try:
        state = map_tensors(path) if mapped else read_tensors(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    with known(places if builder is None else {}):
        made = network(head, state, str(path), builder)
    masks.check(made, str(path))
    if not mapped:
        masks.apply_(made)
    return replace(from_header(head, made, masks, files.sha256(path)), builder=builder, places=places)


def to_header(checkpoint: Checkpoint, pair: str | None) -> Header:
    """The header of a checkpoint."""
    return Header(
        model=checkpoint.spec,
        data=checkpoint.data,
        mean=checkpoint.preprocessing.mean,
        std=checkpoint.preprocessing.std,
        normalisation_known=checkpoint.preprocessing.known,
        dense=checkpoint.dense,
        weights=checkpoint.masks.kept(checkpoint.model),
        edits=checkpoint.edits,
        history=checkpoint.history,
        pair=pair,
        names=checkpoint.names,
        resize=checkpoint.resize,
    )


def from_header(head: Header, model: nn.Module, masks: Masks, sha256: str | None) -> Checkpoint:
    """Undo `to_header`, for a network and its masks."""
    return Checkpoint(
        model=model,
        masks=masks,
        spec=head.model,
        data=head.data,
        preprocessing=Preprocessing(head.mean, head.std, head.normalisation_known),
        dense=head.dense,
        edits=head.edits,
        history=head.history,
        names=head.names,
        resize=head.resize,
        sha256=sha256,
    )


def write(
    checkpoint: Checkpoint, path: str | Path, metadata: Mapping[str, str] | None = None, *, force: bool = True
) -> None:
    """Write a checkpoint and its mask file; the same checkpoint makes the same bytes. Without `force` it must be new.

    The file also records the places of the files that it names; `files.sha256` ignores these. `metadata` are further
    texts for the file's metadata; such a file is meant to be passed on, so it names no absolute path.

    Raises:
        FileError: it cannot be written; earlier files of that name stay intact.
        CheckpointError: it could not be read again, because no name builds its network or its header is invalid.
    """
    path = Path(path)
    with known(checkpoint.places):
        check_readable(checkpoint.spec)
    state = Stored(checkpoint.model.state_dict(), checkpoint.masks)
    bits = {name: pack(mask.cpu()) for name, mask in checkpoint.masks.items()}
    pair = digest(ChainMap({f"mask:{name}": t for name, t in bits.items()}, state))[:16] if bits else None
    sizes = {name: list(mask.shape) for name, mask in sorted(checkpoint.masks.items())}
    mask_head = head_of(bits, {header.KEY: json.dumps({"schema": 1, "pair": pair, "shapes": sizes}, sort_keys=True)})
    head = head_of(state.data, {header.KEY: _header_text(checkpoint, pair, path)})
    head = files.with_metadata(head, metadata) if metadata else head
    named = named_in(checkpoint.spec.name, checkpoint.data, checkpoint.history)
    places = written(named, checkpoint.places, path, absolute=metadata is None)
    files.write_pair(
        path,
        content(head if places is None else files.with_places(head, places), state),
        mask_path(path),
        content(mask_head, bits) if bits else None,
        pair,
        force=force,
    )


def _header_text(checkpoint: Checkpoint, pair: str | None, path: Path) -> str:
    """The JSON of a header, after a check that it can be read back."""
    text = to_header(checkpoint, pair).to_json()
    Header.from_json(text, path)
    return text


def _read_masks(path: Path, pair: str) -> Masks:
    """Read the mask file that carries this pair id."""
    toc, sizes = header.read_mask_header(path, pair)
    try:
        bits = read_tensors(toc.path)
        return Masks({name: unpack(bits[name], size) for name, size in sizes.items()})
    except (LookupError, ValueError, TypeError, OSError, RuntimeError, SafetensorError) as error:
        what = str(error).partition("\n")[0]
        raise CheckpointError(f"{toc.path} is not a readable mask file ({what}); use an intact copy") from error
