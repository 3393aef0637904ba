"""Names that are near a wrong one, and files that are named without a function."""

import importlib.util

import pytest
from torchvision import models

from prunectl.errors import UnknownName
from prunectl.plugins.libraries import library_names
from prunectl.plugins.near import nearest, unknown
from prunectl.plugins.registry import check, names


def test_the_names_of_torchvision_are_those_that_it_lists():
    listed = [name for name in models.list_models(module=models) if not name.startswith("quantized")]
    assert library_names("torchvision") == tuple(sorted(f"torchvision/{name}" for name in listed))


def test_the_names_of_timm_are_those_that_it_lists():
    import timm

    assert library_names("timm") == tuple(sorted(f"timm/{name}" for name in timm.list_models()))


def test_a_library_that_is_not_installed_has_no_names(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert library_names.__wrapped__("timm") == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet50", ["lib/resnet50", "other/resnet50"]),
        ("ResNet50", ["lib/resnet50", "other/resnet50"]),
        ("vgg19_bn", ["vgg19-bn", "lib/vgg19_bn"]),
        ("resnet17", ["resnet18"]),
        ("densnet121", ["lib/densenet121"]),
        ("mobilenet", ["mobilenetv2-cifar"]),
        ("zzz", []),
    ],
)
def test_near_names_across_libraries(name, meant):
    ours = ["resnet18", "resnet56", "vgg19-bn", "mobilenetv2-cifar"]
    libraries = [["lib/resnet50", "lib/resnet18", "lib/densenet121", "lib/vgg19_bn"], ["other/resnet50"]]
    assert nearest(name, ours, libraries) == meant


@pytest.mark.parametrize(
    ("kind", "first", "listing"),
    [
        ("criterion", "snip, snipit, snipit-during, grasp, iterative-grasp", "criteria"),
        ("model", "logistic-regression, mlp5, lenet300, lenet5, conv6", "models"),
        ("data", "digits, mnist, fashionmnist, kmnist, cifar10", "datasets"),
        ("attack", "fgsm, pgd, linf-pgd, apgd-ce, apgd-dlr", "attacks"),
    ],
)
def test_of_many_names_a_handful_is_listed_and_the_command_that_lists_all(kind, first, listing):
    with pytest.raises(UnknownName) as error:
        check(kind, "zzz")
    count = len(names(kind)) + (2 if kind == "attack" else 0)  # the presets
    assert str(error.value).endswith(f" named 'zzz'; known: {first}, ... ({count} in total: `prunectl {listing}`)")


def test_names_of_a_library_and_names_without_a_list():
    many = [f"timm/network{i}" for i in range(99)]
    assert str(unknown("model", "timm/xxx", many)).endswith("... (99 in total: `prunectl models timm`)")
    assert str(unknown("thing", "zzz", ["a", "b"])) == "no thing named 'zzz'; known: a, b"
    assert (
        str(unknown("thing", "zzz", [*"abcdefghijk"]))
        == "no thing named 'zzz'; known: a, b, c, d, e, ... (11 in total)"
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "class Net: pass\ndef build(): pass\ndef _own(): pass\n",
            "names no function; write {}:build (the file defines build, Net)",
        ),
        (
            "def score(): pass\nmine = dict()\nx = 1\n",
            "names no function; write {}:score (the file defines score, mine)",
        ),
        ("x = 1\n", "defines no function; expected FILE.py:NAME"),
        ("def broken(:\n", "is not a readable Python file; expected FILE.py:NAME"),
        (None, "is not a readable Python file; expected FILE.py:NAME"),
    ],
)
def test_a_file_without_a_function(source, words, tmp_path):
    path = tmp_path / "net.py"
    if source is not None:
        path.write_text(source)
    with pytest.raises(UnknownName) as error:
        check("model", str(path))
    assert words.format(path) in str(error.value)


def test_a_long_name_is_cut_in_the_message() -> None:
    text = str(unknown("layer", "[" * 100_000, ["features.0"]))
    assert text == f"no layer named '{'[' * 200}... (100,000 characters)'; known: features.0"
