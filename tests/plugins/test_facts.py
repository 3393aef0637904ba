"""What listings read from the source of plug-ins is what the plug-ins are."""

import inspect

import pytest

from prunectl.cli.commands.attacks import norm_of
from prunectl.criteria.base.criterion import criterion_named
from prunectl.plugins import facts as facts_module
from prunectl.plugins.facts import SHOWN, facts
from prunectl.plugins.registry import TABLES, resolve
from prunectl.robustness.methods import methods


def keywords(*plugins) -> dict:
    """The keyword-only arguments of functions and classes, with their defaults."""
    found = (each for plugin in plugins for each in inspect.signature(plugin).parameters.values())
    return {each.name: each.default for each in found if each.kind is each.KEYWORD_ONLY}


def no_import(kind, plugin):
    raise AssertionError(f"{plugin} had to be imported")


@pytest.fixture
def from_source(monkeypatch):
    """Facts that come from the source alone."""
    monkeypatch.setattr(facts_module, "_imported", no_import)
    return facts


@pytest.mark.parametrize("name", TABLES["criterion"])
def test_a_criterion(name, from_source):
    criterion, found = criterion_named(name), from_source("criterion", name)
    assert found.fields == {key: getattr(criterion, key) for key in SHOWN}
    parts = [value for value in vars(criterion).values() if callable(value)]
    assert found.options == keywords(*parts)
    assert found.about


@pytest.mark.parametrize("name", TABLES["model"])
def test_a_model(name, from_source):
    assert from_source("model", name).options == keywords(resolve("model", name))


@pytest.mark.parametrize("name", TABLES["attack"])
def test_an_attack(name, from_source, monkeypatch):
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")
    parameters = inspect.signature(resolve("attack", name)).parameters.values()
    expected = {each.name: each.default for each in parameters if each.name != "distance"}
    assert from_source("attack", name).options == expected
    (method,) = methods([name], None, {}, classes=10)
    assert norm_of(name) == method.norm


@pytest.mark.parametrize("name", TABLES["data"])
def test_a_dataset(name, from_source):
    assert from_source("data", name).about.endswith(".")


def test_a_plug_in_of_a_file(tmp_path):
    (tmp_path / "mine.py").write_text('def build(shape, classes, *, width=8):\n    """My network."""\n')
    found = facts("model", f"{tmp_path / 'mine.py'}:build")
    assert (found.options, found.about) == ({"width": 8}, "My network.")
