"""Pages in a real Chromium: that they ask for nothing, and what search, sort, zoom, keys and links do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Opened, chromium
from every_day import slow_unless
from hand_made_pages import HOSTILE, PAGES, WITH_STEP, diff, hostile, large

from modelsum.render import render

Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def opened(browser: Any, files: Path) -> Iterator[Open]:
    tabs: list[Opened] = []

    def open_(value: Any, **context: Any) -> Opened:
        file = files / f"{len(list(files.iterdir()))}.html"
        file.write_text(value if isinstance(value, str) else render(value, "html"), encoding="utf-8")
        tabs.append(Opened(browser, file, **context))
        return tabs[-1]

    yield open_
    for tab in tabs:
        assert tab.asked == [], "no request leaves"
        assert tab.said == [], "the console stays empty"
        tab.context.close()


SERIOUS = ("serious", "critical")
ROWS = ".layers tbody tr:not(.spacer)"
BOXES = "#where [role=treeitem]"


def names(tab: Opened) -> list[str]:
    return [text.split("\t")[0] for text in tab.page.locator(f"{ROWS} td:first-child").all_inner_texts()]


def test_the_rows_are_those_of_the_model_with_what_is_in_them(opened: Open) -> None:
    tab = opened(WITH_STEP)
    rows = tab.texts(ROWS)
    assert len(rows) == 12
    assert rows[1].endswith("features Sequential [2, 8, 4, 4] 240 6,912 2.56 9.91")
    assert rows[6].endswith("conv Conv2d [2, 8, 4, 4] 64 2,048 2.00 9.28")
    assert rows[7].endswith("conv Conv2d [2, 8, 4, 4] (reused) 2,048 - -")


def test_search_finds_paths_and_classes(opened: Open) -> None:
    tab = opened(WITH_STEP)
    tab.page.fill(".search", "conv2d|tied")
    tab.until("document.querySelector('.count').textContent.startsWith('4 of')")
    assert [name.split()[0] for name in names(tab)] == ["features.0", "block.conv", "block.conv", "tied"]
    tab.page.fill(".search", "(")  # no pattern: looked for as it is
    tab.until("document.querySelector('.count').textContent.startsWith('0 of')")


def test_a_head_sorts_by_what_is_a_rows_own_and_back(opened: Open) -> None:
    tab = opened(WITH_STEP)
    head = tab.page.locator("[data-sort=macs]")
    head.click()
    assert [name.split()[0] for name in names(tab)][:3] == ["features.0", "block.conv", "block.conv"]
    assert head.locator("..").get_attribute("aria-sort") == "descending"
    head.click()
    assert [name.split()[0] for name in names(tab)][-1] == "features.0"
    head.click()
    assert head.locator("..").get_attribute("aria-sort") == "none"
    assert len(names(tab)) == 12


def test_rows_are_closed_and_opened_by_keys(opened: Open) -> None:
    tab = opened(WITH_STEP)
    tab.page.focus(".layers")
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("ArrowLeft")
    assert len(names(tab)) == 9
    active = tab.page.locator(".layers").get_attribute("aria-activedescendant")
    assert tab.page.locator(f"#{active}").get_attribute("aria-expanded") == "false"
    tab.page.keyboard.press("ArrowRight")
    assert len(names(tab)) == 12


def test_the_icicle_zooms_by_click_and_by_keys_and_says_where_it_is(opened: Open) -> None:
    tab = opened(WITH_STEP)
    boxes = tab.page.locator(BOXES)
    assert boxes.first.get_attribute("aria-label") == (
        "nets.py:TinyNet (TinyNet): 440 parameters, 100.0 % of all"
    )
    tab.page.get_by_role("treeitem", name="features (Sequential)").click()
    assert tab.texts("#where .crumbs li") == ["nets.py:TinyNet", "features"]
    assert boxes.count() == 3  # ReLU has no parameters, and no width
    tab.page.mouse.move(0, 0)  # what is under the pointer is said as well
    boxes.first.focus()
    tab.page.keyboard.press("Escape")
    assert tab.texts("#where .crumbs li") == ["nets.py:TinyNet"]
    boxes.first.focus()
    for key in ("ArrowDown", "ArrowRight", "Enter"):
        tab.page.keyboard.press(key)
    assert tab.texts("#where .crumbs li") == ["nets.py:TinyNet", "block"]
    assert tab.text("#where .about").startswith("block (Residual): 64 parameters, 14.5 % of all")


def test_the_icicle_is_sized_by_each_figure(opened: Open) -> None:
    tab = opened(WITH_STEP)
    said = {}
    for figure in ("params", "macs", "saved", "peak"):
        tab.page.click(f"#where [data-figure={figure}]")
        said[figure] = tab.page.locator(BOXES).first.get_attribute("aria-label").partition(": ")[2]
    assert said == {
        "params": "440 parameters, 100.0 % of all",
        "macs": "11,328 MACs, 100.0 % of all",
        "saved": "4.69 KiB saved for backward, 100.0 % of all",
        "peak": "at most 9.91 KiB live while it runs",
    }


def test_the_moment_of_the_peak_is_shown_and_keys_move_along_the_step(opened: Open) -> None:
    tab = opened(WITH_STEP)
    assert tab.text("#memory .about") == "Backward, at features.1: 9.91 KiB live, the peak"
    assert "optimizer state 3.31 KiB" in tab.texts("#memory .live li")
    slider = tab.page.locator(".timeline")
    slider.focus()
    tab.page.keyboard.press("Home")
    tab.until("document.querySelector('.timeline').getAttribute('aria-valuenow') === '0'")
    assert slider.get_attribute("aria-valuetext") == "Forward, at features.0: 3.16 KiB live"
    tab.page.keyboard.press("+")
    tab.page.keyboard.press("+")
    tab.until("document.querySelectorAll('.timeline .phase').length === 0")
    tab.page.click("#memory .whole")
    tab.until("document.querySelectorAll('.timeline .phase').length === 2")


def test_dragging_over_the_step_zooms_into_that_part(opened: Open) -> None:
    tab = opened(WITH_STEP)
    tab.page.locator(".timeline").scroll_into_view_if_needed()
    box = tab.page.locator(".timeline").bounding_box()
    tab.page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 100)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 0.95 * box["width"], box["y"] + 100, steps=3)
    tab.page.mouse.up()
    tab.until(
        "![...document.querySelectorAll('.timeline text')].some((text) => text.textContent === 'forward')"
    )


def test_a_layer_that_is_chosen_anywhere_is_chosen_everywhere(opened: Open) -> None:
    tab = opened(WITH_STEP)
    tab.page.locator(ROWS).nth(6).click()  # block.conv in the table
    tab.until("document.querySelectorAll('.timeline .own').length === 2")
    assert tab.text("#where .crumbs li:last-child") == "block"
    assert (
        tab.page.locator(f"{BOXES}[aria-selected=true]").get_attribute("aria-label").startswith("block.conv")
    )
    tab.page.get_by_role("treeitem", name="block (Residual)").click()  # in the icicle
    assert "block" in tab.text(f"{ROWS}[aria-selected=true] td:first-child")
    tab.page.click("#memory .to-peak")
    tab.page.focus(".timeline")
    tab.page.keyboard.press("Enter")  # the module at the peak
    assert "BatchNorm2d" in tab.text(f"{ROWS}[aria-selected=true] td:first-child")


def test_dark_is_dark(opened: Open) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    shown = {
        scheme: opened(WITH_STEP, color_scheme=scheme).page.evaluate(background)
        for scheme in ("light", "dark")
    }
    assert shown == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 28)"}


#: Pages that are looked at every day: one of each kind of parts.
EVERY_DAY = ("show light", "ranks light", "check dark", "compare light")


@pytest.mark.parametrize(
    "page",
    slow_unless([*(f"{name} light" for name in PAGES), "show dark", "check dark"], EVERY_DAY.__contains__),
)
def test_every_page_can_be_read_by_everyone(opened: Open, page: str) -> None:
    name, scheme = page.split()
    """By the rules of axe: contrast, names, roles, order."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(opened(PAGES[name](), color_scheme=scheme).page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in SERIOUS] == []


def test_a_layer_that_changed_is_found_in_both_models(opened: Open) -> None:
    tab = opened(diff())
    said = tab.texts("#changes .side .about")
    assert said == ["main:net (Net): 130 MACs, +180", "net (Net): 310 MACs, +180"]
    tab.page.get_by_role("button", name="blocks.[0-2].conv").click()
    assert [text.partition(" (")[0] for text in tab.texts("#changes .side .about")] == [
        "blocks.[0-2].conv"
    ] * 2
    tab.page.get_by_role("button", name="blocks.[3-4]").click()
    styles = tab.page.locator(".side:last-of-type [aria-selected=true] rect").get_attribute("class")
    assert styles == "more2"


def test_what_a_model_wrote_is_text(opened: Open) -> None:
    tab = opened(hostile())
    assert tab.page.title() == f"{HOSTILE} - modelsum"
    assert tab.page.locator("img").count() == 0
    assert HOSTILE in tab.page.locator("main").inner_text()


def test_the_policy_lets_nothing_else_run(browser: Any, files: Path) -> None:
    """The test of the tests above: a script that was put into the page does not run, and is told of."""
    file = files / "spoiled.html"
    file.write_text(
        render(WITH_STEP, "html").replace("</main>", "</main><script>document.title = 'x'</script>")
    )
    tab = Opened(browser, file)
    assert tab.page.title() == "nets.py:TinyNet - modelsum"
    assert any("Content Security Policy" in said for said in tab.said)
    tab.context.close()


def test_ten_thousand_layers_are_a_megabyte_and_a_few_elements(opened: Open) -> None:
    text = render(large(), "html")
    assert len(text.encode()) <= 1_000_000
    tab = opened(text)
    assert tab.page.locator(".layers").get_attribute("aria-rowcount") == "10002"  # and the head
    assert tab.page.locator("*").count() < 3000
    tab.page.keyboard.press("Tab")
    tab.page.focus(".layers")
    tab.page.keyboard.press("End")
    assert tab.texts(ROWS)[-1].startswith("projection8")


def test_print_shows_every_row_and_the_words(opened: Open) -> None:
    tab = opened(large(blocks=40))
    tab.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.page.locator(ROWS).count() == 401
    assert tab.page.locator("details:not([open])").count() == 0
