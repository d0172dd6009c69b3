"""The stage draws what Python draws, takes edits as they come, and lets no text become markup."""

import json
import re

import numpy as np
import pytest
import torch
from browser_pictures import differences, run_script
from kinds import EVERY, IMAGES, KINDS, a_run
from random_models import MODELS, draw_config

import dtis_core as dtis
from dtis_core.config import SearchConfig
from dtis_core.datasets import load_for
from dtis_core.display.playground import PlayScene, playground
from dtis_core.display.scripts import WEB
from dtis_core.display.stage import Stage
from dtis_core.display.stage_data import described, edits_of
from dtis_core.errors import DtisError
from dtis_core.model.predictor import Prediction
from dtis_core.model.selection import Selection
from dtis_core.scenes.change import abilities
from dtis_core.scenes.scene import Scene
from dtis_core.search.seeking import build_model

CLOSE = 0.6  # of 255: half a step of the background's 8 bits, and a little


def edited_ways(scene):
    """A scene as found, with every change its model knows, with copies, and in another order."""
    able = abilities(scene.model) | {"sprite"}
    known = {name: value for name, value in EVERY.items() if name in able}
    known["sprite"] = min(known["sprite"], scene.model.config.sprites)
    changed = scene.edit(1, **known)
    copied = changed.duplicate(1).duplicate(len(scene.objects))
    front = copied.edit(1, to_front=True).edit(len(copied.objects), sprite=0)
    return [scene, changed, copied, front, front.duplicate(1)]


@pytest.fixture(scope="module")
def scene():
    return a_run("clevr").decompose(IMAGES[:1])


def test_every_kind_of_model_is_drawn_as_python_draws_it():
    scenes = [s for kind in KINDS for s in edited_ways(a_run(kind).decompose(IMAGES[:1]))]
    assert max(differences(scenes)) < CLOSE


def random_scene(number):
    """What an untrained model might find, with random parameters, a cycle of depths and blanks."""
    config, generator = draw_config(number), torch.Generator().manual_seed(number)
    model = build_model(config, SearchConfig()).eval()
    L, K, G = config.layers, config.sprites, config.backgrounds
    P, R, S = (sequence.size for sequence in model.sequences)

    def normal(*shape):
        return 0.2 * torch.randn(shape, generator=generator)

    with torch.no_grad():
        for canvases in (model.sprites.appearances, model.sprites.masks):
            canvases.copy_(0.5 + 2 * normal(*canvases.shape))
        if G:
            model.backgrounds.appearances.copy_(0.5 + normal(*model.backgrounds.appearances.shape))
        parts = normal(1, L, P), normal(1, L, K, R), normal(1, G, S), normal(1, L, 0)
        occlusion = torch.randint(2, (1, L, L), generator=generator).float()
        occlusion *= 1 - torch.eye(L)
        sprites = torch.randint(K + 1, (1, L), generator=generator)
        selection = Selection(sprites, torch.zeros(1, dtype=torch.long))
        return Scene.of(model, model.render(Prediction(*parts), occlusion, selection))


def test_random_models_are_drawn_as_python_draws_them():
    assert max(differences([random_scene(number) for number in MODELS])) < 2  # colours beyond 1


@pytest.mark.parametrize("name", ["tetrominoes", "multi-dsprites", "digits", "photos-postcards"])
def test_shipped_models_are_drawn_as_python_draws_them(name):
    run = dtis.load(name)
    images = load_for(run.config, run.config.data.score_split, 1).images
    assert max(differences(edited_ways(run.decompose(images, inference="one-look")))) < CLOSE


def test_edits_are_what_json_reads(scene):
    edits = edits_of(scene.edit(1, shift=(0.1, 0.2), sprite=2).edit(2, depth=0))
    assert edits == json.loads(json.dumps(edits))
    assert edits["objects"][0] == {"layer": 1, "sprite": 2, "shift": [0.1, 0.2]}
    assert edits["order"][0] == 2


def test_depths_are_set_as_python_sets_them(scene):
    script = """
    import {readFileSync} from 'node:fs';
    import {withDepth} from '%s';
    const {description, asked} = JSON.parse(readFileSync(0, 'utf8'));
    console.log(JSON.stringify(asked.map(([e, n, depth]) => withDepth(description, e, n, depth))));
    """
    several = [scene, scene.edit(1, depth=2), scene.duplicate(2)]
    asked = [
        (one, number, depth)
        for one in several
        for number in range(1, len(one.objects) + 1)
        for depth in range(len(one.objects))
    ]
    orders = run_script(
        script % (WEB / "composition.js").as_uri(),
        {
            "description": described(scene),
            "asked": [[edits_of(one), number, depth] for one, number, depth in asked],
        },
    )
    for (one, number, depth), order in zip(asked, orders, strict=True):
        assert one.edit(number, depth=depth).order == tuple(order)


def test_the_widget_tells_of_edits_that_the_hand_made_and_of_no_others(scene):
    told = []
    stage = Stage(
        scene,
        IMAGES[0],
        on_edit=lambda edits, step: told.append((edits, step)),
        on_undo=lambda: told.append("undo"),
    )
    stage.follow(scene.edit(1, sprite=2))
    assert not told
    edits = edits_of(scene.edit(1, sprite=3))
    stage.set_state({"edits": edits, "step": "drag 1"})
    assert told == [(edits, "drag 1")]
    stage._handle_custom_msg({"does": "undo"}, [])
    stage._handle_custom_msg({"does": "what there is not"}, [])
    assert told[1:] == ["undo"]


def test_scenes_of_several_images_are_refused():
    with pytest.raises(DtisError, match="expected one of one image, found 2"):
        described(a_run("clevr").decompose(IMAGES))


def test_the_module_is_whole_and_names_nothing_twice(scene):
    for source in (Stage._esm, playground([PlayScene("a", "b", scene)], "t", "i")):
        assert not re.search(r"^(import|export (?!default))", str(source), re.MULTILINE)
    names = re.findall(r"^(?:const|let|function) (\w+)", str(Stage._esm), re.MULTILINE)
    assert len(names) > 20 and len(names) == len(set(names))


def test_a_page_holds_no_text_as_markup_and_asks_no_other_host(scene):
    bad = "</script><img src=x onerror=alert(1)>"
    part = PlayScene(bad, bad, scene, IMAGES[0], [(bad, bad)])
    page = playground([part], bad, bad, [(bad, f'"{bad}')])
    assert "<img" not in page and page.count("</script>") == 2
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    held = re.search(r'id="scenes">(.*?)</script>', page, re.DOTALL).group(1)
    assert json.loads(held)[0]["title"] == bad
    assert np.isfinite(json.loads(held)[0]["before"]["range"]).all()
