"""What a report reads, and its notices for files that are broken, incomplete or missing."""

import pytest
from torch import nn

import prunectl
from prunectl.checkpoints.results import LOADER
from prunectl.data import loader
from prunectl.data.load import load_data
from prunectl.errors import CheckpointError, FileError
from prunectl.reporting.sources import collect
from tests.helpers.report_folders import TRAIN, checkpoint, measure


@pytest.fixture
def dense(tmp_path):
    path = checkpoint(tmp_path, "dense", ("train", {**TRAIN, "seed": 0}))
    measure(path, 0.9)
    return path


def test_a_line_that_was_cut_off_is_a_notice(dense, tmp_path, raw):
    for name in ("dense.results.jsonl", "dense.log.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write('{"command": "eval", "accu')
    (source,) = collect([dense]).given
    assert (len(source.results), len(source.log)) == (1, 3)
    assert raw("report", "dense.safetensors").err.splitlines() == [
        "report: dense.results.jsonl: line 2 is not a complete record; left out",
        "report: dense.log.jsonl: line 4 is not a complete record; left out",
    ]


@pytest.mark.parametrize("line", [b"[1]", b"\xff\xfe", b'"text"'])
def test_a_line_that_is_no_record_is_a_notice(dense, tmp_path, line):
    (tmp_path / "dense.log.jsonl").write_bytes(line + b"\n")
    found = collect([dense])
    assert (found.given[0].log, found.notices) == (
        (),
        (f"{tmp_path}/dense.log.jsonl: line 1 is not a complete record; left out",),
    )


def test_results_of_another_checkpoint_are_a_notice(dense, tmp_path):
    results = tmp_path / "dense.results.jsonl"
    results.write_text(
        results.read_text() + '{"command": "eval", "checkpoint": "0000", "data": {"name": "digits"}, "accuracy": 0.5}\n'
    )
    assert collect([dense]).notices == (f"{results}: 1 of 2 results are of another checkpoint; left out",)


def test_results_and_logs_replace_a_checkpoint_that_is_gone(dense, tmp_path):
    dense.unlink()
    for given in ("dense.results.jsonl", "dense.log.jsonl", "."):
        found = collect([tmp_path / given])
        (source,) = found.given
        assert (source.path, source.seen, source.measured["accuracy"]) == (dense, None, 0.9)
        assert found.notices == (f"{dense} does not exist; only its results and log are shown",)


def test_a_folder_means_its_checkpoints(dense, tmp_path):
    measure(checkpoint(tmp_path, "also", ("train", {**TRAIN, "seed": 1})), 0.8)
    (tmp_path / "also.mask.safetensors").write_bytes(b"no checkpoint")
    (tmp_path / "also.examples.safetensors").write_bytes(b"no checkpoint")
    assert [source.path.name for source in collect([tmp_path]).given] == ["also.safetensors", "dense.safetensors"]


def test_a_pattern_may_match_masks(dense, tmp_path):
    (tmp_path / "dense.mask.safetensors").write_bytes(b"no checkpoint")
    assert [s.path for s in collect([dense, tmp_path / "dense.mask.safetensors"]).given] == [dense]


def test_a_damaged_checkpoint_is_a_notice_among_others_and_refused_alone(dense, tmp_path):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"")
    found = collect([dense, bad])
    assert [source.path for source in found.given] == [dense]
    assert found.notices == (f"left out: {bad} is empty: the program that wrote it failed; use an intact copy",)
    with pytest.raises(CheckpointError, match=r"bad.safetensors is empty"):
        collect([bad])


@pytest.mark.parametrize("name", ["gone.safetensors", "gone.log.jsonl", "gone.results.jsonl"])
def test_a_missing_file_is_a_notice_among_others_and_refused_alone(name, dense, tmp_path):
    gone = tmp_path / name
    with pytest.raises(FileError, match=rf"cannot read .*{name}: no such file or directory; check the path"):
        collect([gone])
    found = collect([gone, dense])
    assert [source.path for source in found.given] == [dense]
    assert found.notices == (
        f"left out: cannot read {tmp_path / 'gone.safetensors'}: no such file or directory; check the path",
    )


def test_every_ancestor_has_its_own_lineage(tmp_path):
    train, prune = ("train", {**TRAIN, "seed": 0}), ("prune", {"criterion": "snip", "sparsity": 0.5, "seed": 0})
    for steps in (1, 2, 3):
        checkpoint(tmp_path, f"a{steps}", *[train, prune, train][:steps])
        checkpoint(tmp_path, f"b{steps}", *[("train", {**TRAIN, "seed": 1}), prune, train][:steps])
    found = collect([tmp_path / "a3.safetensors", tmp_path / "b3.safetensors"], parents=True)
    lineage = {path.stem: [source.path.stem for source in before] for path, before in found.lineage.items()}
    assert lineage == {"a1": [], "a2": ["a1"], "a3": ["a1", "a2"], "b1": [], "b2": ["b1"], "b3": ["b1", "b2"]}


def test_accuracies_on_other_data_only_are_a_notice(tmp_path):
    path = checkpoint(tmp_path, "dense", ("train", {**TRAIN, "seed": 0}))
    measure(path, 0.4, data={"name": "noise"})
    found = collect([path])
    assert found.given[0].measured["accuracy"] == 0.4
    assert found.notices == (f"{path}: measured only on noise, but its own data is digits",)
    results = tmp_path / "dense.results.jsonl"
    on_noise = results.read_text()
    measure(path, 0.9)
    results.write_text(results.read_text() + on_noise)
    found = collect([path])
    assert (found.given[0].measured["accuracy"], found.notices) == (0.9, ())


def test_results_that_are_no_file_are_a_notice(dense, tmp_path, raw, cli):
    results = tmp_path / "dense.results.jsonl"
    results.unlink()
    results.mkdir()
    assert collect([dense]).notices == (
        f"left out: cannot read {results}: Is a directory; make it readable, or move it away",
    )
    assert raw("log", "dense.safetensors").err == (
        "prunectl: cannot read dense.results.jsonl: Is a directory; make it readable, or move it away\n"
    )


def test_the_own_data_is_that_of_the_last_training(tmp_path):
    on = {"name": "pets", "source": "x:pets"}
    steps = [("train", {**TRAIN, "seed": 0}), ("train", {**TRAIN, "seed": 0, "data": on})]
    path = checkpoint(tmp_path, "fine", *steps)
    measure(path, 0.8, data={"name": "pets", "source": "x:./pets"})
    results = tmp_path / "fine.results.jsonl"
    on_pets = results.read_text()
    assert not any("measured only on" in notice for notice in collect([path]).notices)
    measure(path, 0.4)
    results.write_text(on_pets + results.read_text())
    assert collect([path]).given[0].measured["accuracy"] == 0.8


def test_the_own_data_after_a_loader_is_what_the_header_says(tmp_path):
    assert LOADER == loader.NAME
    for data, on, notices in (
        ("digits", "digits", 0),  # prunectl.save(..., data="digits")
        ("digits", "mnist", 1),
        ("", "mnist", 0),  # nothing says which images the loader had
    ):
        path = checkpoint(tmp_path, "net", ("train", {**TRAIN, "seed": 0, "data": {"name": "loader"}}), data=data)
        measure(path, 0.8, data={"name": on})
        assert len(collect([path]).notices) == notices, (data, on)
    named = {"name": "loader", "source": "own.py:loader"}
    path = checkpoint(tmp_path, "net", ("train", {**TRAIN, "seed": 0, "data": named}))
    measure(path, 0.8, data={"name": "digits"})
    assert collect([path]).notices == (f"{path}: measured only on digits, but its own data is loader",)


def test_a_network_trained_on_a_loader_and_saved_with_its_data_has_no_notice(tmp_path, cli):
    digits = load_data("digits", image_size=8)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    images = [(digits.preprocessing(pixels), labels) for pixels, labels in digits.train.batches(500)]
    small = prunectl.shrink(
        prunectl.prune(prunectl.train(net, images, epochs=1), images, criterion="snap", sparsity=0.5)
    )
    mean, std = digits.preprocessing.mean, digits.preprocessing.std
    build = "tests.helpers.own_networks:hidden"
    path = prunectl.save(small, tmp_path / "small.safetensors", model=build, data="digits", mean=mean, std=std)
    cli("eval", "small.safetensors", "--no-latency", "--trust")
    found = collect([path])
    assert (found.notices, found.given[0].measured["data"]["name"]) == ((), "digits")
