"""The page in Chromium: it opens without errors or requests, and its controls work."""

import shutil
import time

import pytest

from prunectl.reporting.page.page import page as page_of
from tests.helpers.report_folders import sweep

pytestmark = pytest.mark.browser
WIDE, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "no Chromium; install it: apt-get install chromium"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The page of a sweep of three criteria."""
    folder = tmp_path_factory.mktemp("browser")
    sweep(folder, criteria=("magnitude", "random", "snip"), seeds=(0, 1))
    path = folder / "page.html"
    path.write_text(page_of([folder]), encoding="utf-8")
    return path


@pytest.fixture
def opened(chromium, file):
    """Opens the page; at the end there was no message, no error, and no request but for the file."""
    contexts, messages, requests = [], [], []

    def open_page(viewport=WIDE, **options):
        context = chromium.new_context(viewport=viewport, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: messages.append(message.text))
        tab.on("pageerror", lambda error: messages.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(file.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
    assert {url for url in requests if not url.startswith("data:")} == {file.as_uri()}


def column(tab, number):
    """The texts of a column of the operating points."""
    return tab.locator(f"#s0-points-table tbody tr td:nth-child({number})").all_text_contents()


def test_tables_sort_by_mouse_and_by_keyboard(opened):
    tab = opened()
    targets = column(tab, 3)
    assert targets == ["", *["0.5", "0.75", "0.9", "0.95", "0.98"] * 3]
    head = tab.locator("#s0-points-table th", has_text="target")
    head.locator("button").click()
    assert column(tab, 3) == [*sorted(targets[1:]), ""]
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").press("Enter")
    assert column(tab, 3) == [*sorted(targets[1:], reverse=True), ""]
    assert head.get_attribute("aria-sort") == "descending"
    tab.locator("#s0-points-table th", has_text="method").locator("button").click()
    assert column(tab, 1) == ["dense", *["magnitude"] * 5, *["random"] * 5, *["snip"] * 5]
    assert head.get_attribute("aria-sort") is None


def test_a_method_is_hidden_and_shown_in_all_figures(opened):
    tab = opened()
    lines = tab.locator("svg g.series.s1")
    button = tab.locator("button[data-toggle=s1]").first
    count = lines.count()
    assert count > 10
    assert lines.first.is_visible()
    button.press("Space")
    assert [lines.nth(i).is_visible() for i in range(count)] == [False] * count
    assert tab.locator("svg g.series.s0").first.is_visible()
    states = tab.locator("button[data-toggle=s1]").evaluate_all("all => all.map(b => b.getAttribute('aria-pressed'))")
    assert states == ["false"] * len(states)
    button.click()
    assert lines.first.is_visible()


def rings(tab):
    """The operating points on the Pareto front of the first chart."""
    return tab.locator("#fig-s0-top1-weights .hit:has(.ring.front)").evaluate_all("all => all.map(a => a.dataset.tip)")


def test_the_pareto_front_is_that_of_the_methods_that_are_shown(opened):
    tab = opened()
    assert [text.split(":")[0] for text in rings(tab)] == [f"magnitude {s}" for s in (0.5, 0.75, 0.9, 0.95, 0.98)]
    line = tab.locator("#fig-s0-top1-weights .front-line")
    before = line.get_attribute("points")
    tab.locator("button[data-toggle=s0]").first.click()
    assert [text.split(":")[0] for text in rings(tab)] == [f"random {s}" for s in (0.5, 0.75, 0.9, 0.95, 0.98)]
    assert line.get_attribute("points") != before
    tab.get_by_label("target").first.select_option("0.9")
    assert [text.split(":")[0] for text in rings(tab)] == ["random 0.9"]
    tab.get_by_label("target").first.select_option("all")
    tab.locator("button[data-toggle=s0]").first.click()
    assert line.get_attribute("points") == before


def test_one_seed_alone_has_its_own_points_and_front(opened):
    tab = opened()
    legend = tab.locator(".legend[data-targets]").first
    figure = tab.locator(".chosen svg").first
    hit = figure.locator(".hit[data-seeds]").first
    mean, dot = float(hit.get_attribute("data-y")), hit.locator(".dot")
    height = float(dot.get_attribute("cy"))
    single = dict(each.split(",", 1) for each in hit.get_attribute("data-seeds").split(";"))
    assert sorted(single) == ["0", "1"]
    for seed, text in single.items():
        _, down, _, y = map(float, text.split(","))
        legend.locator("label", has_text="seed").locator("select").select_option(seed)
        assert (float(hit.get_attribute("data-y")), float(dot.get_attribute("cy"))) == (y, down)
        assert f", seed {seed}: {y:.2f} %" in hit.get_attribute("data-tip")
        shown = figure.locator(".hit[data-seeds]:not(.other)").evaluate_all(
            "hits => hits.map(h => [+h.dataset.cost, +h.dataset.y, h.querySelector('.ring.front') !== null])"
        )
        front = [not any(a <= cost and b >= y and (a, b) != (cost, y) for a, b, _ in shown) for cost, y, _ in shown]
        assert [ring for *_, ring in shown] == front
    legend.locator("label", has_text="seed").locator("select").select_option("")
    assert (float(hit.get_attribute("data-y")), float(dot.get_attribute("cy"))) == (mean, height)
    assert "picked" not in (figure.get_attribute("class") or "")


def test_one_chart_is_shown_at_a_time_and_its_axis_is_chosen(opened):
    tab = opened()
    shown = "all => all.filter(f => f.checkVisibility()).map(f => f.id)"
    charts = tab.locator(".chosen figure")
    assert charts.evaluate_all(shown) == ["fig-s0-top1-weights"]
    tab.locator(".chooser").get_by_text("FLOPs", exact=True).press("Enter")
    assert charts.evaluate_all(shown) == ["fig-s0-top1-flops"]


def test_tooltips_by_mouse_and_by_keyboard(opened):
    tab = opened()
    tip, points = tab.locator("#tip"), tab.locator("#fig-s0-top1-weights .hit")
    assert tip.is_hidden()
    points.nth(1).hover()
    assert tip.inner_text().startswith("magnitude 0.5: 85.50 ± 0.71 %, -5.00 to dense (2 seeds)")
    assert points.locator("title").count() == 0  # else the browser shows its own as well
    tab.locator("#fig-s0-top1-weights figcaption").hover()
    assert tip.is_hidden()
    points.nth(2).focus()
    assert tip.inner_text().startswith("magnitude 0.75: ")
    tab.keyboard.press("Escape")
    assert tip.is_hidden()
    points.nth(2).press("Enter")
    assert tab.locator("tr.marked td:first-child").all_text_contents() == ["magnitude-0.75-s0", "magnitude-0.75-s1"]


def test_the_first_tap_shows_a_tooltip_and_the_second_one_its_runs(opened):
    tab = opened(PHONE, has_touch=True)
    point = tab.locator("#fig-s0-top1-weights .hit").nth(1)
    point.tap()
    assert tab.locator("#tip").inner_text().startswith("magnitude 0.5")
    assert tab.locator("tr.marked").count() == 0
    point.tap()
    assert tab.locator("tr.marked").count() == 2
    assert "#run-" in tab.url


def test_rows_are_filtered_by_words_method_target_and_seed(opened):
    tab = opened()
    block, rows = tab.locator("#checkpoints-block"), tab.locator("#checkpoints-table tbody tr:visible")
    block.get_by_label("Filter").fill("random s1")
    assert rows.count() == 10
    block.get_by_label("Filter").fill("")
    assert rows.count() == 62
    for name, value, count in (("method", "snip", 20), ("target", "0.9", 4), ("seed", "1", 2)):
        block.get_by_label(name).select_option(value)
        assert rows.count() == count
    tab.locator("#fig-s0-top1-weights .hit").nth(1).press("Enter")  # a run that the filters hide
    assert tab.locator("tr.marked:visible").count() == 2


def test_networks_are_switched(opened):
    tab = opened()
    titles = tab.locator(".panel:visible .lead")
    assert titles.all_text_contents() == ["magnitude-0.5-s0"]  # none is within a point: the most accurate within five
    networks = tab.locator(".panels select")
    assert networks.locator("option").count() == 12
    networks.select_option(label="dense")
    assert titles.all_text_contents() == ["dense-s0"]
    assert tab.locator(".panel:visible figure").first.is_visible()
    tab.locator("#checkpoints-table").get_by_text("magnitude-0.9-s0", exact=True).click()
    assert titles.all_text_contents() == ["magnitude-0.9-s0"]


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_tables_that_scroll_say_so(viewport, opened):
    tab = opened(viewport)
    tab.wait_for_selector(":root.settled")
    tab.wait_for_timeout(100)
    found = tab.locator(".scroll").evaluate_all(
        "all => all.map(s => [s.scrollWidth > s.clientWidth + 1, s.previousElementSibling.checkVisibility()])"
    )
    assert [said for _, said in found] == [wide for wide, _ in found]
    assert any(wide for wide, _ in found)
    if viewport is PHONE:
        widths = "all => Math.max(...all.map(cell => cell.getBoundingClientRect().width))"
        assert tab.locator(".scroll td:first-child").evaluate_all(widths) < PHONE["width"] / 2.5


def test_without_a_script_everything_is_there(opened):
    tab = opened(java_script_enabled=False)
    assert tab.locator(".chosen figure:visible").count() == tab.locator(".chosen figure").count() > 4
    assert tab.locator(".panel summary:visible").count() == 12
    tab.locator(".panel summary").nth(3).click()
    assert tab.locator(".panel").nth(3).locator("figure").first.is_visible()
    assert tab.locator(".hit title").count() > 10  # tooltips of the browser
    assert tab.locator(".cue").first.is_visible()


def test_commands_are_copied(opened):
    tab = opened(permissions=["clipboard-read", "clipboard-write"])
    step = tab.locator("#provenance details", has=tab.get_by_text("prune snip", exact=True)).first
    step.locator("summary").click()
    step.get_by_role("button", name="Copy").first.click()
    step.get_by_role("button", name="Copied").wait_for()
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.endswith(" | \\\n  prunectl prune --criterion snip --sparsity 0.5")


def test_print_is_light(opened):
    tab = opened(color_scheme="dark")
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize(("scheme", "back"), [("light", "rgb(246, 247, 249)"), ("dark", "rgb(17, 20, 24)")])
def test_the_theme_follows_the_system_and_the_button_switches_it(scheme, back, opened):
    tab = opened(color_scheme=scheme)
    colour = "getComputedStyle(document.body).backgroundColor"
    assert tab.evaluate(colour) == back
    tab.locator("#theme").click()
    other = tab.evaluate(colour)
    assert other != back
    tab.reload()
    assert tab.evaluate(colour) == other


def test_the_navigation_leads_to_its_section(opened):
    tab = opened(reduced_motion="reduce")
    for name in ("Robustness", "Inside", "Trade-off"):
        tab.locator("nav").get_by_text(name).click()
        tab.wait_for_timeout(300)
        top = tab.get_by_role("heading", name=name, exact=True).bounding_box()["y"]
        assert 0 <= top < WIDE["height"] / 2, name


def test_everything_is_drawn_a_moment_after_it_opened(opened):
    tab = opened()
    tab.wait_for_selector(":root.settled")
    drawn = "all => all.map(one => getComputedStyle(one).contentVisibility)"
    assert set(tab.locator(".figures, .table-block, .pictures").evaluate_all(drawn)) == {"visible"}


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_nothing_is_wider_than_the_window(viewport, opened):
    tab = opened(viewport)
    assert tab.evaluate("document.documentElement.scrollWidth") == viewport["width"]


def test_steps_open_and_show_their_checkpoints(opened):
    tab = opened()
    step = tab.locator("#provenance details", has=tab.get_by_text("prune snip")).first
    step.locator("summary").click()
    assert step.get_by_text("snip-0.9-s1.pruned").is_visible()


def test_200_checkpoints_are_a_small_page_that_opens_in_under_two_seconds(chromium, tmp_path):
    criteria = ("magnitude", "random", "snip", "grasp", "synflow", "taylor", "lamp")
    sweep(tmp_path, criteria=criteria, seeds=(0, 1, 2))
    path = tmp_path / "page.html"
    path.write_text(page_of([tmp_path]), encoding="utf-8")
    assert path.stat().st_size < 10e6
    taken = []
    for _ in range(3):  # the best of three: the first one starts the browser
        tab = chromium.new_page()
        begun = time.perf_counter()
        tab.goto(path.as_uri())
        tab.evaluate("document.body.offsetHeight")
        taken.append(time.perf_counter() - begun)
        assert tab.locator("#checkpoints-table tbody tr").count() == 213
        tab.close()
    assert min(taken) < 2
