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


def test_rows_are_filtered(opened):
    tab = opened()
    tab.get_by_label("Filter").fill("random s1")
    assert tab.locator("#checkpoints-table tbody tr:visible").count() == 10
    tab.get_by_label("Filter").fill("")
    assert tab.locator("#checkpoints-table tbody tr:visible").count() == 62


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
    for name in ("Robustness", "Provenance", "Trade-off"):
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


def test_it_opens_in_under_two_seconds(opened):
    taken = []
    for _ in range(3):  # the best of three: the first one starts the browser
        begun = time.perf_counter()
        opened().evaluate("document.body.offsetHeight")
        taken.append(time.perf_counter() - begun)
    assert min(taken) < 2
