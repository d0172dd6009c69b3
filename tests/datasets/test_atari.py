"""Frames of games and their truth, by a console that is a few lines, and by the real one."""

import itertools
import sys

import numpy as np
import pytest
from fake_console import BLOCK, GAME, FakeConsole, shorten, with_dots

from dtis_core import datasets
from dtis_core.datasets import atari
from dtis_core.errors import DtisError

BEHIND = {"tennis": ["ball"]}  # of a game, what goes behind the lines and the net of its ground


@pytest.fixture
def dots(monkeypatch, tmp_path):
    return with_dots(monkeypatch, tmp_path)


def test_truth_is_where_the_dots_are_seen(dots):
    played = atari.play("dots", count=BLOCK)
    assert played.images.shape == (BLOCK, 40, 60, 3) and played.shown.any(axis=0).all()
    for number, channel in enumerate((0, 1)):
        seen = played.images[..., channel] > 100
        assert np.array_equal(seen.any(axis=(1, 2)), played.shown[:, number])
        for frame in np.flatnonzero(played.shown[:, number]):
            y, x = np.nonzero(seen[frame])
            middle = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
            assert played.places[frame, number] == pytest.approx(middle, abs=0.51)  # half seen


def test_what_is_cut_off_is_measured_by_what_is_left_of_it():
    memory = np.zeros((4, 128), np.uint8)
    memory[:, 7] = 5, 7, 8, 40  # from wholly out at the left, by one and two columns, to inside
    places, shown = GAME.places(memory)
    assert shown[:, 0].tolist() == [False, True, True, True]
    assert places[1:, 0, 0].tolist() == [-0.25, 0.0, 15.5]
    assert not shown[:, 1].any()  # its byte is 0


def test_streams_are_seeded_and_independent_and_a_shorter_one_begins_a_longer(
    dots, monkeypatch, tmp_path
):
    def moves(*where):
        return atari.play("dots", *where).places[:, 0, 0]

    streams = [moves(split, 2 * BLOCK) for split in atari.COUNTS]
    streams += [moves("train", 2 * BLOCK, 1), streams[0][BLOCK:], streams[0][:BLOCK]]
    for one, other in itertools.combinations(streams, 2):
        if len(one) == len(other):
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.9
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path / "another"))
    assert np.array_equal(moves("train", 2 * BLOCK), streams[0])
    assert np.array_equal(moves("train", 30), streams[0][:30])


def test_a_game_is_played_once_and_then_kept(dots):
    first = atari.play("dots", "validation", 20)
    played = len(dots)
    again = atari.play("dots", "validation", 20)
    assert len(dots) == played == 1
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.places, again.places) and np.array_equal(first.shown, again.shown)


def test_a_game_that_is_over_begins_anew(dots, monkeypatch):
    monkeypatch.setattr(FakeConsole, "game_over", lambda self: self.frames > 100)
    monkeypatch.setattr(atari, "LATEST", 40)
    atari.play("dots", count=BLOCK)
    assert dots[0].starts > 1


def test_frames_are_a_data_set_without_masks(dots):
    data = datasets.load("atari-pong", "train", 20)
    assert data.images.shape == (20, 80, 80, 3) and data.masks is None and data.categories is None
    assert data.fingerprint == datasets.load("atari-pong", "train", 20).fingerprint
    assert data.fingerprint != datasets.load("atari-pong", "final", 20).fingerprint


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(DtisError, match=r"atari-pong: needs .*pip install 'dtis\[games\]'"):
        datasets.load("atari-pong", "validation", 3)
    assert not list(tmp_path.iterdir())


def test_unknown_games_and_splits_are_named():
    with pytest.raises(DtisError, match="unknown game 'ping', did you mean 'pong'"):
        atari.play("ping")
    with pytest.raises(DtisError, match="'atari-pong' has no split 'test'"):
        atari.play("pong", "test")


@pytest.mark.parametrize("title", atari.GAMES)
def test_the_memory_of_the_real_console_tells_where_pixels_change(title, monkeypatch, tmp_path):
    pytest.importorskip("ale_py", reason="needs the extra `games`")
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path))
    shorten(monkeypatch)
    played = atari.play(title, "validation", 4 * BLOCK)
    images = played.images.astype(int)
    differs = np.abs(images - np.median(images, axis=0)).sum(axis=3)
    errors, hidden = [], 0
    for number, thing in enumerate(played.game.things):
        half = [int(side / played.game.smaller / 2) + 3 for side in thing.size]
        for frame in np.flatnonzero(played.shown[:, number]):
            others = np.delete(played.places[frame], number, axis=0)
            here = played.places[frame, number]
            if (np.abs(others - here) < 2 * np.array(half)).all(axis=1).any():
                continue  # which pixels are whose cannot be told
            (x, y), (w, h) = here.round().astype(int), half
            top, left = max(y - h, 0), max(x - w, 0)
            rows, columns = np.nonzero(differs[frame, top : y + h + 1, left : x + w + 1] > 30)
            if thing.name in BEHIND.get(title, ()) and not len(rows):
                hidden += 1
                continue
            assert len(rows), f"{thing.name}: nothing in frame {frame}"
            errors.append(np.array([columns.mean() + left, rows.mean() + top]) - here)
    assert np.median(np.abs(errors)) < 0.5 and np.percentile(np.abs(errors), 90) < 1.5
    assert hidden < 0.1 * len(images)
