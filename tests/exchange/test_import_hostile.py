"""Files that want to run, to reach out or to fill the memory: one line each, nothing run, nothing written."""

import ast
import io
import json
import os
import pickle
import resource
import struct
import warnings
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from prunectl.checkpoints.checkpoint import write
from prunectl.checkpoints.header import KEY, read_toc
from prunectl.cli import output
from prunectl.exchange.loader_py import loader_source
from tests.helpers.foreign import BUILDER, USE, Net
from tests.helpers.random_checkpoints import dense_checkpoint

IMPORT = ("--model", BUILDER, *USE, "-o", "out.safetensors")


class _Runs:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


class _Calls:
    """Calls what the reader of plain weights allows."""

    def __init__(self, what: object, *arguments: object) -> None:
        self.call = (what, arguments)

    def __reduce__(self):
        return self.call


def zipped(value: object, **records: bytes) -> bytes:
    """A zip file as `torch.save` writes it, around any pickle."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("net/data.pkl", pickle.dumps(value, protocol=2))
        archive.writestr("net/version", "3\n")
        for name, record in records.items():
            archive.writestr(f"net/data/{name}", record)
    return data.getvalue()


def deflated() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", b"\x80\x02}." + bytes(1_000_000))
    return data.getvalue()


def stretched() -> bytes:
    """A billion elements, all the same one."""
    data = io.BytesIO()
    torch.save(OrderedDict({"head.weight": torch.zeros(1).expand(1_000_000_000)}), data)
    return data.getvalue()


def overdrawn() -> bytes:
    """A storage said to have a billion elements, of which the file has one."""
    data = io.BytesIO()
    torch.save({"head.weight": torch.zeros(99)}, data)
    source, target = zipfile.ZipFile(data), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                assert content.count(b"Kc") >= 1  # 99
                content = content.replace(b"Kc", b"J" + struct.pack("<i", 1_000_000_000))
            archive.writestr(name, content)
    return target.getvalue()


def safetensors_with(entry: dict[str, object], data: bytes = bytes(16)) -> bytes:
    text = json.dumps({"head.weight": entry}).encode()
    return struct.pack("<Q", len(text)) + text + data


ENTRY = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
FILES = {
    "code.pt": lambda place: zipped({"state_dict": _Runs(place)}),
    "code.bin": lambda place: pickle.dumps(_Runs(place), protocol=2),
    "protocol4.pt": lambda place: pickle.dumps(_Runs(place), protocol=4),
    "bytes.pt": lambda _: zipped({"a": _Calls(bytearray, 4_000_000_000)}),
    "tensor.pt": lambda _: zipped({"a": _Calls(torch.Tensor, 40_000, 40_000)}),
    "stretched.pt": lambda _: stretched(),
    "overdrawn.pt": lambda _: overdrawn(),
    "deflated.pt": lambda _: deflated(),
    "empty.pt": lambda _: b"",
    "text.pt": lambda _: b"<!DOCTYPE html>\n<p>404 not found\n",
    "zip.pt": lambda _: zipped({})[:60],
    "list.pt": lambda _: zipped([1, 2]),
    "numbers.pt": lambda _: zipped({"a": 1}),
    "shape.safetensors": lambda _: safetensors_with({**ENTRY, "shape": [1_000_000, 1_000]}),
    "negative.safetensors": lambda _: safetensors_with({**ENTRY, "shape": [-2, -2]}),
    "dtype.safetensors": lambda _: safetensors_with({**ENTRY, "dtype": "F99"}),
    "beyond.safetensors": lambda _: safetensors_with({**ENTRY, "data_offsets": [0, 4_000_000_000]}),
    "other.safetensors": lambda _: safetensors_with(ENTRY),
    "length.safetensors": lambda _: struct.pack("<Q", 2**63) + b"{}",
    "whole.index.json": lambda _: b'{"weight_map": 3}',
    "deep.index.json": lambda _: b"[" * 100_000,
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_or_damaged_file_is_one_line(name, tmp_path, refused) -> None:
    (tmp_path / name).write_bytes(FILES[name](tmp_path / "ran"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused("import", name, *IMPORT)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 300_000  # kB
    assert not (tmp_path / "ran").exists()


def test_a_file_with_code_says_how_to_convert_it(tmp_path, refused) -> None:
    (tmp_path / "code.pt").write_bytes(zipped({"state_dict": _Runs(tmp_path / "ran")}))
    line = refused("import", "code.pt", *IMPORT)
    assert "holds posix.mkdir, which only Python's full unpickler reads, and that runs any code" in line


WITH_CODE = {
    "module": lambda net: torch.save(net, "net.pt"),
    "nested": lambda net: torch.save({"state_dict": net.state_dict(), "place": Path("a")}, "net.pt"),
    "pickle": lambda net: Path("net.pt").write_bytes(pickle.dumps(net.state_dict())),
    "legacy": lambda net: torch.save(net, "net.pt", _use_new_zipfile_serialization=False),
}


@pytest.mark.parametrize("kind", WITH_CODE)
def test_the_lines_that_convert_a_file_work(kind, tmp_path, refused, cli, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    WITH_CODE[kind](Net())
    line = refused("import", "net.pt", *IMPORT)
    lines = line.partition("convert it in Python: ")[2]
    exec(lines, {})
    assert cli("import", "net.weights.pt", *IMPORT) == "out.safetensors\n"


@pytest.mark.parametrize("name", ["/etc/passwd", "../net.safetensors", "..", "", "deep/net.safetensors", 3, None])
def test_an_index_names_files_of_its_own_folder_only(name, tmp_path, refused) -> None:
    (tmp_path / "theirs").mkdir()
    save_file(Net().state_dict(), tmp_path / "net.safetensors")
    index = {"weight_map": dict.fromkeys(Net().state_dict(), name)}
    (tmp_path / "theirs" / "model.safetensors.index.json").write_text(json.dumps(index))
    line = refused("import", "theirs/model.safetensors.index.json", *IMPORT)
    assert "expected a file in its own folder; nothing was read" in line


def test_an_index_whose_shard_is_a_link_out_of_its_folder(tmp_path, refused) -> None:
    (tmp_path / "theirs").mkdir()
    save_file(Net().state_dict(), tmp_path / "net.safetensors")
    (tmp_path / "theirs" / "a.safetensors").symlink_to(tmp_path / "net.safetensors")
    index = {"weight_map": dict.fromkeys(Net().state_dict(), "a.safetensors")}
    (tmp_path / "theirs" / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "a link that leads out of its folder" in refused("import", "theirs", *IMPORT)


def test_an_index_that_expects_more_than_its_shards_hold(tmp_path, refused) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    (tmp_path / "net.index.json").write_text(json.dumps({"weight_map": {"a": "a.safetensors", "b": "a.safetensors"}}))
    assert "expects b in a.safetensors, which does not hold it" in refused("import", "net.index.json", *IMPORT)


@pytest.mark.parametrize(
    ("file", "what"),
    [("absent.pt", "no such file"), ("/dev/null", "not a regular file"), (".", "holds no weights")],
)
def test_what_is_no_file_is_one_line(file, what, refused) -> None:
    assert what in refused("import", file, *IMPORT)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_a_pipe_in_a_folder_is_not_waited_for(name, tmp_path, raw) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    if name == "config.json":
        save_file(Net().state_dict(), folder / "model.safetensors")
    os.mkfifo(folder / name)
    ran = raw("import", "theirs", *IMPORT)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert f"theirs/{name} is not a regular file" in ran.err
    assert not (tmp_path / "out.safetensors").exists()


def test_a_name_cannot_end_the_text_that_a_loader_has_it_in(tmp_path) -> None:
    checkpoint = dense_checkpoint("torchvision/squeezenet1_1", (3, 32, 32))
    own = ast.parse(loader_source(checkpoint, tmp_path / "a.py"))
    for evil in ('x"""\nimport os\n"""', "x\\", 'x"""; print(1); """', "x'''"):
        spec = replace(checkpoint.spec, name=f"torchvision/{evil}")
        found = ast.parse(loader_source(replace(checkpoint, spec=spec), tmp_path / "a.py"))
        assert [type(node) for node in found.body] == [type(node) for node in own.body]
        assert "written by prunectl" in str(ast.get_docstring(found))


def test_names_that_could_be_code_or_steer_a_terminal_are_none(tmp_path, refused) -> None:
    write(dense_checkpoint("torchvision/squeezenet1_1", (3, 32, 32)), tmp_path / "net.safetensors")
    toc = read_toc(tmp_path / "net.safetensors")
    head = json.loads(toc.metadata[KEY])
    for model, line in (
        ({"options": {"a=print(1)": 1}}, "has no option 'a=print(1)'"),
        ({"name": "torchvision/\x1b[2J"}, "wrong type of value under model.name"),
    ):
        text = json.dumps({**head, "model": {**head["model"], **model}})
        save_file(load_file(toc.path), tmp_path / "evil.safetensors", {KEY: text})
        assert line in refused("export", "evil.safetensors", "-o", "evil.py")


def test_a_line_on_the_terminal_shows_control_characters(capsys) -> None:
    output.say("a class \x1b[2J\x07 of caf\u00e9\n  and more")
    assert capsys.readouterr().err == "a class \\x1b[2J\\x07 of caf\u00e9\\n  and more\n"


def test_a_checkpoint_of_ours_is_no_import(tiny, refused) -> None:
    assert "already a prunectl checkpoint" in refused("import", "tiny.safetensors", *IMPORT)


def test_a_program_of_torchscript_is_one_line(tmp_path, refused) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(Net(), torch.zeros(1, 3, 16, 16)), tmp_path / "net.pt")
    assert "is a TorchScript program" in refused("import", "net.pt", *IMPORT)


def test_how_torch_wrote_before_1_6_is_read(tmp_path, cli) -> None:
    torch.save(Net().state_dict(), tmp_path / "net.pt", _use_new_zipfile_serialization=False)
    assert cli("import", "net.pt", *IMPORT) == "out.safetensors\n"
