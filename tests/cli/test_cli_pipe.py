"""What a command leaves on stdout, on stderr and beside its checkpoint, and how commands stand in a pipe."""

import csv
import io
import json
import os
import subprocess

import pytest
import torch

from tests.helpers.running import PROGRAM, listing, run_cli, run_line, run_shell

PATH_LINES = {
    "train --model lenet300 --epochs 0": "lenet300-digits.train.safetensors",
    "train --model lenet300 --epochs 0 --data synthetic": "lenet300-synthetic.train.safetensors",
    "train --model mlp5 -M hidden=4 --epochs 0 -o own.st": "own.st",
    "prune --model lenet300 -c random": "lenet300-digits.prune.safetensors",
    "train net.safetensors --epochs 0": "net.train.safetensors",
    "prune net.safetensors -c snip -O batches=1": "net.prune.safetensors",
    "shrink net.prune.safetensors": "net.prune.shrink.safetensors",
    "eval net.safetensors --no-latency": "net.safetensors",
    "attack net.safetensors -a fgsm -n 4 --eps 0.1": "net.safetensors",
}


@pytest.mark.parametrize(("line", "path"), PATH_LINES.items())
def test_stdout_is_the_path_of_the_result_and_nothing_else(line, path, net, cli, tmp_path):
    assert cli(*line.split(), *([] if line.split()[0] in ("eval", "attack") else ["--force"])) == f"{path}\n"
    assert (tmp_path / path).is_file()


def test_the_output_stands_beside_its_checkpoint_in_another_folder(net, cli, tmp_path):
    (tmp_path / "sub").mkdir()
    net.rename(tmp_path / "sub" / "net.safetensors")
    assert cli("prune", "sub/net.safetensors") == "sub/net.prune.safetensors\n"
    assert (tmp_path / "sub" / "net.prune.mask.safetensors").is_file()


@pytest.mark.parametrize("dash", [["-"], []])
def test_a_path_on_stdin_stands_for_the_checkpoint(dash, net, cli):
    assert cli("prune", *dash, "--force", stdin="net.safetensors\nsecond line\n") == "net.prune.safetensors\n"
    assert "net.safetensors: lenet300" in cli("inspect", *dash, stdin="net.safetensors\n")
    assert [row["checkpoint"] for row in json.loads(cli("report", *dash, "--json", stdin="net.safetensors"))] == [
        "net.safetensors"
    ]


@pytest.mark.parametrize("command", ["train", "prune", "repair", "shrink", "eval", "attack", "report", "inspect"])
def test_an_empty_stdin_means_that_the_step_before_failed(command, refused):
    line = (
        "prunectl: stdin is empty: the previous command failed (set -o pipefail), or CHECKPOINT is missing; expected "
    )
    forms = "a path on stdin, or a new network with --model" if command in ("train", "prune") else "or a path on stdin"
    for told in (refused(command), refused(command, "-", stdin="\n")):
        assert told == f"{line}NAME.safetensors, {forms}\n"


def test_bytes_on_stdin_are_no_path(net, refused):
    assert "stdin holds bytes, expected the path of a checkpoint" in refused("eval", stdin=net.read_bytes())


def test_a_terminal_is_not_read(refused):
    assert refused("eval", stdin=None) == "prunectl: no CHECKPOINT; expected NAME.safetensors, or a path on stdin\n"
    told = refused("train", stdin=None)
    assert (
        told == "prunectl: no CHECKPOINT; expected NAME.safetensors, a path on stdin, or a new network with --model\n"
    )


def test_a_closed_stdin_or_stderr_is_an_empty_one(tiny, tmp_path):
    assert run_shell(tmp_path, "prunectl inspect <&-").err.startswith("prunectl: stdin is empty: ")
    assert run_shell(tmp_path, "prunectl inspect missing.safetensors 2>&-").out == ""


def test_eval_and_attack_append_a_line_each_and_change_nothing(net, cli, tmp_path):
    before = listing(tmp_path)
    cli("eval", net.name, "--no-latency")
    cli("attack", net.name, "-a", "fgsm", "-n", 8, "--eps", "0.1,8/255")
    cli("eval", net.name, "--no-latency")
    results = tmp_path / "net.results.jsonl"
    first, second, third = (json.loads(line) for line in results.read_text().splitlines())
    assert [first["command"], second["command"], third["command"]] == ["eval", "attack", "eval"]
    assert {first["checkpoint"], second["checkpoint"], third["checkpoint"]} == {before["net.safetensors"]}
    assert (first["images"], first["data"]) == (355, {"name": "digits"})
    assert (second["images"], [r["eps"] for r in second["results"]]) == (8, [8 / 255, 0.1])
    assert {**third, "time": 0, "peak_memory_bytes": 0} == {**first, "time": 0, "peak_memory_bytes": 0}
    after = listing(tmp_path)
    after.pop("net.results.jsonl")
    assert after == before


def test_held_out_images_are_for_networks_that_were_not_trained_on_them(net, cli, refused):
    assert "--tuning measures on training images" in refused("eval", net.name, "--no-latency", "--tuning")
    cli("train", "--model", "lenet300", "--tuning", "--epochs", 1, "-o", "tuned.safetensors")
    record = json.loads(cli("eval", "tuned.safetensors", "--no-latency", "--tuning", "--json"))
    assert (record["images"], record["data"]) == (288, {"name": "digits", "tuning": True})
    assert json.loads(cli("report", "tuned.safetensors", "--json"))[0]["data"] == "digits (held out)"


def test_json_prints_the_record_in_place_of_the_path(net, cli, tmp_path):
    evaluated = json.loads(cli("eval", net.name, "--no-latency", "--json"))
    attacked = json.loads(cli("attack", net.name, "-a", "fgsm", "-n", 8, "--eps", "0.1", "--json"))
    lines = (tmp_path / "net.results.jsonl").read_text().splitlines()
    assert [evaluated, attacked] == [json.loads(line) for line in lines]
    assert (evaluated["weights"], evaluated["parameters"], evaluated["flops"]) == (266_200, 267_410, 532_400)


@pytest.mark.long
def test_latency_is_in_the_record_where_it_was_not_turned_off(tiny, cli):
    record = json.loads(cli("eval", tiny.name, "--json"))
    assert [entry["batch"] for entry in record["latency"]] == [1, 64]


def test_a_missed_threshold_exits_3_and_is_recorded(net, raw, tmp_path):
    ran = raw("eval", net.name, "--no-latency", "--min-accuracy", "1")
    assert (ran.code, ran.out) == (3, "net.safetensors\n")
    assert ran.err.splitlines()[-1].endswith("is below --min-accuracy 1.0")
    assert json.loads((tmp_path / "net.results.jsonl").read_text())["command"] == "eval"
    assert raw("eval", net.name, "--no-latency", "--min-accuracy", "0.0").code == 0
    for wrong in ("nan", "90", "-1"):
        told = raw("eval", net.name, "--no-latency", "--min-accuracy", wrong)
        assert (told.code, told.err) == (1, f"prunectl: --min-accuracy must be between 0 and 1, got {wrong}\n")


def test_criteria_lists_every_name(cli):
    rows = json.loads(cli("criteria", "--json"))
    assert {"snip", "snipit", "magnitude", "random", "auto"} <= {row["name"] for row in rows}
    assert [line.split()[0] for line in cli("criteria").splitlines()] == ["name", *(row["name"] for row in rows)]


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    made = {}
    for i, (name, seed) in enumerate((("a", 1), ("b", 1), ("c", 2))):
        torch.manual_seed(i)  # what this process drew before must not matter
        folder = tmp_path / name
        folder.mkdir()
        path = ""
        for line in (
            "train --model mlp5 -M hidden=16 --epochs 1 --subset 200 --augment flip,crop",
            "prune --criterion random --sparsity 0.97",
            "train --epochs 1 --subset 200",
            "shrink",
        ):
            seeded = [] if line == "shrink" else ["--seed", seed]
            path = run_cli(folder, *line.split(), *seeded, stdin=path).out
        made[name] = {file: digest for file, digest in listing(folder).items() if file.endswith(".safetensors")}
    assert path == "mlp5-digits.train.prune.train.shrink.safetensors\n"
    assert len(made["a"]) == 7  # four checkpoints, and a mask file for each but the first
    assert made["a"] == made["b"]
    assert not set(made["a"].values()) & set(made["c"].values())


def test_a_pipe_of_a_shell(net, tmp_path):
    ran = run_shell(
        tmp_path,
        "prunectl prune net.safetensors --criterion snipit --sparsity 0.99 -o pruned.safetensors"
        " | prunectl report --csv --parents",
    )
    assert ran.code == 0, ran.err
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["steps"] for row in rows] == ["train(1)", "train(1) prune(snipit 0.99)"]


def test_a_pipe_from_training_to_the_report(tmp_path):
    ran = run_line(
        tmp_path,
        "prunectl train --model lenet300 --data digits --epochs 1 --subset 256 | prunectl eval --no-latency"
        " | prunectl prune --criterion snipit --sparsity 0.98 | prunectl train --epochs 1 --subset 256"
        " | prunectl shrink | prunectl eval --no-latency | prunectl attack -a fgsm -n 32 --eps 8/255"
        " | prunectl report --csv --parents",
    )
    assert ran.code == 0, ran.err
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    dense, pruned, trained, small = rows
    assert [row["steps"] for row in (dense, small)] == ["train(1)", "train(1) prune(snipit 0.98) train(1) shrink"]
    assert (dense["weights"], pruned["weights"], trained["weights"]) == ("266200", "5324", "5324")
    assert int(small["flops"]) < int(trained["flops"]) == 532_400
    assert float(small["weight_sparsity"]) >= 0.98
    assert dense["accuracy"] and small["accuracy"] and not pruned["accuracy"]
    assert small["robust"].startswith("fgsm on 32 of 355 images@0.03137=")


def test_a_failing_first_step_leaves_nothing_behind(tmp_path):
    ran = run_shell(tmp_path, "prunectl train --model lenet30 | prunectl eval | prunectl report")
    assert (ran.code, ran.out) == (1, "")
    assert sorted(ran.err.splitlines()) == [
        "prunectl: no model named 'lenet30'; did you mean 'lenet300'?",
        *[
            "prunectl: stdin is empty: the previous command failed (set -o pipefail), or CHECKPOINT is missing; "
            "expected NAME.safetensors, or a path on stdin"
        ]
        * 2,
    ]
    assert listing(tmp_path) == {}


@pytest.mark.parametrize("arguments", [["inspect", "tiny.safetensors"], ["report", "tiny.safetensors"], ["--help"]])
def test_a_closed_stdout_is_silent(arguments, tiny, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([*PROGRAM, *arguments], cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
