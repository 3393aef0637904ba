"""A plan gives pipelines, and their commands stages; what is wrong with one is said before anything runs."""

from functools import partial

import pytest

from prunectl.cli import in_process
from prunectl.cli.commands.sweep import _read
from prunectl.errors import UntrustedCode
from prunectl.plugins.trust import trusting
from prunectl.sweeping.plan import read_plan
from prunectl.sweeping.stages import stages_of
from tests.helpers.plans import NET, PLAN, STAGES, stages


def test_a_plan_is_every_pipeline_with_every_choice_of_the_values_that_it_names():
    pipelines = read_plan(PLAN)
    assert [(p.name, p.values.get("seed")) for p in pipelines] == [
        *(("dense", 0), ("dense", 1), ("after", 0), ("after", 1), ("after", 0), ("after", 1), ("during", None))
    ]
    last = pipelines[5]
    assert last.values == {**NET, "criterion": "magnitude", "sparsity": 0.75, "seed": 1}
    assert [command.arguments for command in last.commands] == [
        ("train", *NET["net"].split(), "--epochs", "1", "--subset", "100", "--seed", "1"),
        ("prune", "-c", "magnitude", "-s", "0.75", "--seed", "1", "--device", "cpu"),
        ("eval", "--no-latency"),
    ]


def test_what_pipelines_share_is_one_stage():
    found, results = stages_of(read_plan(PLAN), in_process.read)
    assert (len(found), len(results)) == (STAGES, 7)
    assert {stage.name: stage.uses for stage in found if stage.uses > 1} == {
        "dense-seed0.train": 3,
        "dense-seed1.train": 3,
    }
    by_identity = {stage.identity: stage for stage in found}
    ends = [by_identity[result.identity].name for result in results]
    assert (ends[0], ends[5], ends[6]) == (
        "dense-seed0.train",
        "after-sparsity0.75-seed1.train.prune",
        "during-snipit-during.train",
    )


def test_a_changed_command_changes_what_comes_behind_it_and_nothing_else():
    before, after = stages(PLAN), stages(PLAN.replace("prune -c {criterion}", "prune --scope layer -c {criterion}"))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if name.startswith("after-") and ".prune" in name}
    earlier = stages(PLAN.replace("--epochs 1", "--epochs 2"))
    assert {name for name in before if before[name] == earlier[name]} == {
        name for name in before if name.startswith("during")
    }


def test_a_changed_file_of_code_changes_the_stages_that_name_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = tmp_path / "mine.py"
    text = """
    [grid]
    criterion = ["snip", "mine.py:mine"]
    [pipelines]
    a = "prune --model mlp5 -c {criterion} | eval"
    """
    identities = []
    for source in ("x = 1", "x = 2"):
        code.write_text(source)
        with trusting(everything=True):
            found, _ = stages_of(read_plan(text), partial(_read, "plan.toml", False))
        identities.append({stage.name: stage.identity for stage in found})
    before, after = identities
    assert {name for name in before if before[name] != after[name]} == {n for n in before if "mine" in n}
    assert len(before) == 4


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("train --model torchvision/resnet18 --pretrained --epochs 0", "train --pretrained"),
        ("prune --model timm/hf-hub:some/one --pretrained -c magnitude -s 0.5", "prune --pretrained"),
        ("train --model mlp5 --data cifar10 --download", "train --download"),
    ],
)
def test_a_plan_downloads_only_what_the_command_line_lets_it(line, asked):
    with pytest.raises(UntrustedCode) as refused:
        _read("plan.toml", False, line.split())
    assert str(refused.value) == (
        f"plan.toml: {asked} downloads what the plan names; pass `sweep` --download to allow that"
    )
    assert _read("plan.toml", True, line.split())["command"] == line.partition(" ")[0]
    with trusting(everything=True):
        assert _read("plan.toml", False, line.split())["code"] == []


def test_a_plan_may_name_weights_in_a_local_folder():
    line = "train --model timm/local-dir:hub --pretrained --epochs 0"
    assert _read("plan.toml", False, line.split())["pretrained"] is True


def test_names_that_would_be_the_same_are_told_apart():
    text = """
    [grid]
    labels = ["--random-labels --seed 1", "--random-labels -- seed-1"]
    [pipelines]
    a = "train --model mlp5 --epochs 0 --data {labels}"
    """
    names = list(stages(text.replace("-- seed-1", "--seed=1").replace("--data {labels}", "{labels}")))
    assert names[0] == "a-random-labels-seed-1.train"
    assert names[1].startswith("a-random-labels-seed-1.train-") and len(names) == 2


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("[grid", "it is not valid TOML: "),
        ("", "it has no pipelines; add [pipelines] with lines such as"),
        (
            "[gird]\nseed=1\n[pipelines]\na='train --model mlp5'",
            "unknown table or key 'gird'; expected [grid] and [pipelines]",
        ),
        ("[pipelines]\na = 3", "pipeline 'a' must be a line such as"),
        ("[pipelines]\n'a/b' = 'train --model mlp5'", "pipeline 'a/b': a name may have letters, digits, - and _"),
        (
            "[pipelines]\na = 'train --model mlp5 --seed {seed}'",
            "uses {seed}, which has no values there or in [grid]",
        ),
        ("[grid]\nseed=[0]\n[pipelines]\na = 'train --model mlp5'", "no pipeline uses {seed} of [grid]"),
        (
            "[grid]\nseed=[]\n[pipelines]\na = 'train --model mlp5 --seed {seed}'",
            "[grid]: seed must be a text, a number or a",
        ),
        ("[grid]\nseed=[1,1]\n[pipelines]\na = 'train --model mlp5 --seed {seed}'", "[grid]: seed lists a value twice"),
        ("[pipelines.a]\nrun='train --model mlp5'\nx=1", "pipeline 'a' has values for x, but does not use {x}"),
        ("[pipelines]\na = 'train --model mlp5 | '", "a command is missing beside a |"),
        ('[pipelines]\na = "train --model \'mlp5"', "no closing quotation in"),
        (
            "[pipelines]\na = 'report x'",
            "'report x': the commands of a plan are train, prune, repair, shrink, eval, attack",
        ),
        ("[pipelines]\na = 'train --model mlp5 --epoch 3'", "No such option: --epoch"),
        ("[pipelines]\na = 'train --model mlp5 --epochs x'", "Invalid value for '--epochs'"),
        ("[pipelines]\na = 'train --model mlp'", "no model named 'mlp'; did you mean 'mlp5'?"),
        ("[pipelines]\na = 'prune --model mlp5 -c sinp'", "no criterion named 'sinp'; did you mean 'snip'?"),
        (
            "[pipelines]\na = 'train --model mlp5 -o x.safetensors'",
            "a sweep names and keeps its files itself; leave out -o",
        ),
        ("[pipelines]\na = 'train --model mlp5 --config x.toml'", "leave out --config"),
        ("[pipelines]\na = 'train --epochs 1'", "a pipeline must begin with --model or a CHECKPOINT"),
        ("[pipelines]\na = 'eval x.safetensors'", "there is nothing to measure"),
        ("[pipelines]\na = 'train x.safetensors'", "cannot read x.safetensors: no such file or directory"),
        (
            "[pipelines]\na = 'train --model mlp5 | train --model mlp5'",
            "it uses the checkpoint of the previous command",
        ),
        ("[pipelines]\na = 'train --help'", "--help runs no command"),
        (
            "[pipelines]\na = 'prune --model mlp5 -c mine.py:mine'",
            "run sweep in the folder of mine.py",
        ),
    ],
)
def test_a_bad_plan_is_one_line_before_anything_runs(plan, said, refused, tmp_path):
    (tmp_path / "plan.toml").write_text(plan)
    told = refused("sweep", "plan.toml", "--out", "out", "--trust")
    assert told.startswith("prunectl: plan.toml: ") and said in told


def test_bad_options_are_one_line(refused, tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    assert "cannot read no.toml" in refused("sweep", "no.toml", "--out", "out")
    assert refused("sweep", "plan.toml", "--out", "out", "--engine", "slurm") == (
        "prunectl: no engine named 'slurm'; use local or ray\n"
    )
    (tmp_path / "file").touch()
    assert "cannot write file" in refused("sweep", "plan.toml", "--out", "file")
