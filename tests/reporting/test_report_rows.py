"""Rows of a report come from headers and from results of exactly these files."""

import csv
import hashlib
import io
import json

import pytest

from prunectl.reporting.rows import COLUMNS
from tests.helpers.running import run_without_torch

EVAL = {
    "command": "eval",
    "data": {"name": "digits", "tuning": True},
    "accuracy": 0.5,
    "top5": 0.75,
    "loss": 1.25,
    "node_sparsity": 0.0,
    "nonzero_flops": 160,
    "compressed_bytes": 500,
    "latency": [{"batch": 1, "median_s": 0.0015}, {"batch": 64, "median_s": 0.25}],
}
ATTACK = {"command": "attack", "attack": "pgd", "results": [{"eps": 0.25, "robust_accuracy": 0.125}]}


def note(path, *records: dict, digest: str | None = None) -> None:
    """Append records to the results file of a checkpoint."""
    digest = digest or hashlib.sha256(path.read_bytes()).hexdigest()
    with path.with_name(path.name.replace(".safetensors", ".results.jsonl")).open("a") as file:
        file.writelines(json.dumps({**record, "checkpoint": digest}) + "\n" for record in records)


def rows(cli, *arguments: str) -> list[dict]:
    """The report as JSON."""
    return json.loads(cli("report", *arguments, "--json"))


def test_a_row_of_a_checkpoint_that_nothing_measured(tiny, cli):
    assert rows(cli, "tiny.safetensors") == [
        {
            "checkpoint": "tiny.safetensors",
            "model": "logistic-regression",
            "data": "digits",
            "criterion": "magnitude",
            "target_sparsity": 0.5,
            "seed": 0,
            "steps": "prune(magnitude 0.5)",
            "accuracy": None,
            "top5": None,
            "loss": None,
            "weight_sparsity": 0.5,
            "compression": 2.0,
            "node_sparsity": None,
            "weights": 80,
            "flops": 2 * 160,
            "nonzero_flops": None,
            "speedup": None,
            "training_flops": None,
            "bytes": 4 * 170,
            "compressed_bytes": None,
            "latency_1_s": None,
            "latency_64_s": None,
            **dict.fromkeys(f"latency_{runtime}_{batch}_s" for runtime in ("compiled", "onnx") for batch in (1, 64)),
            "robust": None,
        }
    ]


def test_a_row_of_a_checkpoint_that_was_measured(tiny, cli):
    note(tiny, {**EVAL, "accuracy": 0.25}, EVAL, ATTACK)
    (row,) = rows(cli, "tiny.safetensors")
    measured = ("accuracy", "top5", "loss", "node_sparsity", "nonzero_flops", "compressed_bytes")
    assert [row[key] for key in measured] == [0.5, 0.75, 1.25, 0.0, 160, 500]
    assert (row["latency_1_s"], row["latency_64_s"]) == (0.0015, 0.25)
    assert row["robust"] == {"pgd": [{"eps": 0.25, "robust_accuracy": 0.125}]}


def test_results_of_another_checkpoint_and_lines_cut_off_do_not_count(tiny, cli, tmp_path):
    note(tiny, EVAL)
    note(tiny, {**EVAL, "accuracy": 0.99}, ATTACK, digest="0" * 64)
    results = tmp_path / "tiny.results.jsonl"
    with results.open("a") as file:
        file.write('{"command": "eval", "accuracy": 1.0, "chec')
    (row,) = rows(cli, "tiny.safetensors")
    assert (row["accuracy"], row["robust"]) == (0.5, None)
    tiny.write_bytes((tmp_path / "tiny.safetensors").read_bytes().replace(b'\\"seed\\":0', b'\\"seed\\":1'))
    (row,) = rows(cli, "tiny.safetensors")
    assert row["accuracy"] is None


def test_real_measurements_reach_the_report(net, cli):
    cli("eval", "net.prune.shrink.safetensors", "--no-latency")
    record = json.loads(cli("eval", "net.prune.shrink.safetensors", "--no-latency", "--json"))
    cli("attack", "net.prune.shrink.safetensors", "-a", "fgsm", "-n", 16, "--eps", "0.1")
    (row,) = rows(cli, "net.prune.shrink.safetensors")
    for key in (
        "accuracy",
        "loss",
        "weight_sparsity",
        "node_sparsity",
        "weights",
        "flops",
        "bytes",
        "compressed_bytes",
    ):
        assert row[key] == record[key], key
    assert [result["eps"] for result in row["robust"]["fgsm on 16 of 355 images"]] == [0.1]
    assert row["steps"] == "train(1) prune(magnitude 0.98) shrink"


def test_parents_come_before_their_children_oldest_first(net, cli, tmp_path):
    chain = ["net.safetensors", "net.prune.safetensors", "net.prune.shrink.safetensors"]

    def shown(*arguments: str) -> list[str]:
        return [row["checkpoint"] for row in rows(cli, *arguments)]

    assert shown(chain[2]) == chain[2:]
    assert shown(chain[2], "--parents") == chain
    assert shown(*reversed(chain), "--parents") == chain
    assert shown(*reversed(chain)) == chain[::-1]
    (tmp_path / chain[1]).rename(tmp_path / "zzz.st")
    (tmp_path / "net.prune.mask.safetensors").rename(tmp_path / "zzz.mask.st")
    assert shown(chain[2], "--parents") == [chain[0], "zzz.st", chain[2]]
    (tmp_path / chain[0]).unlink()
    assert shown(chain[2], "--parents") == ["zzz.st", chain[2]]


def test_csv_and_markdown_say_what_json_says(net, tiny, cli):
    note(tiny, EVAL, ATTACK)
    names = ["tiny.safetensors", "net.safetensors"]
    (tiny_row, net_row) = rows(cli, *names)

    read = list(csv.DictReader(io.StringIO(cli("report", *names, "--csv"))))
    assert [list(row) for row in read] == [list(COLUMNS)] * 2
    assert read[0] == {
        **{key: "" if value is None else str(value) for key, value in tiny_row.items()},
        "robust": "pgd@0.25=0.1250",
    }
    assert read[1] == {key: "" if value is None else str(value) for key, value in net_row.items()}

    head, rule, *body = cli("report", *names, "--markdown").splitlines()
    assert rule == "|" + "---|" * len(COLUMNS)
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, *body)]
    assert table[0] == list(COLUMNS)
    first = dict(zip(table[0], table[1], strict=True))
    assert (first["accuracy"], first["latency_1_s"], first["robust"]) == ("0.5", "0.0015", "pgd@0.25=0.1250")
    assert dict(zip(table[0], table[2], strict=True))["weights"] == "266,200"


@pytest.mark.parametrize(
    "formats", [["--json", "--csv"], ["--csv", "--markdown"], ["--latex", "--json"], ["--csv", "-o", "x.html"]]
)
def test_two_formats_at_once_are_refused(formats, tiny, refused):
    assert (
        refused("report", tiny.name, *formats)
        == "prunectl: expected one of --json, --csv, --markdown, --latex and -o\n"
    )


def test_the_table_in_a_pipe_is_plain_and_fits_in_80_columns(tiny, raw, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    levels = [{"eps": i / 255, "robust_accuracy": 0.5} for i in (1, 2, 4, 8)]
    note(tiny, EVAL, *({**ATTACK, "attack": name, "results": levels} for name in ("pgd", "fgsm")))
    long = tiny.rename(tiny.with_name("a-long-name-" * 8 + ".safetensors"))
    tiny.with_name("tiny.results.jsonl").rename(long.with_name(long.name.replace(".safetensors", ".results.jsonl")))
    tiny.with_name("tiny.mask.safetensors").rename(long.with_name(long.name.replace(".safe", ".mask.safe")))
    shown = raw("report", long.name)
    assert (shown.code, shown.err) == (0, "")
    assert "\x1b" not in shown.out
    assert max(len(line) for line in shown.out.splitlines()) <= 80
    for cell in ("50.00%", "0.5000", "320", "680", "1.50 ms", "pgd", "fgsm", "0.0314: 50.00%"):
        assert cell in shown.out, cell


def test_the_table_says_how_to_fill_its_gaps(tiny, raw):
    shown = raw("report", tiny.name)
    assert shown.err == "- = not measured; run `prunectl eval CHECKPOINT`\n"
    assert shown.out.splitlines()[-1].split() == ["tiny", "-", "0.5000", "-", "320", "680", "-"]


def test_a_report_needs_no_torch(tiny, cli, tmp_path):
    note(tiny, EVAL, ATTACK)
    ran = run_without_torch(tmp_path, "report", "tiny.safetensors")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == cli("report", "tiny.safetensors")


def test_attacks_of_different_strength_are_separate_and_eps_of_one_attack_together(tiny, cli):
    level = {"robust_accuracy": 0.5, "success": 0.5}
    weak = {**ATTACK, "attack": "pgd", "options": {"steps": "1"}, "results": [{"eps": 0.2, **level}]}
    strong = [{**ATTACK, "attack": "pgd", "results": [{"eps": e, **level}]} for e in (0.2, 0.1)]
    note(tiny, EVAL, weak, *strong)
    (row,) = json.loads(cli("report", tiny.name, "--json"))
    assert {name: [r["eps"] for r in found] for name, found in row["robust"].items()} == {
        "pgd steps=1": [0.2],
        "pgd": [0.1, 0.2],
    }
