"""What a checkpoint says of itself, what follows from it, and what its two files hold."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

import prunectl
from prunectl.checkpoints import checkpoint as module
from prunectl.checkpoints.checkpoint import read, write
from prunectl.checkpoints.header import read_header, read_toc
from prunectl.checkpoints.history import HistoryEntry
from prunectl.checkpoints.names import mask_path
from prunectl.data.load import load_data
from prunectl.errors import CheckpointError, UntrustedCode
from prunectl.models.fresh import fresh
from tests.helpers.checkpoint_parts import joined, parts, refusal, same


def test_another_device_gets_a_copy_and_the_same_device_the_network_itself(masked) -> None:
    there = masked.to(torch.device("meta"))
    assert (
        {p.device.type for p in there.model.parameters()} == {"meta"} == {m.device.type for m in there.masks.values()}
    )
    assert there.device == torch.device("meta")
    assert masked.device == torch.device("cpu")
    assert {m.device.type for m in masked.masks.values()} == {"cpu"}
    assert masked.to(torch.device("cpu")).model is masked.model


def test_the_proof_is_that_of_the_last_shrink(dense) -> None:
    assert dense.proof == {}
    shrinks = [HistoryEntry("shrink", result={"proof": {"float64": found}}) for found in (1e-12, 2e-13)]
    assert replace(dense, history=(*shrinks, HistoryEntry("train"))).proof == {"float64": 2e-13}


def test_a_command_adds_an_entry_and_its_result_stands_there(dense) -> None:
    begun = replace(dense, sha256="ab")
    done = begun.after("shrink", {"norm": "exact"}, data="others").with_result({"nodes": 3})
    *earlier, last = done.history
    assert (tuple(earlier), done.data, done.sha256, done.model) == (dense.history, "others", None, dense.model)
    assert (last.command, last.options, last.result, last.parent) == ("shrink", {"norm": "exact"}, {"nodes": 3}, "ab")
    assert last.threads == torch.get_num_threads()
    assert last.versions["torch"] == torch.__version__
    assert begun.history == dense.history


def test_the_dense_original_is_built_by_its_name_or_by_the_builder_that_was_given(dense) -> None:
    assert [*dense.dense_network().state_dict()] == [*dense.model.state_dict()]
    own = replace(dense, builder=lambda: nn.Linear(2, 3))
    assert own.fresh_network().weight.shape == own.dense_network().weight.shape == (3, 2)


def test_a_mask_file_names_its_pair_and_its_shapes(written, masked) -> None:
    toc = read_toc(written / "masked.mask.safetensors")
    head = json.loads(toc.metadata["prunectl"])
    pair = read_header(written / "masked.safetensors")[0].pair
    shapes = {name: list(mask.shape) for name, mask in masked.masks.items()}
    assert head == {"schema": 1, "pair": pair, "shapes": shapes}
    assert len(pair) == 16
    assert {name: kind for name, (kind, *_) in toc.tensors.items()} == dict.fromkeys(masked.masks, "U8")


def test_texts_of_others_stand_beside_the_header(dense, tmp_path) -> None:
    write(dense, tmp_path / "plain.safetensors")
    write(dense, tmp_path / "told.safetensors", {"format": "pt", "made": "today"})
    plain, told = (read_toc(tmp_path / f"{name}.safetensors").metadata for name in ("plain", "told"))
    assert told == {**plain, "format": "pt", "made": "today"}


def test_a_mapped_network_has_the_numbers_of_its_file(folder, dense) -> None:
    """Masks are not applied: that would write to each tensor, and so take memory for it."""
    path = folder / "masked.safetensors"
    path.write_bytes(save(dict(dense.model.state_dict()), {"prunectl": read_toc(path).metadata["prunectl"]}))
    mapped = read(path, mapped=True)
    assert same(mapped.model.state_dict(), dense.model.state_dict())
    assert not same(read(path).model.state_dict(), dense.model.state_dict())
    assert same(dict(mapped.masks), dict(read(path).masks))


def test_only_a_mapped_network_lies_in_its_file(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    for mapped, other in ((True, "read_tensors"), (False, "map_tensors")):
        with monkeypatch.context() as patch:
            patch.delattr(module, other)
            assert read(folder / "dense.safetensors", mapped=mapped).data == "digits"


OWN = """
from torch import nn

def own(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(4, classes))
"""


def test_code_that_a_file_names_runs_on_consent_alone_and_not_beside_a_builder(tmp_path, monkeypatch) -> None:
    for folder in ("here", "elsewhere"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    Path("own.py").write_text(OWN)
    begun, path = fresh("own.py:own", load_data("synthetic", image_size=2), source="synthetic"), Path("x.safetensors")
    write(begun, path)
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = tmp_path / "here" / path
    assert same(read(path).model.state_dict(), begun.model.state_dict())  # found by the recorded place
    assert read(path).places.keys() == {"own.py:own"}
    monkeypatch.delenv("PRUNECTL_TRUST")
    with pytest.raises(UntrustedCode, match=r"names model 'own\.py:own', whose code would run"):
        read(path)
    (tmp_path / "here" / "own.py").write_text("raise SystemExit('this must not run')")
    back = read(path, model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 10)))
    assert same(back.model.state_dict(), begun.model.state_dict())
    assert back.dense_network()[1].out_features == 10


def test_a_network_that_no_name_builds_needs_a_builder(tmp_path) -> None:
    net, path = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), tmp_path / "x.safetensors"
    write(prunectl.prune(net, input=(1, 4, 4), criterion="magnitude", sparsity=0.5), path)
    with pytest.raises(CheckpointError, match="model="):
        read(path)
    assert read(path, model=net).masks.kept(net) == 24


def damage(path: Path, dtype: str | None) -> None:
    """Let two tensors overlap, or give one a type that nothing here has."""
    entries, tensors = parts(path.read_bytes())
    names = [name for name in entries if name != "__metadata__"]
    first, second = (entries[name] for name in names[:2])
    if dtype is None:
        second |= {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
    else:
        begin, end = first["data_offsets"]
        first |= {"dtype": dtype, "shape": [(end - begin) * (2 if dtype == "F4" else 1)]}
    path.write_bytes(joined(entries, tensors))


@pytest.mark.parametrize("dtype", [None, "F4", "F8_E8M0", "X9"])
def test_tensors_that_overlap_or_are_of_an_unknown_type(folder, dtype) -> None:
    damage(folder / "dense.safetensors", dtype)
    assert refusal(folder / "dense.safetensors").startswith(f"cannot read {folder / 'dense.safetensors'}: ")
    damage(folder / "masked.mask.safetensors", dtype)
    said = refusal(folder / "masked.safetensors")
    assert said.startswith(f"{folder / 'masked.mask.safetensors'} is not a readable mask file (")


@pytest.mark.parametrize("size", [[2**62, 4], [2**64], ["8"], [True, 8], [-4, 2]])
def test_a_mask_of_an_impossible_shape(folder, size) -> None:
    place = folder / "masked.mask.safetensors"
    entries, tensors = parts(place.read_bytes())
    entries["__metadata__"]["prunectl"]["shapes"]["classifier.1.weight"] = size
    place.write_bytes(joined(entries, tensors))
    assert str(place) in refusal(folder / "masked.safetensors")


def test_a_mask_file_that_goes_while_it_is_read_is_one_line(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.read_tensors

    def gone(path: Path) -> dict[str, torch.Tensor]:
        if path == mask_path(folder / "masked.safetensors"):
            path.unlink(missing_ok=True)
        return real(path)

    monkeypatch.setattr(module, "read_tensors", gone)
    with pytest.raises(CheckpointError, match=r"masked\.mask\.safetensors is not a readable mask file"):
        read(folder / "masked.safetensors")


def test_a_mask_file_that_cannot_be_read_says_why_in_one_line(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> torch.Tensor:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(module, "unpack", failing)
    said = refusal(folder / "masked.safetensors")
    assert said == (
        f"{mask_path(folder / 'masked.safetensors')} is not a readable mask file (first line); use an intact copy"
    )
