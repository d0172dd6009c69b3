"""Flip books on a page without a kernel, turned by Chromium's buttons, slider, keys and mouse."""

import numpy as np
import pytest
from browser_page import overflow_in_themes, page_in_chromium, page_of_widgets, pixels_of

from dtis_core.display.flipbook import Card, FlipBook, Frame

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)>"
SHADES = [40 * number for number in range(6)]


def frames():
    """Frames whose first picture is all of one grey, with a row of 19 bars."""
    made = []
    for number, shade in enumerate(SHADES):
        grey = np.full((8, 8, 3), shade, np.uint8)
        cards = [
            Card(f"{k} {HOSTILE}", grey, f"{k}.00", (float(k), 1.0), marked=k == number)
            for k in range(19)
        ]
        pictures = {HOSTILE: grey, "other": 255 - grey, "third": grey}
        made.append(
            Frame(f"number {number}", f"Text {number}. {HOSTILE}", pictures, {"row": cards})
        )
    return made


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    books = [FlipBook(frames(), "plain"), FlipBook(frames(), "ordered", ["Up", "Down"])]
    file = page_of_widgets(folder, books)
    with page_in_chromium(file) as page:
        yield page


@pytest.fixture
def book(page):
    """Open one of the books anew, by its label."""

    def opened(label):
        page.reload()
        page.wait_for_timeout(150)
        return page.get_by_role("group", name=label, exact=True)

    return opened


def assert_shows(book, number):
    """Picture, text, slider, and the marked card are those of one frame."""
    assert (pixels_of(book.locator(".dtis-large canvas").first) == SHADES[number]).all()
    assert book.get_by_role("status").inner_text() == f"Text {number}. {HOSTILE}"
    slider = book.get_by_role("slider")
    assert slider.get_attribute("aria-valuetext") == f"number {number}"
    marked = book.locator(".dtis-card[aria-current=true]")
    assert marked.count() == 1 and marked.inner_text().startswith(f"{number} {HOSTILE}")


def click(book, name):
    book.get_by_role("button", name=name, exact=True).click()


def test_buttons_turn_it_and_stop_at_its_ends(book):
    own = book("plain")
    assert_shows(own, 0)
    click(own, "Previous")
    assert_shows(own, 0)
    click(own, "Next")
    assert_shows(own, 1)
    for _ in range(9):
        click(own, "Next")
    assert_shows(own, 5)
    click(own, "Previous")
    assert_shows(own, 4)


def test_the_slider_and_the_keys_turn_it(book, page):
    own = book("plain")
    own.get_by_role("slider", name="plain").fill("3")
    assert_shows(own, 3)
    for key, number in {"ArrowRight": 4, "ArrowDown": 3, "ArrowUp": 4, "Home": 0}.items():
        page.keyboard.press(key)
        assert_shows(own, number)
    own.get_by_role("button", name="Next").focus()
    for key, number in {"End": 5, "ArrowLeft": 4, "Home": 0, "ArrowRight": 1}.items():
        page.keyboard.press(key)
        assert_shows(own, number)


def test_it_plays_to_its_end_and_can_be_stopped(book, page):
    page.clock.install()
    own = book("plain")
    click(own, "Play")
    page.clock.run_for(2500)
    assert_shows(own, 2)
    click(own, "Pause")
    page.clock.run_for(5000)
    assert_shows(own, 2)
    click(own, "Play")
    page.clock.run_for(10_000)
    assert_shows(own, 5)
    assert own.get_by_role("button", name="Play").count() == 1
    click(own, "Play")
    assert_shows(own, 0)


def test_a_grid_chooses_frames_and_can_be_turned_about(book, page):
    own = book("ordered")
    click(own, "number 4")
    assert_shows(own, 4)
    click(own, "Down")
    assert_shows(own, 5)
    click(own, "Next")
    assert_shows(own, 4)
    click(own, "Down")
    assert_shows(own, 5)
    click(own, "number 1")
    assert_shows(own, 1)
    click(own, "Up")
    assert_shows(own, 0)


def test_tab_goes_to_one_button_of_the_grid_and_arrows_to_the_others(book, page):
    own = book("ordered")
    own.get_by_role("button", name="Down").focus()
    page.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focused) == "number 0"
    page.keyboard.press("ArrowRight")
    assert_shows(own, 1)
    assert page.evaluate(focused) == "number 1"
    page.keyboard.press("ArrowDown")  # all lie in one row
    assert_shows(own, 5)
    assert own.locator("button[tabindex='0']").count() == 1


def test_texts_stay_texts(book, page):
    own = book("plain")
    assert page.locator("img[src=x]").count() == 0
    assert own.get_by_role("img", name=HOSTILE).count() == 1
    assert own.get_by_role("listitem").nth(3).locator("span").first.inner_text() == f"3 {HOSTILE}"


def test_narrow_and_dark_pages_hold_it(book, page):
    book("ordered")
    assert max(overflow_in_themes(page)) <= 0
