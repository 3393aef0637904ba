"""The lists of criteria, models, datasets and attacks, and the page of one of them."""

import json

import pytest

from prunectl.plugins.facts import facts
from prunectl.plugins.option_uses import OPTIONS
from prunectl.plugins.registry import PRESETS, TABLES, names
from prunectl.plugins.uses import USES
from tests.helpers.marks import quick_rows
from tests.helpers.running import run_without_torch

LISTS = {"criteria": "criterion", "models": "model", "datasets": "data", "attacks": "attack"}
WRITTEN = "prunectl/plugins/uses.py"
OPTIONS_IN = "prunectl/plugins/option_uses.py"


@pytest.mark.parametrize(("command", "kind"), LISTS.items())
def test_a_list_has_every_name_and_a_line_for_each(command, kind, cli):
    rows = json.loads(cli(command, "--json"))
    plain = [row["name"].partition(":")[0] if kind == "data" else row["name"] for row in rows]
    assert plain == [*names(kind), *{"criterion": ["auto"], "attack": PRESETS}.get(kind, [])]
    lines = cli(command).splitlines()
    assert [line.split()[0] for line in lines][1 : len(rows) + 1] == [row["name"] for row in rows]


@pytest.mark.parametrize(("command", "kind"), quick_rows(LISTS.items(), chosen=[0]))
def test_lists_and_pages_need_no_torch(command, kind, tmp_path):
    for arguments in ([command], [command, "--json"], [command, [*TABLES[kind]][-1]]):
        ran = run_without_torch(tmp_path, *arguments)
        assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize(("command", "kind"), LISTS.items())
def test_a_page_of_every_name(command, kind, cli):
    for name in TABLES[kind]:
        shown = cli(command, name)
        assert shown.splitlines()[0] == name
        assert max(map(len, shown.splitlines())) <= 80
        assert json.loads(cli(command, name, "--json"))["name"] == name


def test_the_page_of_a_criterion(cli):
    shown = cli("criteria", "snap")
    assert "prunes    nodes, before training" in shown
    assert "source    Verdenius et al. 2020, arXiv:2006.00896" in shown
    assert "-O batches=5" in shown and "-O bn=running" in shown
    assert "-c snap " in shown


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("criteria auto", "prunes    weights or nodes, after training"),
        ("criteria l0", "-O droprate=0.5: Share of closed gates at the start.\n"),
        ("criteria magnitude", "options   none"),
        ("models torchvision/vgg16", "see also  torchvision/vgg16_bn"),
        ("datasets cifar10", "images     Photos of objects and animals (Krizhevsky 2009)"),
        ("datasets cifar10", "augment    flip, crop; `train --augment none` leaves it out\n"),
        ("datasets cifar10", "mean, std  0.4914,0.4822,0.4465; 0.2470,0.2435,0.2616\n"),
        ("datasets cifar10", "count      50,000 for training, 10,000 for testing\n"),
        ("datasets svhn", "augment    none; `train --augment crop` adds one\n"),
        ("datasets imagefolder:photos", "augment    flip (colour images only); `train"),
        ("models resnet18", "-M stem=imagenet"),
        ("models torchvision/vgg1", "torchvision/vgg16_bn\n"),
        ("datasets imagefolder", "imagefolder:PATH"),
        ("attacks apgd-t", "-O targets=9"),
        ("attacks standard", "deepfool, apgd-ce, apgd-dlr, apgd-t, square"),
    ],
)
def test_pages(line, words, cli):
    assert words in cli(*line.split())


@pytest.mark.parametrize("kind", OPTIONS)
def test_every_option_of_a_built_in_name_says_what_it_means(kind):
    known = {option for name in TABLES[kind] for option in facts(kind, name).options}
    assert known - {*OPTIONS[kind]} == set(), f"add a line for each of these to OPTIONS['{kind}'] in {OPTIONS_IN}"
    assert {*OPTIONS[kind]} - known == set(), f"no {kind} has this option: remove it from {OPTIONS_IN}"
    assert all(text.endswith(".") for text in OPTIONS[kind].values())


def test_every_built_in_name_says_when_to_use_it():
    for kind, uses in USES.items():
        more = {"criterion": {"auto"}, "attack": {*PRESETS}}.get(kind, set())
        named = {*TABLES[kind], *more}
        assert named - {*uses} == set(), f"add a sentence for each of these to USES['{kind}'] in {WRITTEN}"
        assert {*uses} - named == set(), f"no {kind} has this name: remove it from {WRITTEN}"
        assert all(text.endswith(".") for text in uses.values())


def test_a_class_of_foolbox_has_its_norm_and_options(cli, refused):
    shown = json.loads(cli("attacks", "DDNAttack", "--json"))
    assert (shown["norm"], shown["attack"]) == ("l2", "foolbox.attacks.DDNAttack")
    assert shown["options"] == {"init_epsilon": 1.0, "steps": 100, "gamma": 0.05}
    assert "-a DDNAttack -n 500" in cli("attacks", "DDNAttack")
    assert "no attack named 'DDNAtack'" in refused("attacks", "DDNAtack")
