"""Long names in narrow columns."""

import pytest

from prunectl.cli.names import broken, first_broken


@pytest.mark.parametrize(
    ("name", "width", "lines"),
    [
        ("resnet18-cifar10.train.prune", 16, ["resnet18-", "cifar10.train.", "prune"]),
        ("short", 16, ["short"]),
        ("a_very_long_name", 7, ["a_very_", "long_", "name"]),
        ("unbreakable", 4, ["unbr", "eaka", "ble"]),
        ("", 4, [""]),
    ],
)
def test_a_name_is_broken_between_words(name, width, lines):
    assert broken(name, width).split("\n") == lines
    assert "".join(lines) == name


def test_the_first_cells_take_what_the_others_leave():
    rows = [["stage1.block2.conv1", "1.00%", "123"], ["x", "10.00%", "4"]]
    assert first_broken(["layer", "accuracy\nnow", "n"], rows, 29) == [
        ["stage1.block2.\nconv1", "1.00%", "123"],
        ["x", "10.00%", "4"],
    ]
