"""The guide: its pages are listed, shown and run, and its reference holds all that the program offers."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from prunectl.cli import in_process
from prunectl.cli.guide_pages import FOLDER, pages
from prunectl.cli.markdown import laid_out
from prunectl.plugins.registry import TABLES
from prunectl.sweeping.plan import read_plan
from prunectl.sweeping.stages import stages_of
from tests.helpers import reference
from tests.helpers.documents import blocks, check_commands, run_blocks
from tests.helpers.own_networks import loader
from tests.helpers.running import run_cli, run_without_torch

TEXTS = {name: (FOLDER / f"{name}.md").read_text(encoding="utf-8") for name in pages()}
REFRESH = "refresh it: python -m tests.helpers.reference"
ROW = "a row for each of these to a table in prunectl/guide/"
RUN = [name for name, text in TEXTS.items() if any(block.language in ("console", "python") for block in blocks(text))]
SCRIPTS = [
    pytest.param(block.text, id=f"{name}-{i}")
    for name, text in TEXTS.items()
    for i, block in enumerate(block for block in blocks(text) if block.language == "sh")
]
LIGHTER = ("before", "after", "during", "robustness")
"""Pages whose networks need not learn: they train on few images here."""
LONG = ("start", "before", "after", "during", "shrink", "deploy")
WIDE = 78
"""Columns of code that a terminal of 80 shows without a break."""


@pytest.mark.parametrize("name", TEXTS)
def test_code_in_a_line_is_shown_with_one_backtick_on_each_side(name: str) -> None:
    """Also where it goes over the end of a line."""
    outside = re.sub(r"^```.*?^```$", "", TEXTS[name], flags=re.MULTILINE | re.DOTALL)
    assert "``" in outside or "``" not in laid_out(TEXTS[name], 80, colours=False)


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """What the examples begin with: a trained checkpoint, weights of `net.py`, and a folder of images."""
    folder = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNECTL_DEVICE", "cpu")
        ran = run_cli(folder, *["train", "--model", "lenet300", "--epochs", "3", "-o", "dense.safetensors"])
    assert ran.code == 0, ran.err
    (net,) = [block.text for block in blocks(TEXTS["own"]) if block.text.startswith("# net.py")]
    folder.joinpath("net.py").write_text(net, encoding="utf-8")
    names: dict = {}
    exec(net, names)
    torch.manual_seed(0)
    torch.save(names["build"]((1, 28, 28), 10).state_dict(), folder / "weights.pth")  # noqa: TID251  (as users have it)
    for part in ("train", "test"):
        for label in ("cats", "dogs"):
            place = folder / "photos" / part / label
            place.mkdir(parents=True)
            for i in range(4):
                Image.new("L", (28, 28), 30 * i + (label == "cats")).save(place / f"{i}.png")
    return folder


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in RUN])
def test_page_runs(name: str, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in LIGHTER:
        monkeypatch.setenv("PRUNECTL_SUBSET", "200")
    shutil.copytree(desk, tmp_path, dirs_exist_ok=True)
    names = run_blocks(TEXTS[name], tmp_path, {"batches": lambda: loader(40, (3, 32, 32), 10)})
    if name == "python":
        assert names["small"].proof["float64"] <= 1e-10
        assert names["net"](torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("script", SCRIPTS)
def test_commands_that_are_not_run_are_known(script: str, tmp_path: Path) -> None:
    check_commands(script, tmp_path)


@pytest.mark.parametrize("name", TEXTS)
def test_code_fits_a_terminal_and_says_why_it_is_not_run(name: str) -> None:
    for block in blocks(TEXTS[name]):
        assert max(map(len, block.text.splitlines())) <= WIDE, block.text
        assert block.language in ("console", "python", "toml") or block.note.startswith("not run: "), block.text


def test_every_page_is_listed_and_every_link_leads_to_one() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == {"README", *TEXTS}
    linked = {link for text in TEXTS.values() for link in re.findall(r"\]\(([\w-]+)\.md", text)}
    assert linked <= set(TEXTS)


def test_list_has_one_line_a_page(cli) -> None:
    lines = cli("guide").splitlines()
    assert [line.split()[0] for line in lines] == list(TEXTS)
    assert max(map(len, lines)) <= 80


def test_page_needs_no_torch(tmp_path: Path) -> None:
    ran = run_without_torch(tmp_path, "guide", "start")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Start here\n")


@pytest.mark.parametrize("name", TEXTS)
def test_page_is_shown_in_80_columns(name: str, cli) -> None:
    shown = cli("guide", name)
    title = TEXTS[name].splitlines()[0].removeprefix("# ")
    assert shown.splitlines()[0] == title
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert "<!--" not in shown
    assert ".md)" not in shown
    assert ".svg)" not in shown


def test_picture_is_words_in_a_terminal_and_its_file_is_there(cli) -> None:
    found = [link for text in TEXTS.values() for link in re.findall(r"!\[[^\]]+\]\(([\w-]+\.svg)\)", text)]
    assert "headline-resnet20-16px.svg" in found
    assert all((FOLDER / name).exists() for name in found)
    assert "Picture `headline-resnet20-16px.svg`: Accuracy over FLOPs:" in cli("guide", "paper")


def test_page_follows_the_width_that_is_asked_for(cli, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert 100 < max(map(len, cli("guide", "start").splitlines())) <= 120


def test_unknown_page_is_one_line_with_the_nearest_name(refused) -> None:
    assert "'robustness'" in refused("guide", "robustnes")


@pytest.mark.parametrize("name", reference.PAGES)
def test_reference_is_what_the_program_says_now(name: str) -> None:
    assert TEXTS[name] == reference.PAGES[name](), REFRESH


def test_reference_holds_every_name() -> None:
    everything = "".join(TEXTS[name] for name in reference.PAGES)
    named = [name for table in TABLES.values() for name in table]
    assert [name for name in named if f"`{name}`" not in everything and f"## {name}\n" not in everything] == [], REFRESH


def test_every_criterion_is_in_the_tables_of_the_guide() -> None:
    assert [name for name in TABLES["criterion"] if f"`{name}`" not in TEXTS["choose"]] == [], f"add {ROW} choose.md"


def test_every_attack_is_in_the_table_of_the_guide() -> None:
    assert [name for name in TABLES["attack"] if f"`{name}`" not in TEXTS["robustness"]] == [], (
        f"add {ROW} robustness.md"
    )


@pytest.mark.parametrize("kind", ["model", "data"])
def test_every_network_and_dataset_is_named_in_the_guide(kind: str) -> None:
    missing = [name for name in TABLES[kind] if not re.search(rf"`{name}[`:]", TEXTS["data"])]
    assert missing == [], "name each of these in backticks in prunectl/guide/data.md"


def test_every_command_is_in_the_table_of_the_guide() -> None:
    from prunectl.cli.loading import NAMES

    table = TEXTS["start"]
    missing = [name for name in NAMES if not re.search(rf"^\|.*`{name}`", table, re.M)]
    assert missing == [], f"add {ROW} start.md"


def test_the_paper_in_miniature_has_as_many_stages_as_its_page_says() -> None:
    (plan,) = [block.text for block in blocks(TEXTS["paper"]) if block.language == "toml"]
    stages, results = stages_of(read_plan(plan), in_process.read)
    assert f"not run: {len(stages)} stages" in TEXTS["paper"]
    assert {"snipit", "snapit", "snipit-during -s 0.98"} <= {
        value for each in results for value in each.values.values()
    }


def test_plan_of_the_sweep_has_as_many_stages_as_the_guide_says() -> None:
    (plan,) = [block.text for block in blocks(TEXTS["report"]) if block.language == "toml"]
    stages, results = stages_of(read_plan(plan), in_process.read)
    commands = sum(stage.uses for stage in stages)
    assert f"These are {len(results)} pipelines with {commands} commands, of which {len(stages)} run" in TEXTS["report"]
    assert any(f"`{stage.name}.safetensors`" in TEXTS["report"] for stage in stages)
