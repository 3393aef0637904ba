"""What the README shows is run, and what the program offers stands in it."""

import re
from pathlib import Path

import pytest
import torch

from prunectl.cli import in_process
from prunectl.plugins.registry import TABLES
from prunectl.sweeping.plan import read_plan
from prunectl.sweeping.stages import stages_of
from tests.helpers.own_networks import loader
from tests.helpers.running import run_line

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block{i}" for i in range(len(BLOCKS))])
def test_console_blocks_run_and_print_what_they_show(block: str, tmp_path: Path) -> None:
    for part in block.removeprefix("$ ").split("\n$ "):
        command, _, shown = part.partition("\n")
        ran = run_line(tmp_path, command)
        assert ran.code == 0, ran.err
        if shown:
            assert ran.out.rstrip("\n") == shown.rstrip("\n")
        else:
            assert ran.out.strip()


def test_python_blocks_run_one_after_the_other(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    names = {"batches": lambda: loader(40, (3, 32, 32), 10)}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["small"].proof["float64"] <= 1e-10
    assert names["net"](torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_it_opens_with_exactly_two_commands_to_paste() -> None:
    opening = README[: README.index("## Pipelines")]
    blocks = re.findall(r"^```sh\n(.*?)^```$", opening, flags=re.MULTILINE | re.DOTALL)
    assert [block.count("\n") for block in blocks] == [1, 1]
    assert blocks[0].startswith("pip install . && ")
    assert blocks[1] == "pip install -e '.[test]' && python -m pytest\n"
    assert "```console" not in opening


@pytest.mark.parametrize("kind", ["criterion", "model", "data", "attack"])
def test_every_name_is_documented(kind: str) -> None:
    assert [name for name in TABLES[kind] if name not in README] == []


def test_the_plan_of_a_sweep_has_as_many_stages_as_it_says() -> None:
    (plan,) = re.findall(r"^```toml\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    stages, results = stages_of(read_plan(plan), in_process.read)
    commands = sum(stage.uses for stage in stages)
    assert f"These are {len(results)} pipelines with {commands} commands, of which {len(stages)} run:" in README
    assert any(f"`{stage.name}.safetensors`" in README for stage in stages)


def test_every_command_is_documented() -> None:
    from prunectl.cli.app import app

    assert [info.name for info in app.registered_commands if f"| `{info.name}` |" not in README] == []
