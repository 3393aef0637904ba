"""attack on the command line: stopped and taken up again, its table, its examples."""

import base64
import json
import os
import re
import signal

import pytest
from safetensors import safe_open
from safetensors.torch import load, save

from prunectl.checkpoints.journal import Journal
from prunectl.robustness.attack import Attacker

SHORT = ("-a", "pgd", "-O", "steps=2", "-n", 40, "-b", 10, "--eps", "0.1")


@pytest.fixture
def stop_after_a_batch(monkeypatch):
    """Send Ctrl-C as soon as the first batch of an attack is done."""
    whole = Attacker.batches

    def batches(self, done=()):
        for total in whole(self, done):
            os.kill(os.getpid(), signal.SIGINT)
            yield total

    with monkeypatch.context() as patch:
        patch.setattr(Attacker, "batches", batches)
        yield patch


def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(net, raw, cli, refused, tmp_path, stop_after_a_batch):
    expected = {"images": 40}
    stopped = raw("attack", net.name, *SHORT)
    assert (stopped.code, stopped.out) == (130, "")
    assert re.search(r"interrupted after 10 of 40 images, robust [0-9.]+% so far; continue with the same", stopped.err)
    assert not (tmp_path / "net.results.jsonl").exists()
    part = tmp_path / "net.attack.part.jsonl"
    assert len(part.read_text().splitlines()) == 2
    stop_after_a_batch.undo()
    assert "holds an interrupted attack; continue with --resume" in refused("attack", net.name, *SHORT)
    assert "attack was pgd, is fgsm" in refused("attack", net.name, *SHORT[4:], "-a", "fgsm", "--resume")
    part.write_text(part.read_text() + '{"batch": {"ima')  # cut off by a kill
    record = json.loads(cli("attack", net.name, *SHORT, "--resume", "--json"))
    assert {key: record[key] for key in expected} == expected
    assert not part.exists()
    whole = json.loads(cli("attack", net.name, *SHORT, "--json"))
    assert record["results"] == whole["results"]


EXAMPLES = ("attack", "net.safetensors", *SHORT, "--eps", "0.5", "--save-examples", 12)


def test_examples_of_an_interrupted_attack_are_kept_too(net, raw, cli, refused, tmp_path, stop_after_a_batch):
    stopped = raw(*EXAMPLES)
    assert stopped.code == 130 and stopped.err.endswith("continue with the same command and --resume\n")
    stop_after_a_batch.undo()
    without = EXAMPLES[:-2]
    assert "interrupted attack: examples was 12, is 0; replace it with --force" in refused(*without)
    assert "the interrupted attack: examples was 12, is 0; start again: --force without" in refused(
        *without, "--resume"
    )
    assert "holds an interrupted attack; continue with --resume, or replace it with --force" in refused(*EXAMPLES)
    cli(*EXAMPLES, "--resume")
    resumed = (tmp_path / "net.examples.safetensors").read_bytes()
    cli(*EXAMPLES, "--force")
    assert (tmp_path / "net.examples.safetensors").read_bytes() == resumed
    assert not (tmp_path / "net.attack.part.jsonl").exists()


def test_an_attack_that_was_killed_after_its_examples_is_no_dead_end(net, raw, cli, refused, tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("prunectl.cli.commands.attack.hand_over", killed)
        raw(*EXAMPLES)
    assert (tmp_path / "net.examples.png").exists()
    assert "holds an interrupted attack; continue with --resume" in refused(*EXAMPLES)
    cli(*EXAMPLES, "--resume")
    assert "examples.safetensors exists" in refused(*EXAMPLES) or "examples.png exists" in refused(*EXAMPLES)
    (tmp_path / "net.attack.part.jsonl").touch()  # killed before it did anything: not its examples
    ran = raw(*EXAMPLES)
    assert ran.code == 1 and "exists; move it away" in ran.err


def test_an_attack_that_was_killed_after_its_record_is_noted_once(net, raw, cli, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("prunectl.cli.attack_part.Part.finish", killed)
        raw("attack", net.name, *SHORT)
    results = tmp_path / "net.results.jsonl"
    noted = results.read_text()
    assert noted.count("\n") == 1
    record = json.loads(cli("attack", net.name, *SHORT, "--resume", "--json"))
    assert results.read_text() == noted
    assert {**record, "time": ""} == {**json.loads(noted), "time": ""}
    assert not (tmp_path / "net.attack.part.jsonl").exists()
    cli("attack", net.name, *SHORT)  # another attack is noted, also with the same numbers
    assert results.read_text().startswith(noted) and results.read_text().count("\n") == 2


@pytest.mark.parametrize("damage", ["text", "other tensors", "other shape", "other classes"])
def test_kept_examples_of_a_stranger_are_checked(net, raw, cli, tmp_path, stop_after_a_batch, damage):
    assert raw(*EXAMPLES).code == 130
    stop_after_a_batch.undo()
    part = tmp_path / "net.attack.part.jsonl"
    first, batch = (json.loads(line) for line in part.read_text().splitlines())
    tensors = load(base64.b64decode(batch["examples"]))
    changed = {
        "text": None,
        "other tensors": {"clean": tensors["clean"]},
        "other shape": {**tensors, "clean": tensors["clean"][..., :-1].contiguous()},
        "other classes": {**tensors, "label": tensors["label"] + 1000},
    }[damage]
    batch["examples"] = "?" if changed is None else base64.b64encode(save(changed)).decode()
    part.write_text("".join(json.dumps(line) + "\n" for line in (first, batch)))
    cli(*EXAMPLES, "--resume")  # that batch is done again
    with safe_open(tmp_path / "net.examples.safetensors", "pt") as file:
        assert len(file.get_tensor("label")) == 12


@pytest.mark.parametrize("left", ["", '{"run": {"check'])
def test_an_attack_that_was_killed_before_it_did_anything_is_no_dead_end(net, cli, tmp_path, left):
    (tmp_path / "net.attack.part.jsonl").write_text(left)
    cli("attack", net.name, *SHORT)
    (tmp_path / "net.attack.part.jsonl").write_text(left)
    cli("attack", net.name, *SHORT, "--resume")
    assert not (tmp_path / "net.attack.part.jsonl").exists()


def test_a_damaged_interrupted_attack_says_the_way_out(net, cli, refused, tmp_path):
    (tmp_path / "net.attack.part.jsonl").write_text("no record\n")
    assert "interrupted attack that is damaged; replace it with --force" in refused("attack", net.name, *SHORT)
    assert "start again: --force without --resume" in refused("attack", net.name, *SHORT, "--resume")
    cli("attack", net.name, *SHORT, "--force")


def test_two_attacks_of_one_checkpoint_do_not_mix(net, refused, tmp_path):
    journal = Journal(tmp_path / "net.attack.part.jsonl", "taken")
    said = refused("attack", net.name, *SHORT, "--force")
    journal.close()
    assert said == f"prunectl: another attack of {net.name} is running; wait for it\n"


def test_examples_are_a_picture_and_tensors(net, cli, refused, tmp_path):
    arguments = ("attack", net.name, *SHORT, "--eps", "0.5", "--save-examples", 3)
    cli(*arguments)
    assert (tmp_path / "net.examples.png").read_bytes().startswith(b"\x89PNG")
    with safe_open(tmp_path / "net.examples.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        assert file.metadata()["eps"] == "0.5"
    assert tensors["adversarial"].shape == tensors["clean"].shape == (3, 1, 28, 28)
    change = (tensors["adversarial"] - tensors["clean"]).abs()
    assert 0 < float(change.max()) <= 0.5 + 1e-6
    assert bool((tensors["clean_prediction"] == tensors["label"]).all())
    assert bool((tensors["adversarial_prediction"] != tensors["label"]).all())
    assert "net.examples.png exists; move it away, or replace it with --force" in refused(*arguments)
    cli(*arguments, "--force")


def test_the_table_fits_in_80_columns(net, raw):
    shown = raw("attack", net.name, "-a", "quick", "-n", 8, "--eps", "2/255,0.3", "-O", "steps=2")
    lines = shown.err.splitlines()
    assert max(len(line) for line in lines if not line.startswith("warning")) <= 80
    table = [line.split() for line in lines if not line.startswith(("warning", "quick"))]
    assert table[0] == ["eps", "0.00784", "0.3"]
    attacks = ["fgsm", "linf-pgd", "robust", "success"]
    assert [cells[0] for cells in table[1:]] == attacks
    assert table[3][2:] == table[2][1:]  # the worst case is what the last of a cascade leaves


def test_corruptions_are_recorded_and_shown(net, raw, tmp_path):
    shown = raw("attack", net.name, "--corruptions", "contrast,jpeg", "-n", 8)
    assert shown.out == "net.safetensors\n"
    assert [line.split()[0] for line in shown.err.splitlines()] == ["clean", "severity", "contrast", "jpeg"]
    record = json.loads((tmp_path / "net.results.jsonl").read_text())
    assert (record["command"], record["attack"], len(record["corruptions"])) == ("attack", "corruptions", 10)


def test_a_pruned_child_beside_its_parent(net, cli):
    arguments = ("attack", "net.prune.safetensors", *SHORT, "--json", "--reference", net.name)
    record = json.loads(cli(*arguments, "--transfer-from", net.name))
    assert record["reference"] == record["source"]
    assert 0 <= record["agreement"] <= 1
    assert 0 <= record["results"][0]["agreement"] <= 1


def test_standard_is_the_same_for_everyone(net, refused):
    said = refused("attack", net.name, "-a", "standard", "-O", "steps=10")
    assert said.startswith(
        "prunectl: standard has no options, so that its results are comparable, got steps; use quick, or"
    )
