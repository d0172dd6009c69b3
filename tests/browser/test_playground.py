"""The playground, a page from the file system without a kernel, under the hand of Chromium."""

import json

import numpy as np
import pytest
from browser_page import overflow_in_themes, page_in_chromium, pixels_of

import dtis_core as dtis
from dtis_core.bench.sliders import sample_images, sample_run
from dtis_core.datasets import load_for
from dtis_core.display.playground import PlayScene, playground
from dtis_core.pictures import to_pixels

pytestmark = pytest.mark.browser

FRAMES = """async seconds => {
  const canvas = document.querySelector('.dtis-picture'), area = canvas.getBoundingClientRect();
  const send = (name, x, y) => canvas.dispatchEvent(new PointerEvent(name, {pointerId: 1,
    clientX: area.left + x * area.width, clientY: area.top + y * area.height, bubbles: true}));
  canvas.parentElement.setPointerCapture = () => {};
  document.querySelector('.dtis-pick').click();
  const start = performance.now();
  let frames = 0;
  send('pointerdown', window.at[0], window.at[1]);
  while (performance.now() - start < 1000 * seconds) {
    send('pointermove', window.at[0] + 0.2 * Math.sin(frames / 15), window.at[1]);
    await new Promise(requestAnimationFrame);
    frames++;
  }
  send('pointerup', window.at[0], window.at[1]);
  return frames / seconds;
}"""


@pytest.fixture(scope="module")
def scenes():
    """A scene of tetrominoes, and a made one of ten objects in 128x128 pixels."""
    run = dtis.load("tetrominoes")
    images = load_for(run.config, "validation", 1).images
    ten = sample_run().decompose(sample_images())
    for layer, x in ((1, -0.3), (2, 0.3), (3, 0.2), (4, -0.2)):
        ten = ten.duplicate(layer)
        ten = ten.edit(len(ten.objects), shift=(x, 0.1))
    return run.decompose(images), ten, images


@pytest.fixture(scope="module")
def page(scenes, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "playground.html"
    one, ten, images = scenes
    links = (("why it moves", "why.html"),)
    parts = [PlayScene("Pieces", "Three.", one, images[0], links), PlayScene("Ten", "Ten.", ten)]
    further = [("start here", "index.html")]
    file.write_text(playground(parts, "Playground", "Take it apart.", further))
    with page_in_chromium(file) as page:
        yield page


@pytest.fixture
def opened(page):
    """Open a scene by its title, from the start of the page."""

    def opened(title):
        page.reload()
        page.get_by_role("button", name=title, exact=True).click()
        page.wait_for_timeout(100)
        return page.locator(".dtis-picture")

    return opened


def shown(canvas):
    canvas.page.wait_for_timeout(150)
    return pixels_of(canvas)


def assert_shows(canvas, scene):
    wanted = to_pixels(scene.reconstruction[0]).astype(int)
    np.testing.assert_allclose(shown(canvas), wanted, atol=2)


def choose(page, number):
    page.locator(f'li[data-number="{number}"] .dtis-pick').click()


def middle(scene, number):
    """Where an object is opaque, in parts of the image."""
    mask = scene.alphas[0, number - 1, 0].numpy() > 0.9
    y, x = np.argwhere(mask)[mask.sum() // 2]
    return (x + 0.5) / mask.shape[1], (y + 0.5) / mask.shape[0]


def drag(page, canvas, start, end):
    area = canvas.bounding_box()
    points = [
        (area["x"] + x * area["width"], area["y"] + y * area["height"]) for x, y in (start, end)
    ]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=8)
    page.mouse.up()


def test_a_piece_is_taken_and_dragged(page, opened, scenes):
    canvas, scene = opened("Pieces"), scenes[0]
    assert_shows(canvas, scene)
    x, y = middle(scene, 2)
    drag(page, canvas, (x, y), (x + 4 / 35, y))
    assert "object 2" in page.get_by_role("status").inner_text()
    moved = scene.edit(2, shift=(round(4 / 35, 4), 0.0))
    assert_shows(canvas, moved)
    page.get_by_role("button", name="Undo").click()
    assert_shows(canvas, scene)
    page.get_by_role("button", name="Redo").click()
    assert_shows(canvas, moved)


def test_keys_do_what_the_hand_does(page, opened, scenes):
    canvas, scene = opened("Ten"), scenes[1]
    choose(page, 1)
    canvas.focus()
    for key in ("ArrowRight", "Shift+ArrowDown", "]", "]"):
        page.keyboard.press(key)
    step = round(1 / 128, 4), round(5 / 128, 4)
    edited = scene.edit(1, shift=step, angle=10.0)
    assert_shows(canvas, edited)
    page.keyboard.press("PageDown")
    depth = edited.orders[0].index(1)
    edited = edited.edit(1, depth=depth - 1)
    assert_shows(canvas, edited)
    page.keyboard.press("Delete")
    assert_shows(canvas, edited.edit(1, sprite=0))
    for _ in range(2):
        page.keyboard.press("Control+z")
    page.keyboard.press("Control+d")
    copied = scene.edit(1, shift=step, angle=10.0).duplicate(1)
    assert_shows(canvas, copied.edit(11, shift=(0.06, 0.06)))


def test_sprites_colours_layers_and_the_image_are_at_hand(page, opened, scenes):
    canvas, scene = opened("Pieces"), scenes[0]
    choose(page, 1)
    page.get_by_role("button", name="sprite 5", exact=True).click()
    page.locator("input[type=color]").fill("#ff8000")
    gains = (1.0, round(128 / 255, 3), 0.0)
    edited = scene.edit(1, sprite=5, colour=gains)
    assert_shows(canvas, edited)
    page.get_by_role("button", name="hide object 3").click()
    assert_shows(canvas, edited.edit(3, sprite=0))
    page.get_by_role("button", name="show object 3").click()
    assert_shows(canvas, edited)
    page.get_by_role("button", name="Before").click()
    np.testing.assert_allclose(shown(canvas), scenes[2][0], atol=1)


def test_after_a_drag_a_link_leads_to_why_it_works(page, opened, scenes):
    canvas, scene = opened("Pieces"), scenes[0]
    x, y = middle(scene, 2)
    drag(page, canvas, (x, y), (x + 4 / 35, y))
    why = page.get_by_role("region", name="Why this works").get_by_role("link")
    place, further = why.get_attribute("href"), page.get_by_role("link", name="start here")
    assert (place, why.count(), further.get_attribute("href")) == ("why.html", 1, "index.html")
    opened("Ten")
    assert not page.get_by_role("region", name="Why this works").is_visible()


def test_narrow_and_dark_pages_hold_it(page, opened):
    opened("Ten")
    assert max(overflow_in_themes(page)) <= 0


def test_ten_objects_follow_the_hand(page, opened, scenes, capsys):
    opened("Ten")
    page.evaluate("at => { window.at = at; }", list(middle(scenes[1], 10)))
    rate = page.evaluate(FRAMES, 3)
    with capsys.disabled():
        print("\ndrag of one of ten objects, 128x128:", json.dumps({"frames_per_second": rate}))
    assert rate > 10
