"""Names longer than a file system takes are refused in one line, wherever they stand."""

import pytest

from prunectl.errors import cut

LONG = "ab" * 2_500
LINES = (
    *(
        "eval {}",
        "inspect {}.safetensors",
        "train --model {}",
        "train --model mlp5 --data {}",
        "report {}",
        "sweep {} -o out",
    ),
    *("train --model mlp5 --data imagefolder:{}", "prune net.safetensors -c {} -s 0.5", "log {}", "rerun {}"),
    *("prune net.safetensors -c {}.py:score -s 0.5", "import {} --model mlp5", "diff {} {}", "train --resume {}"),
)


@pytest.mark.parametrize("line", LINES)
def test_a_name_that_is_too_long_is_one_line(line, net, raw):
    ran = raw(*line.format(LONG, LONG).split())
    (said,) = [each for each in ran.err.splitlines() if not each.endswith(": started")]
    assert (ran.code, ran.out) == (1, "")
    assert said.startswith("prunectl: ")


def test_a_long_name_is_cut_and_counted():
    assert cut("a" * 200) == "a" * 200
    assert cut("a" * 5_000) == f"{'a' * 200}... (5,000 characters)"
