"""Names: each stands for something, a wrong one is one line that helps, and looking one up imports nothing."""

import importlib
import inspect
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch

from prunectl.criteria.base.criterion import Criterion
from prunectl.criteria.base.pattern import pattern_of
from prunectl.errors import PrunectlError, UnknownName, UntrustedCode
from prunectl.plugins import registry
from prunectl.plugins.code_files import import_file
from prunectl.plugins.registry import TABLES, check, check_trusted, names, resolve
from prunectl.pruning.select import SCOPES

ENTRIES = [(kind, name) for kind, table in TABLES.items() for name in table]


def refusal(kind: type[PrunectlError], call: Callable[[], object]) -> str:
    """The one line that a refused call gives."""
    with pytest.raises(kind) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# --- the tables


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_name_stands_for_something(kind, name, monkeypatch):
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")  # foolbox imports GitPython, which complains without git
    found = resolve(kind, name)
    check(kind, name)
    if kind == "criterion":
        assert isinstance(found, Criterion)
        assert found.schedule in TABLES["schedule"]
        assert found.scope in SCOPES or pattern_of(found.scope)
    elif kind == "optimizer":
        assert issubclass(found, torch.optim.Optimizer)
    elif kind == "attack":
        from foolbox.attacks.base import Attack

        assert isinstance(found(), Attack)
    else:
        positional = {
            "model": ["input_shape", "classes"],
            "data": ["root"],
            "schedule": ["target", "steps"],
            "regularizer": ["model"],
        }
        parameters = inspect.signature(found).parameters.values()
        assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == positional[kind]


@pytest.mark.parametrize("kind", TABLES)
def test_every_kind_has_names(kind):
    assert names(kind)[: len(TABLES[kind])] == list(TABLES[kind])
    assert len(TABLES[kind]) > 0


# --- wrong names


@pytest.mark.parametrize("look_up", [resolve, check])
@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("criterion", "sinp", "no criterion named 'sinp'; did you mean 'snip'?"),
        ("criterion", "SNIP-it", "no criterion named 'SNIP-it'; did you mean 'snipit'?"),
        ("model", "resnet-18", "no model named 'resnet-18'; did you mean 'resnet18'?"),
        ("model", "vgg", "no model named 'vgg'; did you mean 'vgg16'?"),
        ("data", "fashion-mnist", "no dataset named 'fashion-mnist'; did you mean 'fashionmnist'?"),
        ("optimizer", "adamW", "no optimizer named 'adamW'; did you mean 'adamw'?"),
        (
            "schedule",
            "zzz",
            "no schedule named 'zzz'; known: one-shot, snipit, exponential, cubic, cubic-hold, constant, alternating",
        ),
        ("optimizer", "", "no optimizer named ''; known: adam, adamw, sgd, rmsprop"),
    ],
)
def test_a_wrong_name(look_up, kind, spec, message):
    assert refusal(UnknownName, lambda: look_up(kind, spec)) == message


def test_check_imports_nothing(monkeypatch):
    def fail(*arguments: object) -> None:
        raise AssertionError(f"imported {arguments}")

    monkeypatch.setattr(importlib, "import_module", fail)
    monkeypatch.setattr(registry, "import_file", fail)
    for kind, name in ENTRIES:
        check(kind, name)
        check(kind, "nowhere.py:thing")
        check(kind, "no_such_package.module:thing")
    with pytest.raises(AssertionError, match="imported"):
        resolve("schedule", "snipit")


# --- what the user brings


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "my plug-ins.py"
    path.write_text("class Thing:\n    pass\n\nclass Other:\n    thing = Thing()\n")
    return path


def test_a_name_in_a_file(code, monkeypatch):
    thing = resolve("criterion", f"{code}:Thing")
    assert thing.__name__ == "Thing"
    assert resolve("criterion", f"{code}:Thing") is thing  # the file is imported once
    assert resolve("model", f"{code}:Other").__name__ == "Other"
    monkeypatch.chdir(code.parent)
    for relative in ("my plug-ins.py", "./my plug-ins.py", f"../{code.parent.name}/my plug-ins.py"):
        assert resolve("data", f"{relative}:Thing") is thing


def test_files_of_one_name_in_two_folders_are_two(tmp_path):
    for i in (1, 2):
        (tmp_path / f"{i}").mkdir()
        (tmp_path / f"{i}" / "mine.py").write_text(f"value = {i}")
    assert [resolve("data", f"{tmp_path / str(i) / 'mine.py'}:value") for i in (1, 2)] == [1, 2]


def test_a_name_in_a_package():
    assert resolve("model", "collections:OrderedDict") is OrderedDict
    assert resolve("criterion", "prunectl.criteria.snip:snip") is resolve("criterion", "snip")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("nowhere.py:thing", "no such file: nowhere.py"),
        ("no_such_package.module:thing", "No module named 'no_such_package'"),
        ("collections:nothing", "module 'collections' has no attribute 'nothing'"),
        ("collections.nothing:x", "No module named 'collections.nothing'"),
        (":thing", "no module named ''"),
        (".nothing:thing", "no module named '.nothing'"),
        ("..:thing", "no module named '..'"),
        (".py:thing", "no such file: .py"),
        (":", "no module named ''"),
    ],
)
def test_what_is_not_where_it_is_said_to_be(code, spec, reason):
    spec = spec.format(code=code)
    found = refusal(UnknownName, lambda: resolve("schedule", spec))
    assert found.startswith(f"no schedule at '{spec}' (")
    assert reason in found
    assert found.endswith(
        "); expected a name (one-shot, snipit, exponential, cubic, cubic-hold, constant, alternating), FILE.py:NAME "
        "such as net.py:build, or PACKAGE.MODULE:NAME"
    )


@pytest.mark.parametrize("name", ["nothing", "", "Thin"])
def test_a_name_that_a_file_does_not_define(code, name):
    found = refusal(UnknownName, lambda: resolve("schedule", f"{code}:{name}"))
    assert found == (
        f"no schedule at '{code}:{name}': the file has no '{name}'; write {code}:Thing (the file defines Thing, Other)"
    )


def test_a_bug_in_a_users_file_is_one_line_that_says_where(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("x = 1\nx / 0")
    modules = set(sys.modules)
    found = refusal(UnknownName, lambda: resolve("criterion", f"{path}:thing"))
    assert "(ZeroDivisionError: division by zero, in line 2)" in found
    assert not [name for name in set(sys.modules) - modules if "mine" in name]
    path.write_text("thing = 5  # repaired, and longer than it was")
    assert resolve("criterion", f"{path}:thing") == 5


@pytest.mark.parametrize(
    ("kind", "spec", "trusted"),
    [
        ("model", "resnet18", True),
        ("data", "imagefolder:some/folder", True),  # a place, no code
        ("data", "mine.py:loader", False),
        ("model", "mine.py:net", False),
        ("model", "resnet18:net", False),  # a module that has the name of a network
        ("model", "resnet18:mine.py:net", False),
        ("optimizer", "sgd:make", False),
        ("model", ":net", False),
    ],
)
def test_what_a_file_may_name(monkeypatch, kind, spec, trusted):
    monkeypatch.delenv("PRUNECTL_TRUST", raising=False)
    if trusted:
        check_trusted(kind, spec, "x.safetensors")
    else:
        found = refusal(UntrustedCode, lambda: check_trusted(kind, spec, "x.safetensors"))
        assert found.startswith(f"x.safetensors names {kind} '{spec}', whose code would run; ")
    monkeypatch.setenv("PRUNECTL_TRUST", "1")
    check_trusted(kind, spec, "x.safetensors")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that adds the criterion `mine`, and a `snip` that must not hide the built-in one."""
    points = EntryPoints(
        [
            EntryPoint("mine", "collections:OrderedDict", "prunectl.criterion"),
            EntryPoint("snip", "collections:OrderedDict", "prunectl.criterion"),
            EntryPoint("mine", "collections:deque", "another.group"),
        ]
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", points.select)


@pytest.mark.usefixtures("installed")
def test_a_name_that_a_package_adds():
    assert resolve("criterion", "mine") is OrderedDict
    check("criterion", "mine")
    assert "mine" in names("criterion")
    assert isinstance(resolve("criterion", "snip"), Criterion)
    assert refusal(UnknownName, lambda: resolve("criterion", "another")).startswith("no criterion named 'another'")
    assert refusal(UnknownName, lambda: check("criterion", "mime")).endswith("; did you mean 'mine'?")
    for look_up in (resolve, check):
        assert refusal(UnknownName, lambda use=look_up: use("schedule", "mine")).startswith("no schedule named 'mine'")
    assert "mine" not in names("schedule")


def test_a_pattern_in_place_of_a_criterion_is_a_scope() -> None:
    with pytest.raises(UnknownName, match=r"^no criterion named '2:4'; use criterion n:m with `scope` 2:4$"):
        resolve("criterion", "2:4")
    with pytest.raises(UnknownName, match=r"^no criterion named '24'; known: "):
        resolve("criterion", "24")


def test_the_users_file_is_read_as_it_is_now_and_nothing_is_written_beside_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "net.py"
    for value in (1, 2):
        file.write_text(f"value = {value}\n")
        os.utime(file, (0, 0))
        module = import_file(file)
        assert module.value == value
        del sys.modules[module.__name__]
    assert list(tmp_path.iterdir()) == [file]


def test_a_criterion_object_is_refused_in_one_line() -> None:
    with pytest.raises(
        UnknownName, match=r"a criterion is named by a text, such as 'file\.py:name' .* got a Criterion"
    ):
        resolve("criterion", resolve("criterion", "snip"))
