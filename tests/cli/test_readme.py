"""The README: it is short, opens with two commands to paste, and what it shows is run."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.models import resnet18

from prunectl.plugins.registry import TABLES
from tests.benchmarks import curve
from tests.helpers.documents import blocks, run_blocks
from tests.helpers.own_networks import loader

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The folder of someone who has a trained network: weights.pth, photos."""
    torch.manual_seed(0)
    torch.save(resnet18(num_classes=2).state_dict(), tmp_path / "weights.pth")  # noqa: TID251  (as users do)
    for part in ("train", "test"):
        for label in ("cats", "dogs"):
            place = tmp_path / "photos" / part / label
            place.mkdir(parents=True)
            for i in range(6):
                Image.new("RGB", (32, 32), (40 * i, 200 * (label == "cats"), 0)).save(place / f"{i}.png")
    return tmp_path


@pytest.mark.long
def test_my_own_trained_network_is_pruned_in_the_shell_and_in_python(trained: Path) -> None:
    images = loader(40, (3, 32, 32), 2)
    names = run_blocks(README, trained, {"loader": images, "test_loader": images})
    dense, small = (sum(p.numel() for p in net.parameters()) for net in (names["model"], names["small"].model))
    assert small < dense
    made = {path.name for path in trained.iterdir()}
    assert made >= {"small.safetensors", "small-python.safetensors", "report.html"}


def test_it_opens_with_exactly_two_commands_to_paste() -> None:
    opening = blocks(README[: README.index("## Results")])
    assert [(block.language, block.note, block.text.count("\n")) for block in opening] == [("sh", "", 1), ("sh", "", 1)]
    assert opening[0].text.startswith("pip install '.[report]' && ")
    assert opening[1].text == "pip install -e '.[test]' && python -m pytest\n"


def test_it_is_short() -> None:
    assert README.count("\n") <= 200
    (code,) = [block.text for block in blocks(README) if block.language == "python"]
    (shell,) = [block.text for block in blocks(README) if block.language == "console"]
    assert code.count("\n") <= 12
    assert shell.count("\n") <= 12


def test_every_link_leads_to_a_file_and_every_page_of_the_guide_is_linked() -> None:
    linked = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("https:")]
    assert [link for link in linked if not (ROOT / link).is_file()] == []
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "prunectl" / "guide").glob("*.md")}
    assert pages <= set(linked)


def test_criteria_that_it_recommends_exist() -> None:
    table = README[README.index("## Which criterion") : README.index("## Guide")]
    named = {*re.findall(r"-c ([\w-]+)", table), "random", "structured-random", "magnitude"} - {"auto"}
    assert len(named) > 6
    assert named <= set(TABLES["criterion"])


def test_picture_is_drawn_from_the_measurements() -> None:
    found = curve.records()
    assert curve.DRAWN.read_text(encoding="utf-8") == curve.drawn(found)
    means = {after: {t: m for t, m, _ in curve.points(found, "sparsity", after)} for after in curve.REPAIRS}
    said = re.search(r"(\d+) % at 95 % sparsity, (\d+) % with repair", README)
    assert said is not None
    assert [round(means[after]["0.95"]) for after in ("pruned", "repaired")] == [
        int(number) for number in said.groups()
    ]
