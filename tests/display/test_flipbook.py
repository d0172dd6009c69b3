"""Flip books: what is packed, and that the browser is told what the algorithms did."""

import io
import json
import re
from base64 import b64decode

import numpy as np
import pytest
import torch
from kinds import IMAGES, a_run
from PIL import Image

from dtis_core.display.algorithm_book import algorithm_book, algorithm_steps
from dtis_core.display.flipbook import STILL, Card, FlipBook, Frame, packed_book
from dtis_core.display.penalty_book import PENALTIES, penalty_book, stretches
from dtis_core.display.ranking_book import ranking_book
from dtis_core.display.scripts import FLIP_BOOK, STAGE, module_of
from dtis_core.errors import DtisError
from dtis_core.model.composition import compose, put_background_below, squared_errors
from dtis_core.model.selection import Choice, greedy_selection
from dtis_core.pictures import to_pixels, to_tensor
from dtis_core.scenes.subsets import subsets_of

L, K, T = 3, 4, 2
PROBLEMS = [(0, 0.0, False), (0, 0.01, True), (2, 0.02, True), (1, 0.0, False)]


def problem(backgrounds, penalty, empty, steps=T):
    """One image of noise, soft layers that hide each other in part: all that selection takes."""
    generator = torch.Generator().manual_seed(backgrounds)

    def random(*shape):
        return torch.rand(shape, generator=generator)

    layers = [(random(1, K, 1, 6, 6), random(1, K, 3, 6, 6)) for _ in range(L)]
    occlusion = random(1, L, L).round() * (1 - torch.eye(L))
    occlusion = put_background_below(occlusion) if backgrounds else occlusion
    behind = random(1, backgrounds, 3, 6, 6)
    return random(1, 3, 6, 6), occlusion, behind, layers, penalty, empty, steps


def loss_of(problem, background, sprites):
    """Eq. (5) of a scene, composed from its parts, and its composition."""
    image, occlusion, backgrounds, layers, penalty, *_ = problem
    alphas = [layers[i][0][:, k - 1] * (k > 0) for i, k in enumerate(sprites)]
    colours = [layers[i][1][:, k - 1] for i, k in enumerate(sprites)]
    if backgrounds.shape[1]:
        shown = background is not None
        alphas.insert(0, torch.full_like(alphas[0], float(shown)))
        colours.insert(0, backgrounds[:, background or 0])
    composite = compose(torch.stack(alphas, 1), torch.stack(colours, 1), occlusion)
    error = float(squared_errors(image, composite))
    return error + penalty * sum(k > 0 for k in sprites), composite[0]


def steps_of(problem):
    images, occlusion, backgrounds, layers, *rules = problem
    return algorithm_steps(Choice(images, occlusion, backgrounds, len(layers)), layers, *rules)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_the_steps_are_those_of_algorithm_1(kind):
    own, chosen, before = problem(*kind), {}, loss_of(problem(*kind), None, [0] * L)[0]
    for number, step in enumerate(steps_of(own)):
        place = number % (L + bool(kind[0])) + (not kind[0])
        assert (step.iteration, step.layer) == (number // (L + bool(kind[0])) + 1, place)
        for k, loss in enumerate(step.losses.tolist()):
            tried = chosen | {step.layer: k}
            scene = tried.get(0), [tried.get(layer, 0) for layer in range(1, L + 1)]
            never = step.layer and k == 0 and not own[5]
            assert loss == pytest.approx(np.inf if never else loss_of(own, *scene)[0], abs=1e-6)
        chosen[step.layer] = step.chosen
        scene = chosen.get(0), [chosen.get(layer, 0) for layer in range(1, L + 1)]
        loss, composite = loss_of(own, *scene)
        assert step.loss == pytest.approx(loss, abs=1e-6)
        assert step.before == pytest.approx(before, abs=1e-6)
        torch.testing.assert_close(step.composite, composite)
        before = loss
        if step.layer == L:
            found = greedy_selection(*problem(*kind, steps=step.iteration))
            assert [chosen[layer] for layer in range(1, L + 1)] == found.sprites[0].tolist()
            assert chosen.get(0, 0) == found.background
    assert step.iteration == T


def test_the_algorithms_frames_mark_what_was_chosen():
    own = problem(*PROBLEMS[2])
    book, steps = algorithm_book(*own).book, steps_of(own)
    assert len(book["frames"]) == len(steps) == T * (L + 1)
    for frame, step in zip(book["frames"], steps, strict=True):
        [row] = frame["rows"]
        marked = [k for k, card in enumerate(row["cards"]) if card["marked"]]
        assert marked == [step.chosen] == [int(np.argmin([c["bar"] for c in row["cards"]]))]
        assert row["cards"][step.chosen]["value"] == f"{1e3 * step.loss:.2f}"
        assert f"{1e3 * step.loss:.2f}e-3" in frame["text"]
        pixels = to_pixels(step.composite)
        assert (picture(book, frame["pictures"][1]["picture"]) == pixels).all()
    assert f"background {steps[0].chosen + 1} leaves" in book["frames"][0]["text"]
    assert "again" in str(book)


def picture(book, number):
    """A picture of a packed book, cut from its sheet as the browser cuts it."""
    sheet = book["sheet"]
    png = b64decode(sheet["url"].removeprefix("data:image/png;base64,"))
    (h, w), pixels = sheet["size"], np.asarray(Image.open(io.BytesIO(png)))
    y, x = number // sheet["columns"] * h, number % sheet["columns"] * w
    return pixels[y : y + h, x : x + w]


def test_a_sheet_holds_each_picture_once():
    pictures = np.random.default_rng(0).integers(0, 256, (70, 3, 5, 3), dtype=np.uint8)
    pictures[40] = pictures[2]
    book = packed_book([Frame("a", "b", {"c": one}) for one in pictures], "label")
    numbers = [frame["pictures"][0]["picture"] for frame in book["frames"]]
    assert numbers[40] == numbers[2] and len(set(numbers)) == 69
    for number, wanted in zip(numbers, pictures, strict=True):
        assert (picture(book, number) == wanted).all()


def test_where_there_are_no_widgets_the_frame_with_the_most_cards_is_shown():
    small, grey = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 128, np.uint8)
    frames = [Frame("a", "", {"p": small}), Frame("b", "", {"p": small}, {"r": [Card("1", grey)]})]
    text, whole = FlipBook(frames, "label").still()
    assert text == "label: 2 frames"
    assert (whole[-64:, :64] == 128).all() and (whole[20 : 20 + STILL, :STILL] == 0).all()


def test_bars_are_shares_of_the_highest_in_their_row():
    small = np.zeros((2, 2, 3), np.uint8)
    cards = [Card("a", small, bar=(1.0, 1.0)), Card("b", small, bar=(0.5,)), Card("c", small)]
    rows = {"one": cards, "two": [Card("d", small, bar=(0.0,))]}
    first, second = packed_book([Frame("n", "t", {"p": small}, rows)], "l")["frames"][0]["rows"]
    assert [card["bar"] for card in first["cards"]] == [[0.5, 0.5], [0.25], []]
    assert second["cards"][0]["bar"] == [0.0]


def test_books_that_cannot_be_shown_are_refused():
    small, large = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)
    with pytest.raises(DtisError, match="no frame"):
        packed_book([], "label")
    for other in (large, small.astype(float), small[..., :1]):
        with pytest.raises(DtisError, match="pictures must be uint8"):
            packed_book([Frame("a", "b", {"c": small, "d": other})], "label")


@pytest.fixture(scope="module")
def scene():
    return a_run("multi-dsprites").decompose(IMAGES)


def test_a_subset_is_the_scene_without_the_other_layers(scene):
    subsets = subsets_of(scene, IMAGES[1], 1)
    assert len(subsets.kept.unique(dim=0)) == 2**3
    for kept, used, error, image in zip(
        subsets.kept, subsets.used, subsets.errors, subsets.images, strict=True
    ):
        edited = scene
        for layer in range(1, 4):
            edited = edited if kept[layer - 1] else edited.edit(layer, sprite=0)
        torch.testing.assert_close(image.clamp(0, 1), edited.reconstruction[1])
        assert used == (edited.sprite_index[1] > 0).sum()
        wanted = (image - to_tensor(IMAGES[1])).square().mean()
        assert float(error) == pytest.approx(float(wanted), rel=1e-5)
    for k, best in enumerate(subsets.best()):
        within = subsets.errors[subsets.used <= k]
        assert subsets.used[best] <= k and subsets.errors[best] == within.min()


def test_stretches_tell_where_the_number_of_sprites_changes():
    generator = np.random.default_rng(0)
    left_out = 0
    for _ in range(50):
        errors = np.sort(generator.random(6))[::-1].tolist()
        spans = stretches(errors)
        left_out += 6 - len(spans)
        for penalty in generator.random(20):
            k = int(np.argmin([error + penalty * n for n, error in enumerate(errors)]))
            assert [n for n, (low, high) in spans.items() if low <= penalty < high] == [k]
    assert left_out  # some are best for no λ


def test_the_penaltys_frames_keep_what_pays(scene):
    image = to_pixels(scene.reconstruction[0])  # which all layers explain, and no fewer
    book, subsets = penalty_book(scene, image).book, subsets_of(scene, image)
    assert len(book["frames"]) == len(PENALTIES)
    pay = []
    for frame, penalty in zip(book["frames"], PENALTIES, strict=True):
        least = float((subsets.errors + penalty * subsets.used).min())
        layers, numbers = (row["cards"] for row in frame["rows"])
        [chosen] = [card for card in numbers if card["marked"]]
        assert chosen["value"] == f"{1e3 * least:.2f}"
        assert chosen["title"].startswith(str(sum(card["marked"] for card in layers)))
        stays = picture(book, frame["pictures"][1]["picture"])
        kept = torch.tensor([card["marked"] for card in layers])
        assert (stays == to_pixels(subsets.images[(subsets.kept == kept).all(dim=1)][0])).all()
        pay.append(int(kept.sum()))
    assert (pay[0], pay[-1]) == (3, 0) and pay == sorted(pay, reverse=True)
    assert str(book).count("The number falls from") == len(set(pay)) - 1


def test_decompositions_stand_in_the_order_of_their_scores(scene):
    book = ranking_book(IMAGES, scene, [0.5, 0.25]).book
    assert [frame["name"] for frame in book["frames"]] == ["image 1, ARI 25.0", "image 0, ARI 50.0"]
    first = [picture(book, one["picture"]) for one in book["frames"][0]["pictures"]]
    assert (first[0] == IMAGES[1]).all() and (first[1] == to_pixels(scene.reconstruction[1])).all()


def test_what_is_shown_beside_the_widget_is_a_picture_and_no_state():
    book = FlipBook([Frame("a", "b", {"c": IMAGES[0], "d": IMAGES[1]})], "two")
    bundle, _ = book._repr_mimebundle_()
    assert bundle["text/plain"] == "two: 1 frames"
    shown = np.asarray(Image.open(io.BytesIO(b64decode(bundle["image/png"]))))
    shown = shown[20::5, ::5]  # below their names, five times as large
    assert (shown[:, :24] == IMAGES[0]).all() and (shown[:, -24:] == IMAGES[1]).all()


def test_the_modules_are_whole_and_name_nothing_twice():
    together = module_of(*STAGE, *FLIP_BOOK, "page.js")
    for source in (str(FlipBook._esm), together):
        assert not re.search(r"^(import|export (?!default))", source, re.MULTILINE)
        names = re.findall(r"^(?:const|let|function) (\w+)", source, re.MULTILINE)
        assert len(names) == len(set(names))
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", source)
        assert "innerHTML" not in source
    assert json.dumps(FlipBook([Frame("a", "b", {"c": IMAGES[0]})], "l").book)
