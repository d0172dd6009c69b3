"""Scores of found objects on tracks made by hand, and the blob detector on dots."""

import numpy as np
import pytest
from fake_console import dots_run, with_dots

from dtis_core.datasets import atari
from dtis_core.errors import DtisError
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.clips import seen_in
from dtis_core.scoring import score
from dtis_core.scoring.tracking import (
    NEAR,
    blobs,
    evaluate_game,
    median_frame,
    score_places,
    tracking_scores,
)

KINDS = ["ball", "bat", "bat"]
FRAMES = 6


def tracks():
    """A ball that moves both ways, a bat that moves up and down, and one that stays."""
    t = np.arange(FRAMES, dtype=float)
    still = np.zeros(FRAMES)
    paths = [(10 + 4 * t, 40 - 2 * t), (still, 3 * t), (still + 70, still + 20)]
    return np.array(paths).transpose(2, 0, 1), np.ones((FRAMES, 3), bool)


def scores(true, shown, found, sprites):
    return tracking_scores(true, shown, KINDS, np.asarray(found, float), np.asarray(sprites))


def test_what_is_found_exactly_scores_best_in_any_order():
    true, shown = tracks()
    order = np.argsort(np.random.default_rng(0).random((FRAMES, 3)), axis=1)
    found = np.take_along_axis(true, order[:, :, None], axis=1)
    sprites = np.array([2, 1, 1])[order]
    best = dict(found=1, false=0, R2_x=1, R2_y=1, one_kind=1, one_sprite=1)
    assert scores(true, shown, found, sprites) == best


def test_what_is_missed_and_what_is_too_much_are_told_apart():
    true, shown = tracks()
    sprites = np.tile([2, 1, 1], (FRAMES, 1))
    found = true.copy()
    found[:3, 0] += NEAR + 0.1  # the ball is too far off in half the frames
    sprites[:2, 1] = 0  # a bat is missed in two
    shown[5, 2] = False  # and one is found where it is hidden
    got = scores(true, shown, found, sprites)
    assert got["found"] == pytest.approx((3 * FRAMES - 3 - 2 - 1) / (3 * FRAMES - 1))
    assert got["false"] == pytest.approx((3 + 1) / FRAMES)


def test_where_there_is_nothing_none_is_found():
    true, shown = tracks()
    got = scores(true, shown, np.zeros((FRAMES, 0, 2)), np.zeros((FRAMES, 0), int))
    assert got["found"] == got["false"] == got["one_kind"] == 0 and np.isnan(got["R2_x"])


def test_one_thing_counts_for_one_object_and_a_near_pair_is_not_given_up_for_a_far_one():
    true = np.array([[[0.0, 0.0], [4.0, 0.0]]])
    one = tracking_scores(
        true, np.ones((1, 2), bool), ["a", "b"], np.array([[[2.0, 0.0]]]), np.array([[1]])
    )
    assert one["found"] == 0.5 and one["false"] == 0
    # In all, 0 to 40 and 4 to 2.9 would be nearer than 0 to 2.9 and 4 to 40.
    two = np.array([[[2.9, 0.0], [40.0, 0.0]]])
    got = tracking_scores(true, np.ones((1, 2), bool), ["a", "b"], two, np.array([[1, 1]]))
    assert got["found"] == 0.5 and got["false"] == 1


def test_r2_is_of_coordinates_that_move_however_far_off():
    true, shown = tracks()
    found = true.copy()
    found[:, 0, 0] = true[:, 0, 0].mean()  # nothing is known of the ball's x
    got = scores(true, shown, found, np.tile([1, 2, 3], (FRAMES, 1)))
    assert got["R2_x"] == pytest.approx(0) and got["R2_y"] == 1
    still = tracking_scores(
        true[:, 2:], shown[:, 2:], ["bat"], found[:, 2:], np.ones((FRAMES, 1), int)
    )
    assert np.isnan(still["R2_x"]) and np.isnan(still["R2_y"])


def test_sprites_that_share_a_kind_and_kinds_that_share_a_sprite():
    true, shown = tracks()
    split = scores(true, shown, true, np.tile([1, 2, 3], (FRAMES, 1)))
    assert split["one_kind"] == 1 and split["one_sprite"] == pytest.approx(2 / 3)
    same = scores(true, shown, true, np.ones((FRAMES, 3), int))
    assert same["one_kind"] == pytest.approx(2 / 3) and same["one_sprite"] == 1


def test_finding_nothing_scores_nothing_and_nothing_to_find_is_refused():
    true, shown = tracks()
    got = scores(true, shown, true, np.zeros((FRAMES, 3), int))
    assert got["found"] == got["false"] == got["one_kind"] == 0 and np.isnan(got["R2_x"])
    with pytest.raises(DtisError, match="no frame shows an object"):
        scores(true, ~shown, true, np.ones((FRAMES, 3), int))


def test_blobs_are_what_differs_from_the_median_frame():
    images = np.full((5, 20, 30, 3), 50, np.uint8)
    images[:, :, 15] = 200  # a line that stays
    for frame in range(5):
        images[frame, 4:6, 3 * frame : 3 * frame + 2] = 255
    images[2, 12, 25] = 255
    images[4] = images[0]
    images[4, 4:6, :2] = 50  # nothing is left
    places, there = blobs(images, median_frame(images))
    assert there.tolist() == [[1, 0], [1, 0], [1, 1], [1, 0], [0, 0]]
    assert places[:4, 0].tolist() == [[3 * frame + 0.5, 4.5] for frame in range(4)]
    assert places[2, 1].tolist() == [25, 12]


def test_a_run_is_scored_by_the_memory_of_a_game_beside_a_detector_of_blobs(monkeypatch, tmp_path):
    with_dots(monkeypatch, tmp_path / "cache")
    run = dots_run(tmp_path / "run")
    noted = {}
    monkeypatch.setattr(score, "load", lambda name: run)
    monkeypatch.setattr(RunFolder, "manifest", lambda folder: {"seed": 0})
    monkeypatch.setattr(
        RunFolder, "note_scores", lambda folder, key, scores: noted.update({key: scores})
    )
    got = score.score("run", inference="one-look")
    assert noted == {"atari-dots/validation/one-look": got}
    assert got["images"] == 20 and got["data"] == "atari-dots (played)"
    played = atari.play("dots", "validation", 20)
    seen = seen_in(run.decompose(played.images, inference="one-look"))
    expected = score_places(played, seen.places.astype(float), seen.sprites)
    assert {name: got[name] for name in expected} == pytest.approx(expected)
    # Nothing moves across what the other dot shows.
    assert got["blobs"]["found"] == 1 and got["blobs"]["false"] == 0


def test_a_clip_is_scored_beside_its_frames(monkeypatch, tmp_path):
    with_dots(monkeypatch, tmp_path / "cache")
    run = dots_run(tmp_path / "run")
    best = evaluate_game(run, "dots", "validation", 20, "best")
    clip = best["clip"]
    assert clip["ms_per_image"] > 0 and clip["ms_alone"] > 0
    played = atari.play("dots", "validation", 20)
    seen = seen_in(run.decompose_clip(played.images).scene)
    expected = score_places(played, seen.places.astype(float), seen.sprites)
    assert {name: clip[name] for name in expected} == pytest.approx(expected)
    assert "clip" not in evaluate_game(run, "dots", "validation", 20, "one-look")
