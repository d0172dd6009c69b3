"""Drawn house numbers: what is where in them, and in what colours."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from dtis_core import datasets
from dtis_core.datasets import svhn_drawn
from dtis_core.datasets.svhn_drawn import FONTS, SIZE, Hand


def written(digit, beside=(0.0, 0.0), font=0, height=20.0, shift=(0.0, 0.0)):
    """Return the ink of one digit between an 8 and an 8, upright."""
    return svhn_drawn._ink(
        Hand(
            font=np.array([font]),
            digit=np.array([[8, digit, 8]]),
            beside=np.array([beside]),
            warp=np.eye(2)[None] / height,
            shift=np.array([shift]),
            gap=np.array([0.1]),
        )
    )[0]


@pytest.mark.parametrize("font", range(len(FONTS)))
def test_each_font_draws_ten_digits_of_one_height_in_the_middle(font):
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    assert (folder / f"{FONTS[font]}.ttf").is_file()
    drawn = [written(digit, font=font) for digit in range(10)]
    for ink in drawn:
        rows, columns = (np.nonzero(ink.max(axis=axis) > 0.5)[0] for axis in (1, 0))
        assert 17 <= np.ptp(rows) + 1 <= 22
        assert abs(rows.mean() - 13.5) <= 1 and abs(columns.mean() - 13.5) <= 1
    flat = np.stack(drawn).reshape(10, -1)
    alike = np.corrcoef(flat)[~np.eye(10, dtype=bool)]
    assert alike.max() < 0.97  # no box for a digit that the font lacks


def test_digits_beside_are_cut_off_at_their_side():
    alone, left, right = (written(1, sides) for sides in ((0, 0), (1, 0), (0, 1)))
    assert (left >= alone).all() and (right >= alone).all()
    assert (left[:, :3] > 0.5).any() and np.allclose(left[:, 14:], alone[:, 14:])
    assert (right[:, -3:] > 0.5).any() and np.allclose(right[:, :14], alone[:, :14])
    assert alone[:, :3].max() == alone[:, -3:].max() == 0


def test_a_shift_moves_the_digit_by_so_many_heights():
    moved = written(5, shift=(0.2, -0.1))  # of 20 pixels
    assert np.allclose(moved[4:-4, 8:-2], written(5)[6:-2, 4:-6], atol=1e-6)


def test_ink_stands_out_from_its_ground():
    ground, ink = svhn_drawn._colours(np.random.default_rng(0), 500)
    assert ground.shape == ink.shape == (500, 1, 1, 3)
    apart = np.abs(ground.mean(axis=-1) - ink.mean(axis=-1))
    assert apart.min() > 0.5 * svhn_drawn.CONTRAST  # clipping a channel may take some of it
    assert 0 <= min(ground.min(), ink.min()) and max(ground.max(), ink.max()) <= 255


def test_blur_spreads_a_point_and_keeps_its_sum():
    image = np.zeros((2, SIZE, SIZE, 3))
    image[:, 14, 14] = 1
    sharp, soft = svhn_drawn._blurred(image, np.array([0.3, 1.0]))
    assert sharp.sum() == pytest.approx(3) and soft.sum() == pytest.approx(3)
    assert sharp[14, 14, 0] > 0.9 and soft[14, 14, 0] == pytest.approx(1 / (2 * np.pi), rel=0.02)


def test_a_category_is_the_digit_in_the_middle_and_all_are_as_frequent(tmp_path, monkeypatch):
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path))
    data = datasets.load("svhn-drawn", "validation", 1000)
    assert data.name == "SVHN stand-in (generated)"
    assert data.images.shape == (1000, SIZE, SIZE, 3) and data.masks is None
    counts = np.bincount(data.categories[:, 0], minlength=11)
    assert counts[0] == 0 and counts[1:].min() > 60
    # Averaged over ground, ink and place, what is left in the middle is the digit's outline.
    grey = data.images.mean(axis=-1)
    edges = np.abs(np.diff(grey, axis=2))
    means = np.stack([edges[data.categories[:, 0] == c].mean(axis=0) for c in range(1, 11)])
    middle = means[:, 6:22, 8:20].reshape(10, -1)
    of_one, of_zero = middle[1].reshape(16, -1), middle[0].reshape(16, -1)
    assert of_one[:, 5:7].mean() > of_zero[:, 5:7].mean()  # a 1 has its stroke where a 0 is hollow
