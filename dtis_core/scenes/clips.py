"""Clips: scenes of successive frames, in which an object keeps its identity from frame to frame.

The layer that holds an object may change from frame to frame. Layers are joined to tracks by the
Hungarian algorithm: the same track goes on where place, sprite and colour change least.
"""

import csv
import io
import math
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from scipy.optimize import linear_sum_assignment

from dtis_core.errors import DtisError
from dtis_core.paths import user_path
from dtis_core.pictures import to_pixels
from dtis_core.scenes.change import Change, apply_change, check_number
from dtis_core.scenes.clip_gif import write_gif
from dtis_core.scenes.scene import Scene
from dtis_core.scenes.scene_json import model_fingerprint
from dtis_core.storage.files import write_json, write_text

FORMAT = "dtis tracks 1"
FARTHEST = 0.3  # of the image's diagonal: a track goes on no farther, all changes counted
OTHER_SPRITE = 0.15  # of the diagonal, as much as a change of sprite counts
OTHER_COLOUR = 0.3  # and a change of colour by 1, the length of a channel
LEAST = 0.5  # pixels of a mask that show
PATIENCE = 5  # frames for which a track waits for an object that is not found


@dataclass(frozen=True)
class Seen:
    """What was found of N objects in F frames; an object is seen where its sprite is not 0.

    Places (x, y) and the image's diagonal are in pixels, 0 in the middle of the first; colours are
    in [0, 1].
    """

    sprites: Int[np.ndarray, "F N"]
    places: Float[np.ndarray, "F N 2"]
    colours: Float[np.ndarray, "F N C"]
    diagonal: float


@dataclass(frozen=True)
class Clip:
    """Scenes of successive frames, and which layer holds which object of the clip.

    `layers[f, t]` is the layer, 1..L, of track t + 1 in frame f, or 0 where that is not seen. The
    parameters of the track there are those of the layer in `scene.parameters`.
    """

    scene: Scene
    layers: Int[np.ndarray, "F T"]
    tracks: Seen

    @classmethod
    def of(cls, scene: Scene) -> "Clip":
        """Return the clip whose frames are a scene's images."""
        seen = seen_in(scene)
        layers = joined(seen)
        return cls(scene, layers, _taken(seen, layers))

    def rows(self) -> list[dict[str, float | int]]:
        """Return what is seen: frame from 0, track from 1, sprite, x, y, and the colour."""
        tracks, rows = self.tracks, []
        for frame, track in np.argwhere(self.layers > 0):
            x, y = tracks.places[frame, track]
            row = {"frame": int(frame), "track": int(track) + 1}
            row |= {"sprite": int(tracks.sprites[frame, track])}
            row |= {"x": round(float(x), 2), "y": round(float(y), 2)}
            for channel, value in enumerate(tracks.colours[frame, track], 1):
                row[f"channel_{channel}"] = round(float(value), 3)
            rows.append(row)
        return rows

    def save_tracks(self, path: str | Path) -> Path:
        """Write the `rows` as .csv or .json, by the name of the file, and return it.

        Raises DtisError for another name, and where the file cannot be written.
        """
        path, rows = user_path(path, "path"), self.rows()
        if path.suffix == ".csv":
            text = io.StringIO()
            channels = range(1, self.tracks.colours.shape[2] + 1)
            names = ["frame", "track", "sprite", "x", "y", *(f"channel_{c}" for c in channels)]
            writer = csv.DictWriter(text, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            write_text(path, text.getvalue())
        elif path.suffix == ".json":
            whole = {"format": FORMAT, "model": model_fingerprint(self.scene.model)}
            write_json(path, whole | {"frames": len(self.layers), "seen": rows})
        else:
            raise DtisError(f"{path}: tracks are written as .csv or .json; name the file so")
        return path

    @torch.no_grad()
    def edit(self, track: int, **change: object) -> "Clip":
        """Return the clip with the object of a track, 1..T, changed wherever it is seen.

        `change` are fields of `Change`. What it hides, and what hides it, stays so. Raises
        DtisError for a track or a field that there is not, and for a value out of range.
        """
        check_number("track", track, 1, self.layers.shape[1], Integral)
        scene, where = self.scene, torch.from_numpy(self.layers[:, track - 1])
        frame = where.nonzero()[:, 0]
        at = frame, where[frame] - 1
        wanted = Change.of(scene.model, change)
        found, sprites = scene.parameters, scene.sprite_index.clone()
        layer, sprite = found.layer.clone(), found.sprite.clone()
        layer[at], sprite[at] = apply_change(scene.model, wanted, layer[at], sprite[at])
        if wanted.sprite is not None:
            sprites[at] = wanted.sprite
        prediction = replace(found, layer=layer, sprite=sprite)
        selection = replace(scene.decomposition.selection, sprites=sprites)
        drawn = scene.model.render(prediction, scene.occlusion, selection)
        edited = Scene.of(scene.model, drawn)
        seen = seen_in(edited)
        there = np.take_along_axis(seen.sprites, np.maximum(self.layers - 1, 0), axis=1) > 0
        layers = np.where(there, self.layers, 0)
        return Clip(edited, layers, _taken(seen, layers))

    def save_gif(
        self,
        path: str | Path,
        frames: UInt8[np.ndarray, "F H W C"] | None = None,
        marks: bool = True,
    ) -> Path:
        """Write an animation of the clip, and return its path, which must end in .gif.

        It shows the reconstruction, or the `frames` of the clip. With `marks` each object seen has
        a ring of its track's colour, and its way behind it. Raises DtisError for frames of another
        number or size, for another name, and where the file cannot be written.
        """
        path, own = user_path(path, "path"), to_pixels(self.scene.reconstruction)
        if frames is not None and (frames.shape != own.shape or frames.dtype != np.uint8):
            raise DtisError(
                f"frames: expected uint8 {own.shape}, found {frames.dtype} {frames.shape}"
            )
        shown = own if frames is None else frames
        shown = np.broadcast_to(shown, (*shown.shape[:3], 3))
        places = self.tracks.places.astype(float)
        write_gif(path, shown, places if marks else places[:, :0])
        return path


@torch.no_grad()
def seen_in(scene: Scene) -> Seen:
    """Return what is in the layers of a scene; a layer of which nothing shows is not seen.

    An object's place is the middle of its mask, in so far as it lies in the image, and its colour
    the mean there.
    """
    alphas = scene.alphas[:, :, 0]  # (F, N, H, W)
    height, width = alphas.shape[-2:]
    mass = alphas.sum(dim=(2, 3))  # (F, N)
    x = alphas.sum(dim=2) @ torch.arange(width, device=alphas.device).to(alphas)
    y = alphas.sum(dim=3) @ torch.arange(height, device=alphas.device).to(alphas)
    places = torch.stack([x, y], dim=2) / mass.clamp(min=1e-6).unsqueeze(2)  # (F, N, 2)
    sprites = torch.where(mass > LEAST, scene.sprite_index, 0)
    shades = (scene.alphas * scene.layers).sum(dim=(3, 4))  # (F, N, C)
    colours = shades / mass.clamp(min=1e-6).unsqueeze(2)
    found = (part.cpu().numpy() for part in (sprites, places, colours))
    return Seen(*found, math.hypot(height, width))


def joined(seen: Seen) -> Int[np.ndarray, "F T"]:
    """Return which of N objects, from 1, each of T tracks is in each of F frames, 0 for none."""
    frames = len(seen.sprites)
    tracks: list[np.ndarray] = []  # (F,) each
    last: list[tuple[int, int]] = []  # frame and object where each was seen last
    for frame in range(frames):
        there = np.flatnonzero(seen.sprites[frame]).tolist()
        alive = [t for t, (before, _) in enumerate(last) if frame - before <= PATIENCE]
        costs = np.array([[_change(seen, last[t], (frame, n)) for n in there] for t in alive])
        costs = costs.reshape(len(alive), len(there))
        # All that is too far costs the same, so that it is paired only for want of anything else.
        pairs = np.stack(linear_sum_assignment(np.minimum(costs, FARTHEST)), axis=1)
        goes_on = {there[n]: alive[t] for t, n in pairs if costs[t, n] < FARTHEST}
        for n in there:
            if n not in goes_on:
                goes_on[n] = len(tracks)
                tracks.append(np.zeros(frames, int))
                last.append((frame, n))
            tracks[goes_on[n]][frame] = n + 1
            last[goes_on[n]] = frame, n
    return np.stack(tracks, axis=1) if tracks else np.zeros((frames, 0), int)


def _change(seen: Seen, before: tuple[int, int], now: tuple[int, int]) -> float:
    """Return how unlike two sightings (frame, object) are, in diagonals of the image."""
    moved = np.linalg.norm(seen.places[now] - seen.places[before]) / seen.diagonal
    recoloured = np.linalg.norm(seen.colours[now] - seen.colours[before])
    other = seen.sprites[now] != seen.sprites[before]
    return float(moved + OTHER_SPRITE * other + OTHER_COLOUR * recoloured)


def _taken(seen: Seen, layers: Int[np.ndarray, "F T"]) -> Seen:
    """Return the objects of the tracks; 0, or not a number, where a track is not seen."""
    frame, there = np.arange(len(layers))[:, None], layers > 0
    sprites = np.where(there, seen.sprites[frame, layers - 1], 0)
    places = np.where(there[..., None], seen.places[frame, layers - 1], np.nan)
    colours = np.where(there[..., None], seen.colours[frame, layers - 1], np.nan)
    return Seen(sprites, places, colours, seen.diagonal)
