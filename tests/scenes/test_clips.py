"""Objects keep their identity through a clip, whichever layer holds them in a frame."""

import csv
import json

import numpy as np
import pytest
import torch
from kinds import IMAGES, K, a_run
from PIL import Image

from dtis_core.errors import DtisError
from dtis_core.model.predictor import Prediction
from dtis_core.model.selection import Selection
from dtis_core.scenes.clip_gif import RADIUS
from dtis_core.scenes.clips import PATIENCE, Clip, Seen, joined
from dtis_core.scenes.scene import Scene

FRAMES, L = 9, 3
HIDDEN = (1, slice(3, 6))  # an object, and the frames in which it is not found


@pytest.fixture(scope="module")
def model():
    return a_run("tetrominoes").model


def moving_scene(model, seed=0):
    """Three objects of a sprite and a colour each that move on; layers change at each frame.

    Returns the scene and which layer, from 0, holds which object.
    """
    t = torch.linspace(-1, 1, FRAMES)
    x = torch.stack([0.5 * t, -0.5 * t, 0 * t], dim=1)  # (F, 3): two meet halfway
    y = torch.stack([0 * t - 0.4, 0 * t + 0.1, 0.4 * t], dim=1)
    tint = torch.tensor([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]).expand(FRAMES, 3, 3)
    layer = torch.cat([tint, torch.stack([x, y], dim=2)], dim=2)  # (F, 3, P)
    sprites = torch.tensor([[1, 2, 4]]).repeat(FRAMES, 1)
    sprites[HIDDEN[1], HIDDEN[0]] = 0
    rng = np.random.default_rng(seed)
    order = torch.tensor(np.stack([rng.permutation(L) for _ in range(FRAMES)]))
    layer = layer.gather(1, order[:, :, None].expand_as(layer))
    selection = Selection(sprites.gather(1, order), torch.zeros(FRAMES, dtype=torch.long))
    empty = torch.zeros(FRAMES, L, K, 0), torch.zeros(FRAMES, 0, 0), torch.zeros(FRAMES, L, 0)
    with torch.no_grad():
        found = model.render(Prediction(layer, *empty), torch.zeros(FRAMES, L, L), selection)
    return Scene.of(model, found), order.argsort(dim=1).numpy()


@pytest.mark.parametrize("seed", range(3))
def test_a_track_is_one_object_though_layers_change_and_one_is_hidden_for_a_while(model, seed):
    scene, layers = moving_scene(model, seed)
    clip = Clip.of(scene)
    expected = layers + 1
    expected[HIDDEN[1], HIDDEN[0]] = 0
    assert clip.layers.shape == (FRAMES, L)
    assert {tuple(track) for track in clip.layers.T} == {tuple(track) for track in expected.T}
    for track in range(L):
        seen = clip.tracks.sprites[:, track]
        assert len({*seen[seen > 0]}) == 1


def test_places_are_the_middles_of_what_is_seen(model):
    scene, _ = moving_scene(model)
    clip = Clip.of(scene)
    for frame, track in np.argwhere(clip.layers > 0):
        alpha = scene.alphas[frame, clip.layers[frame, track] - 1, 0].numpy()
        y, x = np.indices(alpha.shape)
        middle = (x * alpha).sum() / alpha.sum(), (y * alpha).sum() / alpha.sum()
        assert clip.tracks.places[frame, track] == pytest.approx(middle, abs=1e-3)
    assert np.isnan(clip.tracks.places[clip.layers == 0]).all()


def seen(places, sprites=None, colours=None):
    """Objects on an image with a diagonal of 100 pixels."""
    places = np.array(places, float)
    shape = places.shape[:2]
    sprites = np.ones(shape, int) if sprites is None else np.array(sprites)
    colours = np.ones((*shape, 3)) if colours is None else np.array(colours, float)
    return Seen(sprites, places, colours, 100.0)


def test_of_two_that_meet_the_sprite_tells_which_goes_on():
    places = [[[40, 50], [60, 50]], [[52, 50], [48, 50]]]  # each is nearer to where the other was
    assert joined(seen(places)).T.tolist() == [[1, 2], [2, 1]]
    assert joined(seen(places, [[1, 2], [1, 2]])).T.tolist() == [[1, 1], [2, 2]]
    colours = [[[1, 0, 0], [0, 1, 0]]] * 2
    assert joined(seen(places, colours=colours)).T.tolist() == [[1, 1], [2, 2]]


def test_what_is_far_off_or_long_gone_is_another_object():
    far = joined(seen([[[10, 10]], [[60, 10]]]))
    assert far.T.tolist() == [[1, 0], [0, 1]]
    for gap, tracks in ((PATIENCE - 1, 1), (PATIENCE, 2)):
        places = np.full((gap + 2, 1, 2), 10)
        sprites = np.zeros((gap + 2, 1), int)
        sprites[[0, -1]] = 1
        assert joined(seen(places, sprites)).shape[1] == tracks
    assert joined(seen([[[1, 1]]] * 3, np.zeros((3, 1), int))).shape == (3, 0)


def test_tracks_are_written_as_csv_and_json(model, tmp_path):
    clip = Clip.of(moving_scene(model)[0])
    clip.save_tracks(tmp_path / "tracks.csv")
    clip.save_tracks(tmp_path / "tracks.json")
    with (tmp_path / "tracks.csv").open() as file:
        table = list(csv.DictReader(file))
    whole = json.loads((tmp_path / "tracks.json").read_text())
    assert whole["frames"] == FRAMES and len(table) == FRAMES * L - 3
    assert [{k: float(v) for k, v in row.items()} for row in table] == whole["seen"]
    for row in whole["seen"]:
        frame, track = row["frame"], row["track"] - 1
        assert clip.tracks.sprites[frame, track] == row["sprite"]
        assert clip.tracks.places[frame, track] == pytest.approx([row["x"], row["y"]], abs=0.01)
    with pytest.raises(DtisError, match=r"tracks.txt: tracks are written as \.csv or \.json"):
        clip.save_tracks(tmp_path / "tracks.txt")


@pytest.mark.parametrize("kind", ["tetrominoes", "sized by sprite"])  # coloured, and not
def test_a_run_decomposes_a_clip_as_it_does_images(kind):
    run = a_run(kind)
    frames = np.concatenate([IMAGES, IMAGES])
    clip = run.decompose_clip(frames)
    alone = run.decompose(frames)
    assert torch.equal(clip.scene.sprite_index, alone.sprite_index)
    there = clip.layers > 0
    assert there.sum() == (alone.sprite_index > 0).sum()
    frame, track = np.nonzero(there)
    chosen = alone.sprite_index.numpy()[frame, clip.layers[there] - 1]
    assert np.array_equal(clip.tracks.sprites[there], chosen)
    with pytest.raises(DtisError, match="images: expected"):
        run.decompose_clip(frames[:, :5])


def test_an_edit_changes_one_object_in_all_frames_and_no_other(model):
    scene, _ = moving_scene(model)
    clip = Clip.of(scene)
    tracks = clip.tracks.sprites.max(axis=0).tolist()
    number = tracks.index(2) + 1  # the one that is hidden for a while
    edited = clip.edit(number, sprite=3, shift=(0.1, 0.0))
    seen = clip.layers[:, number - 1] > 0
    assert np.array_equal(edited.layers, clip.layers)
    assert (edited.tracks.sprites[seen, number - 1] == 3).all()
    others = np.delete(np.arange(L), number - 1)
    assert np.array_equal(edited.tracks.sprites[:, others], clip.tracks.sprites[:, others])
    same = edited.tracks.places[:, others], clip.tracks.places[:, others]
    assert np.allclose(*same, equal_nan=True)
    gone = torch.from_numpy(~seen)
    assert torch.equal(edited.scene.reconstruction[gone], scene.reconstruction[gone])
    assert not torch.equal(edited.scene.reconstruction[~gone], scene.reconstruction[~gone])


def test_an_edited_frame_is_the_edited_scene_of_that_frame(model):
    clip = Clip.of(moving_scene(model)[0])
    colour = (1.0, 0.2, 0.1)
    edited = clip.edit(1, colour=colour)
    for frame in range(FRAMES):
        layer = int(clip.layers[frame, 0])
        expected = clip.scene.edit(layer, colour=colour) if layer else clip.scene
        picture = expected.reconstruction[frame]
        assert torch.allclose(edited.scene.reconstruction[frame], picture, atol=1e-5)


def test_what_is_removed_leaves_its_track_and_wrong_edits_are_named(model):
    clip = Clip.of(moving_scene(model)[0])
    removed = clip.edit(2, sprite=0)
    assert not removed.layers[:, 1].any() and np.isnan(removed.tracks.places[:, 1]).all()
    assert np.array_equal(removed.layers[:, 0], clip.layers[:, 0])
    with pytest.raises(DtisError, match=r"track: must be in 1\.\.3, found 4"):
        clip.edit(4, sprite=1)
    with pytest.raises(DtisError, match="spite: not a field of an object's change"):
        clip.edit(1, spite=1)


def test_tracks_are_drawn_over_what_the_model_or_the_user_shows(model, tmp_path):
    scene, _ = moving_scene(model)
    clip = Clip.of(scene)
    grey = np.full((FRAMES, *scene.reconstruction.shape[2:], 3), 90, np.uint8)
    for frames in (None, grey):
        path = clip.save_gif(tmp_path / "tracks.gif", frames)
        with Image.open(path) as animation:
            assert animation.n_frames == FRAMES
            zoom = animation.width // grey.shape[2]
            for frame in range(FRAMES):
                animation.seek(frame)
                shown = np.asarray(animation.convert("RGB")).astype(int)
                for x, y in clip.tracks.places[frame][clip.layers[frame] > 0]:
                    x, y = ((value + 0.5) * zoom for value in (x, y))
                    row, column = round(y), round(x) + RADIUS
                    if column < animation.width:
                        ring = shown[row - 1 : row + 2, column - 1 : column + 2]
                        assert np.ptp(ring, axis=2).max() > 60  # a hue
    with Image.open(clip.save_gif(tmp_path / "bare.gif", grey, marks=False)) as animation:
        assert np.ptp(np.asarray(animation.convert("RGB"))) < 2
    with pytest.raises(DtisError, match=r"tracks.png: an animation is written as \.gif"):
        clip.save_gif(tmp_path / "tracks.png")
    with pytest.raises(DtisError, match=r"frames: expected uint8 \(9, .*, found uint8 \(8, "):
        clip.save_gif(tmp_path / "tracks.gif", grey[:8])
