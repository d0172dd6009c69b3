"""The search in a frame begins with the scene of the frame before, by shipped models.

Frames are composed of the models' own sprites, so that what is in them is known.
"""

import pytest
import torch

import dtis_core as dtis
from dtis_core import datasets
from dtis_core.scenes.found import load_found
from dtis_core.search import following
from dtis_core.search.following import SHORTEST, decomposed_clip, followed
from dtis_core.search.rounds import Effort, best_scenes

FRAMES = 6


@pytest.fixture(scope="module")
def pong():
    return dtis.load("atari-pong")


@pytest.fixture(scope="module")
def game(pong):
    """Two paddles and a ball in successive frames: scenes kept of frames that are not here."""
    kept = load_found(pong, "atari-pong", "validation", range(60))
    three = (kept.sprite_index > 0).sum(dim=1) == 3
    start = next(f for f in range(60 - FRAMES) if three[f : f + FRAMES].all())
    return load_found(pong, "atari-pong", "validation", range(start, start + FRAMES))


def followed_through(run, frames):
    """The clip of frames, each sought from the scene before."""
    found = decomposed_clip(run.model.eval(), frames, effort(run))
    assert len(found.selection.sprites) == len(frames)
    return found


def effort(run):
    search = run.config.search
    return Effort(search.inference_steps, search.polish_steps, search.views, search.polish_every)


def objectives(run, scene, images):
    return scene.objectives(images, run.config.model.penalty)


def counted(monkeypatch):
    """Count the images that are sought by themselves."""
    counts = []

    def fresh(model, images, *, effort):
        counts.append(len(images))
        return best_scenes(model, images, effort)

    monkeypatch.setattr(following, "best_scenes", fresh)
    return counts


# Sprites that are not turned, in even turns, and by angles that a fovea reads.
@pytest.mark.parametrize("name", ["tetrominoes", "multi-dsprites"])
def test_going_on_from_a_scene_never_makes_it_worse(name):
    run = dtis.load(name)
    images = datasets.load(name, "validation", 2).images
    batch = torch.from_numpy(images).movedim(3, 1) / 255
    scene = run.decompose(images, steps=1, polish=0).decomposition
    own = scene.reconstruction.clamp(0, 1)
    model = run.model.eval()
    assert torch.equal(model.resumed(own, scene).selection.sprites > 0, scene.selection.sprites > 0)
    assert (model.resumed(own, scene).errors(own) < 1e-4).all()
    better = objectives(run, model.resumed(batch, scene), batch)
    assert (better <= objectives(run, scene, batch) + 1e-7).all()


def test_frames_of_a_game_are_found_as_well_as_by_themselves(pong, game, monkeypatch):
    frames = game.reconstruction
    counts = counted(monkeypatch)
    found = followed_through(pong, frames)
    assert sum(counts) < len(frames)
    alone = pong.decompose(frames).decomposition
    assert (objectives(pong, found, frames) < objectives(pong, alone, frames) + 2e-5).all()
    assert (found.errors(frames) < 2e-5).all()


def test_equal_frames_keep_every_object_in_its_layer(pong, game, monkeypatch):
    counts = counted(monkeypatch)
    found = followed_through(pong, game.reconstruction[:1].repeat(4, 1, 1, 1))
    assert counts == [1]
    assert (found.selection.sprites == found.selection.sprites[:1]).all()


def test_what_appears_after_an_empty_frame_is_found_and_what_leaves_is_gone(pong, game):
    empty = game.background[:1]
    frames = torch.cat([empty, game.reconstruction[:2], empty])
    found = followed_through(pong, frames)
    assert (found.selection.sprites > 0).sum(dim=1).tolist() == [0, 3, 3, 0]
    assert (found.errors(frames) < 2e-5).all()


@pytest.mark.parametrize("appears", [True, False])
def test_one_object_more_or_less_leaves_the_others_in_their_tracks(pong, game, appears):
    one = game.edit(1, sprite=0).reconstruction
    parts = [one[:3], game.reconstruction[3:]] if appears else [game.reconstruction[:3], one[3:]]
    clip = pong.decompose_clip(torch.cat(parts))
    seen = (clip.layers > 0).sum(axis=0)
    assert (seen == FRAMES).sum() == 2 and FRAMES - 3 in seen


def test_what_became_worse_is_sought_anew(pong, game, monkeypatch):
    frames = game.reconstruction[:2]
    before = pong.decompose(frames[:1]).decomposition
    calls = []

    def fresh(images):
        calls.append(len(images))
        return best_scenes(pong.model, images, effort(pong))

    were = objectives(pong, before, frames[:1])
    followed(pong.model, frames[1:], before, were, 4, fresh)
    assert calls == []
    scene = followed(pong.model, frames[1:], before, torch.zeros(1), 4, fresh)
    assert calls == [1] and (scene.errors(frames[1:]) < 2e-5).all()


def test_stretches_side_by_side_come_back_in_order(pong, game, monkeypatch):
    frames = torch.cat([game.reconstruction] * 6)[: 2 * SHORTEST + 1]
    counts = counted(monkeypatch)
    found = followed_through(pong, frames)
    assert counts[0] == 2
    assert (found.errors(frames) < 2e-5).all()
