"""A damaged checkpoint is refused in one line that says where."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from prunectl.checkpoints.checkpoint import write
from prunectl.checkpoints.header import read_header, read_toc
from prunectl.checkpoints.names import check_not_torch, mask_path
from prunectl.errors import CheckpointError, OptionError, UnknownName
from prunectl.masks import pack
from tests.helpers.checkpoint_parts import change, put, random_masks, refusal
from tests.helpers.marks import quick


@pytest.mark.parametrize("step", quick([1, 13], [13]))
@pytest.mark.parametrize("name", ["dense", "masked"])
def test_a_checkpoint_cut_off_anywhere(folder, name, step):
    path = folder / f"{name}.safetensors"
    for length in reversed(range(0, path.stat().st_size, step)):
        os.truncate(path, length)
        assert str(path) in refusal(path)
        with pytest.raises(CheckpointError):  # seen without reading the tensors
            read_header(path)


def test_a_mask_file_cut_off_anywhere(folder):
    path = folder / "masked.safetensors"
    place = mask_path(path)
    for length in reversed(range(place.stat().st_size)):
        os.truncate(place, length)
        assert str(place) in refusal(path)


@pytest.mark.parametrize("name", ["masked.safetensors", "masked.mask.safetensors"])
def test_bytes_that_should_not_be_there(folder, name):
    path = folder / name
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"\0")
    expected = f"{path} is damaged: its header describes {size} bytes, the file has {size + 1}; copy it again"
    assert refusal(folder / "masked.safetensors") == expected


def test_a_missing_mask_file(folder):
    path = folder / "masked.safetensors"
    mask_path(path).unlink()
    expected = f"{path} is masked, but its mask file {mask_path(path)} is missing; copy both files together"
    assert refusal(path) == expected


def test_the_mask_file_of_other_weights(folder, masked):
    write(replace(masked, masks=random_masks(masked.model, seed=1)), folder / "other.safetensors")
    path = folder / "masked.safetensors"
    (folder / "other.mask.safetensors").replace(mask_path(path))
    assert (
        refusal(path) == f"{mask_path(path)} belongs to other weights than {path}; copy both files from the same place"
    )


def test_a_mask_file_of_another_program(folder):
    path = folder / "masked.safetensors"
    save_file({"a": torch.ones(2)}, mask_path(path))
    assert refusal(path).startswith(f"{mask_path(path)} is not a readable mask file")


def cut_bits(folder: Path, name: str, bits: Tensor) -> None:
    """Give the mask file other bits for one tensor, all else in order."""
    place = folder / "masked.mask.safetensors"
    text = read_toc(place).metadata["prunectl"]
    place.write_bytes(save({**load_file(place), name: bits}, {"prunectl": text}))


@pytest.mark.parametrize(
    "bits", [torch.ones(3, dtype=torch.uint8), torch.ones(()).byte(), torch.ones(8), torch.ones(0).byte()]
)
def test_masks_with_too_few_bits_or_of_another_kind(folder, bits):
    cut_bits(folder, "classifier.1.weight", bits)
    found = refusal(folder / "masked.safetensors")
    assert found.startswith(f"{folder / 'masked.mask.safetensors'} is not a readable mask file")


def test_a_mask_of_another_shape(folder):
    cut_bits(folder, "classifier.1.weight", pack(torch.ones(4, 4).bool()))
    change(folder / "masked.mask.safetensors", lambda head: head["shapes"].update({"classifier.1.weight": [4, 4]}))
    found = refusal(folder / "masked.safetensors")
    assert "the mask of classifier.1.weight has shape (4, 4), the network has (8, 8)" in found
    assert str(folder / "masked.safetensors") in found


@pytest.mark.parametrize("schema", [0, 4, "1", None])
def test_another_schema(folder, schema):
    path = folder / "dense.safetensors"
    change(path, put("schema", schema))
    assert refusal(path) == f"{path} has header schema {schema}, this prunectl reads up to 3; update prunectl"


@pytest.mark.parametrize("key", ["schema", "data", "mean", "std", "dense", "weights"])
def test_a_header_without_a_field(folder, key):
    path = folder / "dense.safetensors"
    change(path, lambda head: head.pop(key))
    found = refusal(path)
    assert found.startswith(f"{path} has a damaged prunectl header (")
    assert key in found


@pytest.mark.parametrize(
    "edit",
    [
        put("unknown", 1),
        put("model", None),
        put("model", "unknown", 1),
        put("model", "input", [1, 8]),
        put("model", "input", [1, 8, 8.5]),
        put("model", "input", [1, 8, -8]),
        put("model", "input", ["sh", "-c", "true"]),
        put("model", "input", "188"),
        put("model", "classes", 0),
        put("model", "classes", 1e9),
        put("model", "classes", "10"),
        put("model", "classes", True),
        put("model", "name", None),
        put("model", "options", []),
        put("dense", "unknown", 1),
        put("dense", 5),
        put("pair", 5),
        put("pair", "../x"),
        put("pair", ""),
        put("pair", "a" * 500),
        put("pair", "\0"),
        put("history", 5),
        put("edits", 5),
        put("edits", [5]),
        put("edits", [{"module": "features.3"}]),
        put("edits", [{"module": "features.3", "attribute": "negative_slope", "value": 0.25}]),
        put("edits", [{"module": "features.1", "attribute": "in_features", "value": True}]),
        put("edits", [{"module": "features.1", "attribute": "in_features", "value": "8"}]),
        put("edits", [{"module": "features.1", "attribute": "a.b", "value": 8}]),
        put("edits", [{"module": "features.1", "swap": "group_norm", "width": "8"}]),
        put("mean", 5),
        put("mean", ["x"]),
        put("std", [None]),
    ],
)
def test_a_header_with_a_wrong_field(folder, edit):
    path = folder / "dense.safetensors"
    change(path, edit)
    assert refusal(path).startswith(f"{path} has a damaged prunectl header (")


@pytest.mark.parametrize(
    "edit",
    [
        {"module": "nowhere", "attribute": "width", "value": 2},
        {"module": "features.1", "attribute": "forward", "value": 1},
        {"module": "features.1", "attribute": "training", "value": 1},
        {"module": "features.1", "attribute": "in_features", "value": 65},
        {"module": "features.1", "attribute": "in_features", "value": [64]},
        {"module": "features.1", "swap": "nothing"},
        {"module": "features.1", "swap": "layer_norm", "depth": 3},
        {"module": "features.1", "attribute": "weight", "value": 1},
        {"module": "features.1", "attribute": "__class__", "value": 1},
    ],
)
def test_edits_that_do_not_fit(folder, edit):
    path = folder / "dense.safetensors"
    change(path, put("edits", [edit]))
    assert refusal(path).startswith(f"{path}: network mlp5 cannot be built from its header (")


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        # more than torch can count
        ("mlp5", {"hidden": 10**30}, CheckpointError, "network mlp5 cannot be built from its header ("),
        ("os:getcwd", {}, OptionError, "model os:getcwd must take the shape (C, H, W) of an image and the number"),
    ],
)
def test_a_network_that_cannot_be_built(folder, monkeypatch, name, options, kind, message):
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    path = folder / "dense.safetensors"
    change(path, put("model", "name", name))
    change(path, put("model", "options", options))
    assert refusal(path, kind).startswith(f"{path}: {message}")


def test_a_header_never_calls_a_program(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    path, proof = folder / "dense.safetensors", tmp_path / "proof"
    spec = {"name": "subprocess:Popen", "input": ["touch", str(proof), "x"], "classes": 10, "options": {}}
    change(path, put("model", spec))
    assert refusal(path).startswith(f"{path} has a damaged prunectl header (")
    assert not proof.exists()


def test_an_unknown_network(folder):
    path = folder / "dense.safetensors"
    change(path, put("model", "name", "mlp4"))
    assert refusal(path, UnknownName) == f"{path}: no model named 'mlp4'; did you mean 'mlp5'?"


def test_a_network_that_is_none(folder, monkeypatch):
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    path = folder / "dense.safetensors"
    change(path, put("model", {"name": "builtins:print", "input": [1, 8, 8], "classes": 10, "options": {}}))
    assert refusal(path, OptionError) == f"{path}: model builtins:print returns a NoneType, expected a torch.nn.Module"


def test_an_unknown_option_of_the_network(folder):
    path = folder / "dense.safetensors"
    change(path, put("model", "options", {"width": 8}))
    assert refusal(path, OptionError) == f"{path}: model mlp5 has no option 'width'; its options: hidden=512"


def test_state_that_does_not_fit_the_network(folder):
    path = folder / "dense.safetensors"
    text, state = read_toc(path).metadata["prunectl"], load_file(path)
    bias = state.pop("features.1.bias")
    path.write_bytes(save(state, {"prunectl": text}))
    expected = f"{path} does not fit the network that its header names: missing ['features.1.bias'], unknown nothing"
    assert refusal(path) == expected
    path.write_bytes(save({**state, "features.1.bias": bias, "x": bias.clone()}, {"prunectl": text}))
    expected = f"{path} does not fit the network that its header names: missing nothing, unknown ['x']"
    assert refusal(path) == expected


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("features.1.weight", torch.zeros(8), "is float32 8, expected float32 8x64"),
        ("features.1.weight", torch.zeros(8, 64).int(), "is int32 8x64, expected float32 8x64"),
        ("features.1.weight", torch.zeros(8, 64).half(), "is float16 8x64, expected float32 8x64"),
        ("features.1.bias", torch.zeros(7), "is float32 7, expected float32 8"),
        ("features.1.bias", torch.full((8,), float("nan")), "has values that are not finite"),
        ("features.2.running_var", torch.full((8,), float("inf")), "has values that are not finite"),
    ],
)
def test_a_tensor_of_another_kind(folder, name, tensor, message):
    path = folder / "dense.safetensors"
    text = read_toc(path).metadata["prunectl"]
    path.write_bytes(save({**load_file(path), name: tensor}, {"prunectl": text}))
    assert refusal(path).startswith(f"{path}: {name} {message}")


@pytest.mark.parametrize("found", [[0.0], [-1.0], [float("nan")], ["1"], [1.0, 1.0], []])
def test_a_deviation_that_cannot_be_divided_by(folder, found):
    path = folder / "dense.safetensors"
    change(path, put("std", found))
    assert "under std" in refusal(path)


@pytest.mark.parametrize("length", [640, 896, 1024, 1152])
def test_a_header_whose_length_looks_like_a_pickle_is_none(length: int, tmp_path: Path) -> None:
    """A pickle begins with 0x80 and its protocol, 2 to 5; so does the length of a header of 640 bytes."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}".ljust(length))
    check_not_torch(path)
