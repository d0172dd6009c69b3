"""Objects found in frames of games, scored by the console's memory, and a baseline without a model.

An object counts as found where something found lies within `NEAR` pixels of it, one to one.
"""

import time

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from dtis_core.datasets.atari import Played, play
from dtis_core.errors import DtisError
from dtis_core.model.composition import squared_errors
from dtis_core.pictures import to_tensor
from dtis_core.scenes.clips import seen_in
from dtis_core.scenes.run import Run

NEAR = 3.0  # pixels
MOVES = 1.0  # pixels: deviation of a coordinate that moves
ALONE = 32  # images whose time by themselves is measured
DIFFERS = 30  # of 3 x 255: a pixel that is not the background's

Places = Float[np.ndarray, "N P 2"]
"""Places (x, y) in pixels of P things in N frames."""


def tracking_scores(
    true: Places,
    shown: Bool[np.ndarray, "N P"],
    kinds: list[str],
    found: Float[np.ndarray, "N Q 2"],
    sprites: Int[np.ndarray, "N Q"],
) -> dict[str, float]:
    """Score what was found, where `sprites` is not 0, by P true objects of some kinds.

    Returns, as fractions but for the false ones:
        found: of the objects shown, those with something found near them, one to one.
        false: things found beyond those, in a frame.
        R2_x, R2_y: of the variance of a coordinate, how much what was found tells; the mean over
            objects that move along it. Each object is paired with what is nearest, one to one and
            however far, and frames where too little was found are left out. Not a number where
            nothing moves, or is found.
        one_kind: of the found objects, those of the kind that their sprite shows most.
        one_sprite: of the found objects, those shown by the sprite that shows their kind most.

    Raises DtisError where no object is shown.
    """
    if not shown.any():
        raise DtisError("tracking: no frame shows an object; nothing can be found")
    near, nearest = [], []
    for frame in range(len(true)):
        objects, things = np.flatnonzero(shown[frame]), np.flatnonzero(sprites[frame])
        apart = true[frame][objects, None] - found[frame][things]  # (objects, things, 2)
        distances = np.linalg.norm(apart, axis=2)
        for pairs, limit in ((near, NEAR), (nearest, np.inf)):
            # All beyond the limit costs the same, so that no near pair is given up for it.
            costs = np.where(distances <= limit, distances, 1e3 * NEAR)
            for o, t in zip(*linear_sum_assignment(costs), strict=True):
                if distances[o, t] <= limit:
                    pairs.append((frame, objects[o], things[t]))
    near, nearest = (np.array(pairs, int).reshape(-1, 3) for pairs in (near, nearest))
    table = np.zeros((sprites.max(initial=0) + 1, len(set(kinds))), int)
    kind = np.unique(kinds, return_inverse=True)[1]
    np.add.at(table, (sprites[near[:, 0], near[:, 2]], kind[near[:, 1]]), 1)
    some = max(len(near), 1)
    return {
        "found": len(near) / int(shown.sum()),
        "false": (int((sprites > 0).sum()) - len(near)) / len(true),
        "R2_x": _explained(true, shown, found, nearest, axis=0),
        "R2_y": _explained(true, shown, found, nearest, axis=1),
        "one_kind": int(table.max(axis=1).sum()) / some,
        "one_sprite": int(table.max(axis=0).sum()) / some,
    }


def _explained(
    true: Places,
    shown: Bool[np.ndarray, "N P"],
    found: Float[np.ndarray, "N Q 2"],
    pairs: Int[np.ndarray, "M 3"],
    axis: int,
) -> float:
    """Return R² of a coordinate, averaged over the objects that move along it."""
    scores = []
    for number in range(true.shape[1]):
        frame, _, thing = pairs[pairs[:, 1] == number].T
        moves = true[shown[:, number], number, axis]
        if len(frame) and moves.std() > MOVES:
            off = found[frame, thing, axis] - true[frame, number, axis]
            scores.append(1 - np.square(off).mean() / moves.var())
    return float(np.mean(scores)) if scores else float("nan")


def blobs(
    images: UInt8[np.ndarray, "N H W 3"], background: UInt8[np.ndarray, "H W 3"]
) -> tuple[Places, Int[np.ndarray, "N P"]]:
    """Return the middles of what differs from a background, and 1 where there is something."""
    differs = np.abs(images.astype(int) - background).sum(axis=3) > DIFFERS  # (N, H, W)
    middles = []
    for frame in differs:
        labels, count = ndimage.label(frame, np.ones((3, 3)))
        middles.append(ndimage.center_of_mass(frame, labels, range(1, count + 1)))
    counts = [len(frame) for frame in middles]
    there = np.arange(max(counts)) < np.array(counts)[:, None]  # (N, P)
    places = np.zeros((*there.shape, 2))
    places[there] = np.array([place[::-1] for frame in middles for place in frame]).reshape(-1, 2)
    return places, there.astype(int)


def median_frame(images: UInt8[np.ndarray, "N H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Return the colour that each pixel has in the middle of its frames."""
    return np.median(images, axis=0).astype(np.uint8)


def evaluate_game(run: Run, title: str, split: str, count: int | None, inference: str) -> dict:
    """Return `tracking_scores` of a run on `count` frames of a game, those of `blobs` beside.

    `known` is the share of frames that are among those to train on, for a console repeats itself.
    Of the inference `best`, `clip` holds what `score_clip` tells. What else is told is as by
    `evaluate`. Raises DtisError as `play` and `Run.decompose`.
    """
    played = play(title, split, count)
    begun = time.perf_counter()
    scene = run.decompose(played.images, inference=inference)
    seconds = time.perf_counter() - begun
    seen = seen_in(scene)
    error = squared_errors(to_tensor(played.images), scene.reconstruction.cpu())
    trained = play(title).images
    known = {frame.tobytes() for frame in trained}
    clip = {"clip": score_clip(run, played)} if inference == "best" else {}
    return {
        "data": f"atari-{title} (played)",
        "images": len(played.images),
        "inference": inference,
        **score_places(played, seen.places.astype(float), seen.sprites),
        "blobs": score_places(played, *blobs(played.images, median_frame(trained))),
        "known": float(np.mean([frame.tobytes() in known for frame in played.images])),
        "reconstruction_error": float(error.double().mean()),
        "sprites_used": len({*seen.sprites.flat} - {0}),
        "ms_per_image": 1000 * seconds / len(played.images),
        **clip,
    }


def score_clip(run: Run, played: Played) -> dict[str, float]:
    """Return `tracking_scores` where each frame is sought from the one before, and what it takes.

    `ms_per_image` is of a frame of the clip, `ms_alone` of an image decomposed by itself: the mean
    of `ALONE` of them.
    """
    begun = time.perf_counter()
    clip = run.decompose_clip(played.images)
    then = time.perf_counter()
    alone = played.images[:: max(1, len(played.images) // ALONE)][:ALONE]
    for image in alone:
        run.decompose(image[None])
    taken = time.perf_counter() - then
    seen = seen_in(clip.scene)
    return score_places(played, seen.places.astype(float), seen.sprites) | {
        "ms_per_image": 1000 * (then - begun) / len(played.images),
        "ms_alone": 1000 * taken / len(alone),
    }


def score_places(
    played: Played, found: Float[np.ndarray, "N Q 2"], sprites: Int[np.ndarray, "N Q"]
) -> dict[str, float]:
    """Return `tracking_scores` of what was found in frames of a game, those that are numbers."""
    kinds = [thing.kind for thing in played.game.things]
    scores = tracking_scores(played.places, played.shown, kinds, found, sprites)
    return {name: score for name, score in scores.items() if np.isfinite(score)}
