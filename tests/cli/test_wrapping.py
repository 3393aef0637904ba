"""Lines that are longer than a terminal is wide: broken at spaces."""

import sys

import pytest

from prunectl.cli.help.wrong_options import separate_numbers
from prunectl.cli.terminal import wrapped


def test_a_line_on_a_terminal_is_broken_at_spaces(monkeypatch) -> None:
    text = "repair: 21 layers of torchvision/resnet18"
    assert wrapped(text) == text
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "24")
    assert wrapped(text) == "repair: 21 layers of\n  torchvision/resnet18"
    assert wrapped("    3,534,136 of 11,000,000 parameters") == "    3,534,136 of\n      11,000,000\n      parameters"
    assert wrapped("short") == "short"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("w.pth --mean 0.502 0.5 0.489 --std 0.2", ("--mean", "0.502,0.5,0.489")),
        ("w.pth --std 0.2, 0.2, 0.2", ("--std", "0.2,0.2,0.2")),
        ("w.pth --mean 0.5,0.5 --seed 3", None),
    ],
)
def test_numbers_with_spaces_are_found(words, found) -> None:
    assert separate_numbers(words.split()) == found


def test_numbers_with_spaces_are_shown_with_commas(raw) -> None:
    ran = raw("import", "w.pth", "--mean", "0.502", "0.5", "0.489")
    assert ran.code == 2
    assert "--mean takes numbers with commas; write --mean 0.502,0.5,0.489" in " ".join(ran.err.split())
