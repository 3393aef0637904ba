"""The page: one file without external resources."""

import base64
import csv
import hashlib
import io
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from prunectl.reporting.page.blocks import Section
from prunectl.reporting.page.data import page_data
from prunectl.reporting.page.figures import inside
from prunectl.reporting.page.figures.figure import drawing, to_svg
from prunectl.reporting.page.figures.hits import Hit
from prunectl.reporting.page.figures.training import course
from prunectl.reporting.page.page import page, render
from prunectl.reporting.page.sections.inside import inside_section
from prunectl.reporting.page.sections.robust import robust_section
from prunectl.reporting.page.sections.table import SECTIONS, Entry
from prunectl.reporting.page.sections.training import training_section
from prunectl.reporting.sources import Sources, collect
from tests.helpers.report_folders import TRAIN, checkpoint, measure, sweep


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.all.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.all if name == tag]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The page of a small sweep, with a truncated line, whose last network has two classes."""
    folder = tmp_path_factory.mktemp("page")
    sweep(folder, sparsities=(0.5, 0.9), seeds=(0, 1))
    with (folder / "dense-s0.log.jsonl").open("a") as file:
        file.write('{"step')
    return page([folder])


@pytest.fixture(scope="module")
def elements(swept):
    return Elements(swept)


def test_it_loads_nothing_from_a_network(swept, elements):
    links = [a[key] for _, a in elements.all for key in ("src", "href", "xlink:href", "action", "data") if a.get(key)]
    assert len(links) > 50
    assert {link[:5] for link in links if not link.startswith("#")} == {"data:"}
    assert "@import" not in swept
    assert set(re.findall(r"url\((.)", swept)) <= {"#"}
    assert "default-src 'none'" in swept
    script = re.search(r"<script>(.*?)</script>", swept, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in swept  # and no other script runs


def test_every_id_is_unique_and_every_reference_has_a_target(swept, elements):
    ids = [attributes["id"] for _, attributes in elements.all if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {
        a[key][1:] for _, a in elements.all for key in ("href", "xlink:href") if (a.get(key) or "").startswith("#")
    }
    wanted |= set(re.findall(r"url\(#([^)]+)\)", swept))
    assert wanted - set(ids) == set()


def test_every_figure_has_an_alternative_text_and_its_data(elements):
    charts = [a for a in elements.named("svg") if a.get("role") in ("img", "group")]
    assert len(charts) == 16
    assert all(len(chart["aria-label"]) > 20 for chart in charts)
    assert all("alt" in image for image in elements.named("img"))
    files = {a["download"]: a["href"] for a in elements.named("a") if "download" in a}
    assert len(files) == len(charts) + 4  # and the tables
    assert all(link.startswith("data:text/csv;charset=utf-8,") for link in files.values())
    table = list(csv.reader(io.StringIO(unquote(files["s0-top1-weights.csv"].partition(",")[2]))))
    assert table[0] == [
        "method",
        "target",
        "compression ratio (weights, dense / kept); above: weight sparsity",
        "top-1 accuracy mean",
        "std",
        "seeds",
        "pareto",
    ]
    assert table[1][0] == "dense"
    assert [row[:3] for row in table[2:]] == [
        ["magnitude", "0.5", "2.0"],
        ["magnitude", "0.9", "10.0"],
        ["random", "0.5", "2.0"],
        ["random", "0.9", "10.0"],
    ]
    assert [float(row[3]) for row in table[1:]] == pytest.approx([0.905, 0.855, 0.815, 0.655, 0.455])
    assert [row[6] for row in table[2:]] == ["True", "True", "False", "False"]


def test_it_shows_notices_and_says_what_is_missing(elements):
    assert "dense-s0.log.jsonl: line 4 is not a complete record; left out" in elements.text
    assert "No layer details: run prunectl report CHECKPOINT -o PAGE.html." in elements.text
    assert "Not shown: Measured speed" in elements.text
    assert "fewer: magnitude (2), random (2)" in elements.text
    assert "Not drawn, because not measured or equal for all networks: nodes, time." in elements.text


ANCHORS = ["overview", "s0-trade-off", "robust", "training", "inside", "checkpoints", "provenance"]


def sections(elements):
    """The anchors of the sections, and those of the navigation."""
    found = [a["id"] for a in elements.named("section") if "id" in a]
    return found, [a["href"][1:] for a in elements.named("a") if a.get("href", "#main") in {f"#{id}" for id in found}]


def test_sections_are_in_the_order_of_their_table(elements):
    assert sections(elements) == (ANCHORS, ANCHORS)
    shown = [entry.anchor for entry in SECTIONS if entry.anchor not in ("speed", "layers")]  # not timed, no layers
    assert shown == [anchor.removeprefix("s0-") for anchor in ANCHORS]


def test_a_section_is_a_function_and_a_line_of_the_table(tmp_path, monkeypatch):
    checkpoint(tmp_path, "net", ("train", {**TRAIN, "seed": 0}))

    def counted(data):
        return Section("New", lead=f"{len(data.rows)} row")

    table = (Entry("new", counted), Entry("nothing", lambda data: None), Entry("each", counted, per_setting=True))
    monkeypatch.setattr("prunectl.reporting.page.page.SECTIONS", table)
    found = Elements(page([str(tmp_path)]))
    assert sections(found) == (["new"], ["new"])  # nothing was measured: there is no setting
    assert "1 row" in found.text


def test_every_setting_has_its_trade_off(tmp_path):
    for data in ("digits", "mnist"):
        measure(checkpoint(tmp_path, data, ("train", {**TRAIN, "seed": 0}), data=data), 0.8, data={"name": data})
        prune = ("prune", {"criterion": "snip", "sparsity": 0.5, "seed": 0})
        measure(checkpoint(tmp_path, f"{data}-snip", prune, data=data), 0.8, data={"name": data})
    found = Elements(page([tmp_path]))
    assert sections(found)[0][:3] == ["overview", "s0-trade-off", "s1-trade-off"]
    assert "Trade-off: lenet5 on mnist" in found.text


def test_empty_sections_are_one_line(tmp_path):
    measure(checkpoint(tmp_path, "net", ("train", {**TRAIN, "seed": 0})), 0.8)
    found = Elements(page([tmp_path]))
    assert sections(found)[0] == ["overview", "training", "inside", "checkpoints", "provenance"]
    assert "Not shown: Trade-off, Robustness, Measured speed" in found.text
    assert "Robustness: No attack was recorded. Run prunectl attack CHECKPOINT" in found.text


def test_the_attacks_of_one_network_are_shown(tmp_path):
    path = checkpoint(tmp_path, "net", ("prune", {"criterion": "snip", "sparsity": 0.5, "seed": 0}), weights=50)
    measure(path, 0.8, robust={0.1: 0.5, 0.2: 0.25})
    section = robust_section(page_data(collect([path])))
    (figure,) = section.figures
    assert figure.rows == (("fgsm", 0.0, 0.8), ("fgsm", 0.1, 0.5), ("fgsm", 0.2, 0.25))
    (table,) = section.tables
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["net", "snip", "fgsm", "0.1", "50.00", "50.00", "-"],
        ["net", "snip", "fgsm", "0.2", "25.00", "50.00", "-"],
    ]


def test_a_repair_is_shown_layer_by_layer(tmp_path):
    layers = [{"layer": "fc1", "before": 0.8, "after": 0.2}, {"layer": "fc2", "before": 0.5, "after": 0.5}]
    entry = {"command": "repair", "options": {"method": "refit"}, "versions": {}, "parent": None}
    path = checkpoint(tmp_path, "net", ("prune", {"criterion": "snip", "sparsity": 0.5, "seed": 0}))
    (source,) = collect([path]).given
    for repaired, figures, notes in ((layers, 1, 0), ([], 0, 1)):
        history = [*source.seen["history"], {**entry, "result": {"layers": repaired}}]
        one = replace(source, seen={**source.seen, "history": history})
        panel = inside_section(page_data(Sources((one,), {}, ()))).panels[0]
        drawn = [figure for figure in panel.figures if figure.title == "Repair: error of each layer"]
        assert len(drawn) == figures
        assert panel.notes.count("The repair changed only BatchNorm statistics.") == notes
        if drawn:
            assert drawn[0].rows == (("fc1", 0.8, 0.2), ("fc2", 0.5, 0.5))
            assert "The repair did not change 1 of 2 layers" in drawn[0].caption


def test_constant_curves_are_words(tmp_path):
    sweep(tmp_path, criteria=("snip",), sparsities=(0.5,), seeds=(0,))
    section = training_section(page_data(collect([tmp_path])))
    assert [figure.title for figure in section.figures][1:] == ["Loss over steps", "Accuracy over steps"]
    assert "Constant, not drawn: sparsity of weights 0 %, learning rate 0.002, throughput 100, peak memory 100 MB." in (
        section.notes
    )


def test_results_without_their_checkpoint_have_no_section_of_their_own(tmp_path):
    path = checkpoint(tmp_path, "net", ("train", {**TRAIN, "seed": 0}))
    measure(path, 0.5)
    path.unlink()
    anchors, _ = sections(Elements(page([tmp_path])))
    assert anchors == ["overview", "checkpoints"]


def test_versions_of_every_checkpoint_are_in_the_provenance(swept):
    assert (
        swept.count('<small class="quiet">prunectl 0.1.0, torch 2.14</small>') == 18
    )  # 2 seeds: dense, and 2 criteria at 2 sparsities, pruned and trained


def test_names_of_files_are_text_and_no_markup_or_formula(tmp_path):
    prune = ("prune", {"criterion": "<b>$x_1$</b>", "sparsity": 0.5, "seed": 0})
    path = checkpoint(tmp_path, "<i>net", prune, ("train", {**TRAIN, "seed": 0}), weights=50)
    measure(path, 0.5, per_class={"<u>$a$": 0.5, "b$": 0.5})
    measure(checkpoint(tmp_path, "0-dense", ("train", {**TRAIN, "seed": 0})), 0.6)
    planned = {"pipeline": "<s>$p", "plan_criterion": "<s>", "checkpoint": str(path)}
    (tmp_path / "report.json").write_text(json.dumps([planned]))
    found = Elements(page([tmp_path]))
    assert not found.named("i")
    assert not found.named("u")
    assert not found.named("s")
    assert "<s>$p 0.5" in found.text
    assert "<b>$x_1$</b>" in found.text
    assert "<u>$a$" in found.text


def test_networks_that_nothing_measured_make_a_page_that_says_so(tmp_path):
    path = checkpoint(tmp_path, "net", ("prune", {"criterion": "snip", "sparsity": 0.5, "seed": 0}), weights=50)
    found = Elements(render(collect([path])))
    assert "No accuracy yet: net. Run prunectl eval on them, then prunectl report." in found.text


def drawn() -> str:
    """A small figure."""
    with drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], color="#0072b2", marker="o", gid="series-0-line")
        axes.set_xlabel("weights left")
        return to_svg(figure, "f", "A <line>", [Hit(axes, 0, 0, "first & last", 0, runs=(3,))])


def test_a_figure_takes_its_colours_from_the_page_and_its_words_are_text():
    svg = drawn()
    assert 'aria-label="A &lt;line&gt;"' in svg
    assert ">weights left</text>" in svg
    assert '<g class="series s0">' in svg
    assert "stroke: var(--s0)" in svg
    assert "#0072b2" not in svg
    assert "<title>first &amp; last</title>" in svg
    assert '<a class="hit series s0" href="#run-3" aria-label="first &amp; last"' in svg
    assert svg.count("<svg") == svg.count("</svg>") == 1
    assert drawn() == svg


def test_many_classes_have_no_matrix_but_their_worst_pairs(tmp_path):
    many = [[0] * 50 for _ in range(50)]
    many[3][4] = 7
    assert inside.confusion(many, [str(i) for i in range(50)], prefix="x") is None
    path = checkpoint(tmp_path, "net", ("train", {**TRAIN, "seed": 0}))
    measure(path, 0.5, confusion=many, per_class={f"class{i}": 0.5 for i in range(50)})
    assert inside_section(page_data(collect([path]))).panels[0].notes[1] == (
        "50 classes are too many for a confusion matrix. Most confused: class3 classified as class4 (7)."
    )


def test_robust_accuracy_of_several_attacks_and_of_corrupted_images(tmp_path):
    for path in sweep(tmp_path, criteria=("snip",), sparsities=(0.5, 0.9), seeds=(0,)):
        digest = collect([path]).given[0].sha256
        worst = {"eps": 0.1, "robust_accuracy": 0.3, "attacks": {"fgsm": {"robust_accuracy": 0.5}}}
        both = {"attack": "fgsm+pgd", "norm": "l2", "results": [worst], "warnings": ["the gradient is zero"]}
        blur = {"corruption": "blur", "severity": 1, "accuracy": 0.75}
        corruptions = {"attack": "corruptions", "results": [], "corruptions": [blur, {**blur, "accuracy": 0.25}]}
        part = {"corruption": "jpeg", "severity": 1, "accuracy": 0.125}
        jpeg = {**corruptions, "corruptions": [part], "images": 5, "test_images": 10}
        with path.with_name(path.name.replace(".safetensors", ".results.jsonl")).open("a") as file:
            for record in (both, corruptions, jpeg):
                file.write(json.dumps({"command": "attack", "checkpoint": digest, **record}) + "\n")
    data = page_data(collect([tmp_path]))
    assert data.notices == ["fgsm+pgd (l2) on dense-s0 and 2 more: the gradient is zero"]
    section = robust_section(data)
    assert [(figure.title, figure.rows[1][3]) for figure in section.figures[:-1]] == [
        ("Robust accuracy, fgsm at ε = 0.1 over weight sparsity", 0.25),
        ("Robust accuracy, fgsm+pgd (l2) at ε = 0.1 over weight sparsity", 0.3),
        ("Accuracy on corrupted images (blur), mean over severities over weight sparsity", 0.5),
        ("Accuracy on corrupted images (jpeg) on 5 of 10 images, mean over severities over weight sparsity", 0.125),
    ]


def test_adversarial_examples_beside_the_checkpoint_are_shown(tmp_path):
    path = checkpoint(tmp_path, "net", ("train", {**TRAIN, "seed": 0}))
    (tmp_path / "net.examples.png").write_bytes(b"\x89PNG")
    ((title, (picture,)),) = inside_section(page_data(collect([path]))).panels[0].pictures
    assert title == "Adversarial examples. Test images, each beside its adversarial version."
    assert (picture.source, picture.alt) == ("data:image/png;base64,iVBORw==", "Grid of adversarial examples of net")


def test_pruning_while_training_is_marked_where_it_happened(tmp_path):
    path = checkpoint(tmp_path, "net", ("train", {**TRAIN, "criterion": "snapit-during", "sparsity": 0.5, "seed": 0}))
    measure(path, 0.5)
    log = tmp_path / "net.log.jsonl"
    first, second, third = map(json.loads, log.read_text().splitlines())
    records = (first, {**second, "pruned": {"epoch": 2, "weight_sparsity": 0.5}}, third)
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    (source,) = collect([path]).given
    found = course(source, ())
    assert found.events == ((24, 2000, "snapit-during"),)
    assert [record["rate"] for record in found.records] == [100.0, 100.0, 100.0]


def test_the_course_of_a_network_begins_with_its_ancestors(tmp_path):
    sweep(tmp_path, criteria=("snip",), sparsities=(0.5,), seeds=(0,))
    sources = collect([tmp_path / "snip-0.5-s0.safetensors"])
    found = course(sources.given[0], sources.lineage[sources.given[0].path])
    assert [record["total_step"] for record in found.records] == [12, 24, 36, 48, 60, 72]
    assert [record["total_flops"] for record in found.records] == [1000, 2000, 3000, 4000, 5000, 6000]
    assert found.events == ((36, 3000, "snip"),)


def test_without_matplotlib_one_line_says_how_to_install_it(tiny, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert refused("report", tiny.name, "-o", "page.html") == (
        "prunectl: a page needs matplotlib; install it: pip install 'prunectl[report]'\n"
    )


def test_a_page_is_not_overwritten_and_is_called_html(tiny, refused, tmp_path):
    (tmp_path / "page.html").write_text("mine")
    assert "page.html exists; choose another output with -o" in refused("report", tiny.name, "-o", "page.html")
    assert "the name of a page must end in .html, got page.pdf" in refused("report", tiny.name, "-o", "page.pdf")
