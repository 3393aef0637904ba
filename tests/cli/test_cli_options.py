"""Where options come from, what the shell completes, and what starts without torch."""

import json
import tomllib

import pytest

import prunectl
from prunectl.measuring.latency import Ratio
from tests.helpers.marks import one_in, quick_rows
from tests.helpers.running import run_without_torch

COMMANDS = ("train", "prune", "repair", "shrink", "eval", "attack", "report", "inspect", "explain", "criteria")


@pytest.fixture
def config(tmp_path):
    """Write the text of x.toml."""

    def write(text: str) -> str:
        tomllib.loads(text)
        (tmp_path / "x.toml").write_text(text)
        return "x.toml"

    return write


def last_options(cli, path: str) -> dict:
    """The options that the history of a checkpoint tells of its last command."""
    return json.loads(cli("inspect", path, "--json"))["history"][-1]["options"]


def test_options_come_from_a_file(config, cli, tmp_path):
    name = config("""
        [train]
        model = "mlp5"
        M = ["hidden=4"]
        data = "synthetic"
        epochs = 0
        lr = 0.5
        batch-size = 64
        label_smoothing = 0.25
        augment = "flip"
        output = "mine.safetensors"
        [prune]
        criterion = "snip"
        O = ["batches=2", "bn=batch"]
        sparsity = 0.5
        [eval]
        latency = false
        json = true
    """)
    assert cli("train", "--config", name) == "mine.safetensors\n"
    assert json.loads(cli("inspect", "mine.safetensors", "--json"))["options"] == {"hidden": 4}
    chosen = last_options(cli, "mine.safetensors")
    assert chosen["data"] == {"name": "synthetic"}
    assert [chosen[key] for key in ("epochs", "lr", "batch_size", "label_smoothing", "augment")] == [
        *(0, 0.5, 64, 0.25),
        ["flip"],
    ]
    cli("prune", "mine.safetensors", "--config", name)
    chosen = last_options(cli, "mine.prune.safetensors")
    assert (chosen["criterion"], chosen["sparsity"]) == ("snip", 0.5)
    assert chosen["options"] == {"batches": 2, "bn": "batch"}
    assert "latency" not in json.loads(cli("eval", "mine.safetensors", "--config", name))


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(net, config, cli, monkeypatch):
    name = config("[train]\nlr = 0.1\nwd = 0.1\nmomentum = 0.1\nepochs = 0\n")
    monkeypatch.setenv("PRUNECTL_LR", "0.2")
    monkeypatch.setenv("PRUNECTL_WD", "0.2")
    cli("train", net.name, "--config", name, "--lr", "0.3")
    chosen = last_options(cli, "net.train.safetensors")
    assert [chosen[key] for key in ("lr", "wd", "momentum", "batch_size")] == [0.3, 0.2, 0.1, 128]


def test_the_environment_sets_options_without_a_file(net, cli, monkeypatch, tmp_path):
    for key, value in {"OUTPUT": "env.safetensors", "O": "batches=2 bn=batch", "FORCE": "yes", "JSON": "1"}.items():
        monkeypatch.setenv(f"PRUNECTL_{key}", value)
    (tmp_path / "env.safetensors").write_text("to be replaced")
    assert cli("prune", net.name) == "env.safetensors\n"
    monkeypatch.delenv("PRUNECTL_O")
    assert last_options(cli, "env.safetensors")["options"] == {"batches": 2, "bn": "batch"}
    assert json.loads(cli("eval", net.name, "--no-latency"))["command"] == "eval"


def test_the_environment_names_the_data_folder(tmp_path, monkeypatch, refused):
    monkeypatch.setenv("PRUNECTL_DATA_DIR", str(tmp_path / "here"))
    line = ["train", "--model", "lenet300", "--data", "mnist"]
    assert f"no mnist in {tmp_path / 'here'} " in refused(*line)
    assert "no mnist in there " in refused(*line, "--data-dir", "there")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[eval]\nlatencies = false", "[eval] has no option 'latencies'; see prunectl eval --help"),
        ("[eval]\nconfig = 'y.toml'", "[eval] has no option 'config'"),
        ("[eval]\nas_json = true", "[eval] has no option 'as_json'"),
        ("[evaluate]\nlatency = false", "'evaluate' is not a command; put options in a table such as [eval]"),
        ("latency = false", "'latency' is not a command; put options in a table such as [eval]"),
    ],
)
def test_what_a_file_cannot_say(text, words, net, config, refused):
    assert f"prunectl: --config x.toml: {words}" in refused("eval", net.name, "--config", config(text))


@pytest.mark.parametrize("name", ["LEARNING_SPEED", "lr", "AS_JSON", "TRUSTED", ""])
def test_the_environment_cannot_say_what_no_command_knows(name, net, refused, monkeypatch):
    monkeypatch.setenv(f"PRUNECTL_{name}", "0.1")
    for line in (["train", net.name, "--epochs", 0], ["eval", net.name]):
        assert f"prunectl: no command has the option PRUNECTL_{name} of the environment" in refused(*line)


def test_a_name_that_is_a_flag_here_and_a_value_there_is_read_where_it_fits(net, cli, refused, monkeypatch):
    monkeypatch.setenv("PRUNECTL_LATENCY", "0")
    cli("prune", net.name, "-c", "random", "-s", 0.5, "-o", "half.safetensors")
    assert "latency" not in json.loads(cli("eval", net.name, "--json"))
    monkeypatch.setenv("PRUNECTL_LATENCY", "0.5x")
    assert "latency" in refused("prune", net.name, "-c", "random", "-s", 0.5, "-o", "other.safetensors")
    assert "latency" not in json.loads(cli("eval", net.name, "--no-latency", "--json"))


def test_a_file_that_is_no_toml(net, tmp_path, refused):
    (tmp_path / "bad.toml").write_text("[eval\n")
    for name in ("bad.toml", "missing.toml", net.name):
        assert f"prunectl: cannot read --config {name}: " in refused("eval", net.name, "--config", name)


def test_a_value_of_the_wrong_type_is_a_usage_error(net, config, raw, monkeypatch):
    assert raw("train", net.name, "--config", config("[train]\nepochs = 'many'\n")).code == 2
    monkeypatch.setenv("PRUNECTL_LR", "fast")
    assert raw("train", net.name).code == 2


@pytest.mark.parametrize(
    ("words", "names"),
    quick_rows(
        [
            ("prune --criterion sn", ["snip", "snipit"]),
            ("prune -c mag", ["magnitude"]),
            ("prune --schedule one", ["one-shot"]),
            ("train --model resnet3", ["resnet34"]),
            ("train --data cifar1", ["cifar10", "cifar100"]),
            ("train --opt adam", ["adam", "adamw"]),
            ("attack --attack pg", ["pgd"]),
            ("sh", ["shrink"]),
        ],
        chosen=(0, 3),
    ),
)
def test_the_shell_completes_names_without_torch(words, names, tmp_path):
    line = f"prunectl {words}"
    ran = run_without_torch(
        tmp_path, _PRUNECTL_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(line.split()) - 1)
    )
    assert ran.code == 0, ran.err
    assert set(names) <= set(ran.out.split())
    assert all(name.startswith(words.split()[-1]) for name in ran.out.split())


@pytest.mark.parametrize("command", one_in(4, COMMANDS))
def test_help_needs_no_torch(command, tmp_path):
    ran = run_without_torch(tmp_path, command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: prunectl {command} [OPTIONS]")
    assert "\x1b" not in ran.out


def test_the_program_lists_its_commands_and_version(raw):
    shown = raw("--help")
    assert shown.code == 0
    assert all(f"\n  {command} " in shown.out for command in COMMANDS)
    assert raw("-h") == shown
    assert raw("--version").out == f"prunectl {prunectl.__version__}\n"


def test_names_are_refused_before_torch_is_imported(tmp_path):
    lines = ("train --model lenet30", "explain --model lenet30", "prune -c snipti", "attack --attack pgdd")
    for line in lines:
        ran = run_without_torch(tmp_path, *line.split())
        assert (ran.code, ran.err.partition("; ")[2][:12]) == (1, "did you mean")


def test_a_budget_is_told_with_what_is_reached(net, raw, cli):
    ran = raw("prune", net.name, "-c", "snap", "--flops", "4x", "--multiple-of", 4, "-o", "new.safetensors")
    assert (ran.code, ran.out) == (0, "new.safetensors\n")
    (entry,) = [
        e for e in json.loads(cli("inspect", "new.safetensors", "--json"))["history"] if e["command"] == "prune"
    ]
    asked, reached = entry["options"], entry["result"]
    assert (asked["flops"], asked["multiple_of"], "sparsity" in asked) == ("4x", 4, False)
    assert reached["flops"] <= 266_200 * 2 / 4
    first, second = ran.err.splitlines()
    assert first.startswith(f"snap: asked for flops 4x; node sparsity {reached['node_sparsity']:.6f}; ")
    assert f"; weight sparsity {reached['weight_sparsity']:.6f}, " in first
    assert first.endswith(" of 266,200 weights kept")
    assert second.startswith(f"without the pruned nodes: {reached['parameters']:,} parameters, ")
    assert " prune(snap flops 4x)" in cli("report", "new.safetensors", "--csv")
    assert cli("shrink", "new.safetensors", "-o", "small.safetensors")
    small = json.loads(cli("inspect", "small.safetensors", "--json"))
    assert small["history"][-1]["result"]["parameters"] == reached["parameters"]
    assert all(
        tensor["shape"][0] % 4 == 0 for tensor in small["tensors"] if tensor["shape"] and tensor["shape"][0] > 10
    )


def test_classes_that_nothing_reaches_are_told(net, raw, cli):
    ran = raw("prune", net.name, "-c", "magnitude", "-s", 0.99998, "-o", "new.safetensors")  # 5 of 266,200 weights
    (reached,) = [
        e["result"]
        for e in json.loads(cli("inspect", "new.safetensors", "--json"))["history"]
        if "criterion" in e["options"]
    ]
    lost = reached["unreached_classes"]
    assert len(lost) in (7, 8, 9)
    told = f"no kept weight leads to {len(lost)} of the classes ({', '.join(map(str, lost))})"
    assert ran.err.endswith(f"weight sparsity 0.999981, 5 of 266,200 weights kept; {told}\n")
    assert " ".join(told.split()) in " ".join(cli("log", "new.safetensors").replace("|", "").split())
    line = "--subset 64 --epochs 2 -c magnitude -s 0.99998 --steps 1 --prune-delay 0 --prune-every 1"
    ran = raw("train", net.name, *line.split(), "-o", "trained.safetensors")
    assert ran.err.startswith("pruned after epoch 1: weight sparsity 1.0000; no kept weight leads to ")


def test_a_criterion_that_scores_without_images_needs_none(net, cli, refused, tmp_path):
    empty = ("--data", "cifar10", "--data-dir", tmp_path)
    assert cli("prune", net.name, "--criterion", "magnitude", "-o", "new.safetensors", *empty) == "new.safetensors\n"
    assert "no cifar10 in" in refused("prune", net.name, "--criterion", "snip", "--force", *empty)


def test_a_latency_that_is_missed_exits_with_3(net, raw, monkeypatch):
    found = {True: iter([Ratio(0.4, 0.4, 0.4)] * 9), False: iter([Ratio(0.582, 0.57, 0.59)])}
    monkeypatch.setattr(
        "prunectl.pruning.node_costs.relative_latency", lambda *_, limit: next(found[limit is not None])
    )
    ran = raw("prune", net.name, "-c", "efficient-convnets", "--latency", "0.5x", "-o", "new.safetensors")
    assert (ran.code, ran.out) == (3, "new.safetensors\n")
    assert ran.err.splitlines()[-1] == (
        "prunectl: --latency 0.5x was requested, measured again it is 0.582 of the dense latency (95 % interval 0.570 "
        "to 0.590); the file is written: ask for a smaller speed-up, or prune on an idle machine"
    )
