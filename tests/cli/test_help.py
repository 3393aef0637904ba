"""Every help text, as it is printed at 80 columns: groups, examples, whole descriptions."""

import re
import shlex

import pytest
import typer

from prunectl.cli import in_process
from prunectl.cli.app import app
from prunectl.cli.help.examples import EXAMPLES
from prunectl.cli.help.groups import GROUPS, group_of
from prunectl.cli.help.program import help_of
from prunectl.cli.loading import COMMANDS
from tests.helpers.running import run_without_torch

PROGRAM = typer.main.get_command(app)
HELP = {name: help_of(PROGRAM, [name]) for name in ("", *PROGRAM.commands)}


def options(name: str) -> list:
    """The options of a command."""
    return [param for param in PROGRAM.commands[name].params if param.param_type_name == "option"]


def words(text: str) -> str:
    """A text with each space and line break as one space."""
    return " ".join(text.split())


@pytest.mark.parametrize("name", HELP)
def test_help_fits_80_columns_and_nothing_is_cut(name):
    text = HELP[name]
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert not re.search(
        r"\w\.\.\.",
        text.replace("[ARGS]...", "")
        .replace("IMAGE...", "")
        .replace("NAME...]", "")
        .replace("EPS...]", "")
        .replace("CHECKPOINT...", ""),
    )
    assert "\x1b" not in text


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_every_description_is_whole(name):
    text = words(HELP[name])
    for param in PROGRAM.commands[name].params:
        assert param.help, param.name
        assert words(param.help) in text, param.name
    assert words(PROGRAM.commands[name].help.partition("\n\n")[0]) in text


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_the_program_lists_every_command_with_its_whole_first_sentence(name):
    """The list is the table COMMANDS in prunectl/cli/loading.py; its sentences are those of the docstrings."""
    (sentence,) = [sentences[name] for sentences in COMMANDS.values() if name in sentences]
    assert sentence == words(PROGRAM.commands[name].help.partition("\n\n")[0])
    assert f" {name} {sentence}" in words(HELP[""])


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_every_option_is_in_a_group(name):
    """Put a new option into GROUPS, in prunectl/cli/help/groups.py."""
    for param in options(name):
        group = group_of(name, param.name)
        assert group is not None, f"{param.name} has no group"
        begin = HELP[name].index(f"\n{group[0]}:\n")
        end = min(at for each in (*GROUPS, "Examples") if (at := HELP[name].find(f"\n{each}:\n", begin + 1)) > 0)
        assert re.search(rf"[ ,]{re.escape(param.opts[0])}[ ,\n]", HELP[name][begin:end])


def test_a_group_names_options_that_there_are():
    known = {param.name for name in PROGRAM.commands for param in options(name)} | {"help"}
    assert {name for names in GROUPS.values() for name in names} <= known


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_examples_end_every_help_and_are_read_by_the_parser(name):
    assert 2 <= len(EXAMPLES[name]) <= 3
    shown = HELP[name].partition("\nExamples:\n")[2]
    for line, what in EXAMPLES[name]:
        assert f"  # {what}\n  {line}" in shown
        for part in line.split(" | "):
            program, *arguments = shlex.split(part)
            assert program == "prunectl"
            if arguments[0] != "help":
                in_process.read(arguments)
    assert shown.rstrip().endswith(EXAMPLES[name][-1][0])


def test_names_are_not_broken_at_hyphens():
    for text in HELP.values():
        assert not re.search(r"\w-\n", text)


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["help"]])
def test_help_of_the_program(arguments, raw):
    ran = raw(*arguments)
    assert (ran.code, ran.out, ran.err) == (0, HELP[""] + "\n", "")


@pytest.mark.parametrize(
    "arguments", [["help", "train"], ["train", "-h"], ["train", "--help"], ["train", "--lr", "1", "-h"]]
)
def test_help_of_a_command(arguments, raw):
    ran = raw(*arguments)
    assert (ran.code, ran.out, ran.err) == (0, HELP["train"] + "\n", "")


def test_help_of_no_command(raw):
    ran = raw("help", "tain")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("Error: No such command: tain. Did you mean train?\n")


def test_help_loads_neither_torch_nor_what_the_parser_needs(tmp_path):
    code = "import sys; sys.modules['torch'] = sys.modules['pydantic'] = sys.modules['rich'] = None; "
    ran = run_without_torch(tmp_path, "train", "--help", before=code)
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize(("line", "loaded"), [(["--help"], set()), (["--version"], set()), (["log", "-h"], {"log"})])
def test_a_command_line_loads_only_the_command_that_it_runs(tmp_path, line, loaded):
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); "
    ran = run_without_torch(tmp_path, *line, before=code)
    found = {name.rpartition(".")[2] for name in ran.out.split() if name.startswith("prunectl.cli.commands.")}
    assert (ran.code, found) == (0, loaded)


def test_help_of_an_unknown_command_is_refused(raw):
    ran = raw("evl", "--help")
    assert (ran.code, ran.out) == (2, "")
    assert "No such command: evl. Did you mean eval?" in ran.err
