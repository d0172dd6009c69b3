"""How fast the scene editor answers a slider: from its new value to the bytes of the new picture.

The model is made here, for want of a trained one of that size everywhere: six layers at 128x128,
as for CLEVR6. What a browser adds is measured by tests/browser/test_sliders.py.
"""

import json
import os
import time
from dataclasses import replace
from statistics import median, quantiles

import numpy as np
import torch

from dtis_core.config import load_preset
from dtis_core.errors import DtisError
from dtis_core.runs.run_folder import RunFolder, device_name
from dtis_core.scenes.run import Run
from dtis_core.scenes.scene import Scene
from dtis_core.search.seeking import build_model

WARM_UP = 10  # ticks before timing
COLOURS = [(0.9, 0.3, 0.2), (0.2, 0.5, 0.9), (0.95, 0.8, 0.2), (0.3, 0.8, 0.4), (0.8, 0.4, 0.8)]


class SampleRun(Run):
    """A model of six layers whose sprites are drawn by hand, and whose scenes are made up."""

    @torch.no_grad()
    def decompose(self, images: np.ndarray, **settings: int) -> Scene:
        """Encode images as any run does, then scatter the same objects over them each time."""
        scene = super().decompose(images, **settings)
        random = np.random.default_rng(0)
        for layer in range(1, self.config.model.layers + 1):
            scene = scene.edit(
                layer,
                sprite=1 + (layer - 1) % self.config.model.sprites,
                colour=COLOURS[layer % len(COLOURS)],
                shift=tuple(random.uniform(-0.1, 0.6, 2).tolist()),
                angle=float(random.uniform(-90, 90)),
            )
        # From here on that is what was found.
        selection = replace(scene.decomposition.selection, sprites=scene.sprite_index)
        found = self.model.render(scene.parameters, scene.occlusion, selection)
        return Scene.of(self.model, found)


def sample_run() -> SampleRun:
    """Return the model; it is the same each time."""
    config = load_preset("clevr6/fast").override(["search.inference_steps=1"])
    torch.manual_seed(0)
    model = build_model(config.model, config.search).eval()
    h, w = config.model.sprite_size
    y, x = torch.linspace(-1, 1, h)[:, None].abs(), torch.linspace(-1, 1, w).abs()
    with torch.no_grad():
        for sprite, power in enumerate([0.6, 1.0, 1.5, 2.0, 4.0, 16.0]):  # from a star to a square
            radius = (y**power + x**power) ** (1 / power)
            model.sprites.masks[sprite, 0] = ((0.85 - radius) * h / 4 + 0.5).clamp(0, 1)
            model.sprites.appearances[sprite] = 1 - 0.5 * radius.clamp(0, 1)
    return SampleRun(RunFolder("sample"), config, model)


def sample_images(count: int = 1) -> np.ndarray:
    """Return images of as many greys, uint8 (B, 128, 128, 3)."""
    greys = (128 + 8 * np.arange(count, dtype=np.uint8))[:, None, None, None]
    return np.broadcast_to(greys, (count, 128, 128, 3)).copy()


def bench_sliders(seconds: float = 20.0) -> dict:
    """Drag three sliders of the editor for a time; return milliseconds from value to picture.

    Raises DtisError for a time that is not positive.
    """
    if not seconds > 0:
        raise DtisError(f"--seconds: must be above 0, found {seconds}")
    from dtis_core.display.editor import SceneEditor

    editor = SceneEditor(sample_run(), sample_images())
    names = ["x", "size", "angle"]
    times: list[float] = []
    begun = time.perf_counter()
    for tick in range(100_000):
        control = editor.controls[names[tick // 20 % len(names)]]
        share = (1 + tick % 20) / 21
        start = time.perf_counter()
        control.value = control.min + share * (control.max - control.min)
        if tick >= WARM_UP:
            times.append(1000 * (time.perf_counter() - start))
        if len(times) >= 2 and time.perf_counter() - begun > seconds:
            break
    return {
        "ticks": len(times),
        "device": device_name(torch.device("cpu")),
        "load": os.getloadavg()[0],
        "median_ms": median(times),
        "p95_ms": quantiles(times, n=20)[-1],
        "per_second": 1000 / median(times),
    }


def print_sliders(result: dict, as_json: bool) -> None:
    """Print what was measured as JSON or for a person."""
    if as_json:
        print(json.dumps(result))
        return
    print(f"scene editor, 128x128, six layers, {result['device']}, load {result['load']:.1f}")
    print(f"value to picture, median  {result['median_ms']:8.1f} ms")
    print(f"95 % of ticks within      {result['p95_ms']:8.1f} ms")
    print(f"pictures a second         {result['per_second']:8.0f}")
