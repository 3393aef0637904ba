"""Writes a Hugging Face folder: weights, how to build and use the network, and a model card."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prunectl.checkpoints import files
from prunectl.checkpoints.checkpoint import Checkpoint, read, to_header, write
from prunectl.checkpoints.header import KEY, Header, read_header
from prunectl.checkpoints.names import FOLDER_CONFIG, FOLDER_FILE, mask_path
from prunectl.checkpoints.pixels import deployed
from prunectl.errors import FileError, StructureError
from prunectl.exchange.card import card
from prunectl.exchange.check import check_close, worst_difference
from prunectl.exchange.loader_py import loader_source
from prunectl.exchange.metadata import metadata
from prunectl.exchange.pt2 import pt2_bytes
from prunectl.exchange.swapped import take_place
from prunectl.plugins.registry import LIBRARIES
from prunectl.structure.surgery.proof import drawn_for
from prunectl.torchtools.temporaries import remove_leftovers, temporary

ALLOWED = 1e-5
MASKS = mask_path(Path(FOLDER_FILE)).name
RUNS_ALONE = ("model.py", "model.pt2")
"""Files that load the network without prunectl; a folder holds at most one of them."""
OURS = (FOLDER_FILE, MASKS, FOLDER_CONFIG, "preprocessor_config.json", "README.md", *RUNS_ALONE)
"""The files that an export writes, and a later one replaces."""
PILLOW = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
"""Pillow's numbers for the interpolations, as preprocessor_config.json holds them."""


def check_folder(path: Path, *, force: bool) -> None:
    """Refuse a folder that cannot or must not be written.

    Raises:
        FileError: it holds other files, it holds an export and `force` is False, or its parent cannot be written.
    """
    if not path.is_dir():
        files.check_target(path, force=False)
        return
    if any(path.iterdir()):
        if not _is_ours(path):
            raise FileError(f"cannot write {path}: the folder holds other files; choose another output with -o")
        if not force:
            raise FileError(f"{path} exists; choose another output with -o, or replace it with `force`")
    files.check_target(path / FOLDER_CONFIG, force=True)


def write_folder(checkpoint: Checkpoint, path: Path, source: Path | None) -> tuple[int, float]:
    """Write the folder in one step, also over an earlier one; return its bytes and the difference when read back.

    `source` is the checkpoint's file, with its results beside it.

    Raises:
        NoNormalisation: the folder must state how pixels become the network's input, but nothing says how.
        FileError: it cannot be written; nothing is left.
        ProofError: the network that is read back computes something else.
    """
    checkpoint.preprocessing.check_known()
    contents = _contents(checkpoint, path, source)
    remove_leftovers(path.absolute().parent, path.name)
    beside = temporary(path)
    try:
        beside.mkdir()
        found = _fill(checkpoint, beside, contents)
        if path.is_dir() and any(path.iterdir()):
            take_place(beside, path, OURS)
        else:
            beside.replace(path)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from error
    except FileError as error:
        raise FileError(str(error).replace(str(beside), str(path))) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file()), found


def _fill(checkpoint: Checkpoint, folder: Path, contents: Mapping[str, bytes]) -> float:
    """Write every file of the folder, read the network back and compare it."""
    weights = folder / FOLDER_FILE
    write(checkpoint, weights, {"format": "pt"})
    for name, data in contents.items():
        files.write(folder / name, data)
    again = read(weights, model=checkpoint.dense_network).model.eval()
    draw = drawn_for(checkpoint.model, checkpoint.spec.input, checkpoint.preprocessing)
    found = worst_difference(deployed(checkpoint.model), deployed(again), checkpoint.spec.input, draw)
    check_close(found, ALLOWED, "the network that the folder holds")
    return found


def _is_ours(path: Path) -> bool:
    try:
        read_header(path)
    except FileError:
        return False
    return True


def _contents(checkpoint: Checkpoint, path: Path, source: Path | None) -> dict[str, bytes]:
    """The files beside the weights."""
    head, alone = to_header(checkpoint, None), _runs_alone(checkpoint, path)
    texts = {
        FOLDER_CONFIG: _json(config(checkpoint, head)),
        "preprocessor_config.json": _json(preprocessor(head)),
        "README.md": card(checkpoint, head, path.name, source, next(iter(alone), None)),
    }
    return {**{name: text.encode() for name, text in texts.items()}, **alone}


def _runs_alone(checkpoint: Checkpoint, path: Path) -> dict[str, bytes]:
    """The file that loads the network without prunectl: a loader for a library's network, else a program, or none.

    A network from the user's own file gets no loader: on another machine it would not find that file.
    """
    loader, program = RUNS_ALONE
    try:
        if checkpoint.spec.name.partition("/")[0] in LIBRARIES["model"]:
            return {loader: loader_source(checkpoint, path / loader).encode()}
    except StructureError:
        pass
    try:
        described = metadata(checkpoint, pixels=False, softmax=False)
        return {program: pt2_bytes(deployed(checkpoint.model), checkpoint.spec.input, described)}
    except StructureError:
        return {}


def config(checkpoint: Checkpoint, head: Header) -> dict[str, Any]:
    """The content of config.json: the classes, our header under "prunectl", and what the network's library reads.

    A shrunk network fits no library's code, so its folder lacks the last one.
    """
    names = checkpoint.names or tuple(str(i) for i in range(head.model.classes))
    library, _, short = head.model.name.rpartition("/")
    found: dict[str, Any] = {"architectures": [short or head.model.name], "num_classes": head.model.classes}
    if not head.edits and library == "timm":
        found |= {"architecture": short, **_for_timm(head)}
    if not head.edits and library == "transformers":
        found |= checkpoint.model.config.to_dict()  # type: ignore[union-attr, operator]
    labels = {"id2label": {str(i): name for i, name in enumerate(names)}}
    return {**found, **labels, "label2id": {name: i for i, name in enumerate(names)}, KEY: json.loads(head.to_json())}


def _for_timm(head: Header) -> dict[str, Any]:
    """The values that `timm.create_model("local-dir:FOLDER", pretrained=True)` reads."""
    rule, (channels, height, width) = head.resize, head.model.input
    use = {
        "input_size": [channels, height, width],
        "mean": list(head.mean),
        "std": list(head.std),
        **({} if rule is None else {"crop_pct": rule.crop, "interpolation": rule.interpolation}),
        **({"label_names": list(head.names)} if head.names else {}),
        "num_classes": head.model.classes,
    }
    built = {**head.model.options, **({} if channels == 3 else {"in_chans": channels})}
    return {"pretrained_cfg": use, "model_args": built}


def preprocessor(head: Header) -> dict[str, Any]:
    """The content of preprocessor_config.json; CLIP's processor does exactly these steps."""
    rule, (_, height, width) = head.resize, head.model.input
    found: dict[str, Any] = {"image_processor_type": "CLIPImageProcessor", "do_convert_rgb": head.model.input[0] == 3}
    if rule is None:
        found |= {"do_resize": True, "size": {"height": height, "width": width}, "do_center_crop": False}
    else:
        found |= {
            "do_resize": True,
            "size": {"shortest_edge": rule.shorter_side},
            "resample": PILLOW[rule.interpolation],
            "do_center_crop": True,
            "crop_size": {"height": rule.size, "width": rule.size},
        }
    scale = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    return {**found, **scale, "image_mean": list(head.mean), "image_std": list(head.std)}


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2) + "\n"
