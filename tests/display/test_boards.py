"""Boards: the browser draws what Python does, and handles go where they are pulled."""

import re
from itertools import permutations

import numpy as np
import pytest
import torch
from browser_pictures import run_script

from dtis_core.display.layer_board import LayerBoard
from dtis_core.display.module_board import ModuleBoard
from dtis_core.display.scripts import WEB
from dtis_core.errors import DtisError
from dtis_core.model.composition import occlusion_from_logits
from dtis_core.model.transformations import TRANSFORMATIONS, PointMap, Sequence

L, C, H, W = 3, 3, 9, 12
SPRITE = torch.rand(4, 10, 10, generator=torch.Generator().manual_seed(1))
HANDLES = {  # how many a hand can take hold of
    "colour": 0, "position": 2, "similarity": 3, "affine": 3, "projective": 4, "tps": 16,
    "morphological": 0, "tint": 0, "placement": 2, "wide_placement": 2, "translation": 1,
    "rotation": 1,
}  # fmt: skip
SCRIPT = """
import {readFileSync} from 'node:fs';
import * as layers from '%s';
import * as handles from '%s';
import {openedModule, transformedSprite} from '%s';
const asked = JSON.parse(readFileSync(0, 'utf8'));
"""
PARTS = ("layers.js", "handles.js", "module_board.js")


def in_browser(lines, asked):
    """What lines of a script print of `asked`, where the boards' scripts are imported."""
    return run_script(SCRIPT % tuple((WEB / name).as_uri() for name in PARTS) + lines, asked)


def board(**changes):
    """A board of random soft layers under probabilities, with a background and a target."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.rand(shape, generator=generator)

    parts = {
        "alphas": random(1, L, 1, H, W),
        "colours": random(1, L, C, H, W),
        "occlusion": occlusion_from_logits(4 * random(1, 3) - 2, L),
        "background": random(1, C, H, W),
        "target": random(1, C, H, W),
    }
    return LayerBoard(**parts | changes)


def drawn(boards):
    images = in_browser(
        """console.log(JSON.stringify(asked.map(({layers: own, ...state}) =>
          [...layers.composedLayers(layers.openedLayers(own), state).image])));""",
        [
            {name: getattr(one, name) for name in ("layers", "occlusion", "shifts", "opacity")}
            for one in boards
        ],
    )
    return [np.array(image).reshape(C, H, W) for image in images]


def test_layers_are_composed_as_python_composes_them():
    soft, moved, alone = board(), board(), board(background=None)
    cycle = board(occlusion=torch.tensor([[[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]]))
    moved.shifts, moved.opacity = [[3, -2], [-5, 0], [20, 4]], 0.5
    alone.shifts = [[0, 8], [11, -8], [-12, 9]]
    boards = [soft, moved, alone, cycle]
    for one, image in zip(boards, drawn(boards), strict=True):
        np.testing.assert_allclose(image, one.image[0].clamp(0, 1).numpy(), atol=0.1 / 255)


def test_a_board_starts_as_its_layers_are():
    one = board(background=None)
    wanted = (1 - one.alphas[0, 1] * one.occlusion[1][0]) * (
        1 - one.alphas[0, 2] * one.occlusion[2][0]
    )
    others = board(
        background=None, colours=one.colours * torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1, 1)
    )
    torch.testing.assert_close(others.image[0], wanted * one.alphas[0, 0] * one.colours[0, 0])


def test_a_step_closer_is_the_matrix_of_another_order():
    orders = list(permutations((1, 2, 3, 4)))
    found = in_browser(
        """console.log(JSON.stringify(asked.map(order => [1, -1, 9].map(by =>
          order.map((_, l) => layers.swapped(layers.inOrder(order), l, by))))));""",
        orders,
    )
    for order, ways in zip(orders, found, strict=True):
        for by, matrices in zip((1, -1, 9), ways, strict=True):
            for layer, matrix in enumerate(matrices, 1):
                others = [one for one in order if one != layer]
                others.insert(min(3, max(0, order.index(layer) + by)), layer)
                hides = np.array(matrix)
                assert [others.index(one) for one in (1, 2, 3, 4)] == hides.sum(axis=1).tolist()
                if by == 1 and order[-1] != layer:  # two transposed entries, no more
                    before = np.array(
                        [
                            [order.index(j) > order.index(i) for i in (1, 2, 3, 4)]
                            for j in (1, 2, 3, 4)
                        ]
                    )
                    assert (hides != before).sum() == 2


def test_orders_cycles_and_doubts_are_told_apart():
    cycle = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    order = [[0, 1, 0], [0, 0, 0], [1, 1, 0]]
    doubt = [[0, 0.5], [0.5, 0]]
    said = in_browser(
        "console.log(JSON.stringify(asked.map(layers.inWords)));", [cycle, order, doubt]
    )
    assert said[0] == "No order: 2 hides 1, 1 hides 3, 3 hides 2."
    assert said[1] == "An order, the farthest first: 2 < 1 < 3."
    assert said[2].startswith("Undecided")


def test_boards_that_do_not_fit_are_refused():
    with pytest.raises(
        DtisError, match=r"expected occlusion of shape \(1, 3, 3\), found \(1, 2, 2\)"
    ):
        board(occlusion=torch.zeros(1, 2, 2))
    with pytest.raises(DtisError, match="'rotation' has parameters 0 to 0, found a slider of"):
        ModuleBoard(SPRITE, "rotation", {"x": (1, 1.0)})
    with pytest.raises(DtisError, match="unknown transformation"):
        ModuleBoard(SPRITE, "shear", {})


def module_board(name, seed, size=(14, 14)):
    """A board whose parameters are random."""
    placing = hasattr(TRANSFORMATIONS[name](3), "translation")
    one = ModuleBoard(SPRITE, name, {"all": (slice(None), 1.0)}, size if placing else None)
    draw = torch.rand(len(one.values), generator=torch.Generator().manual_seed(seed))
    one.values = (0.5 * draw - 0.25).tolist()
    return one


def test_every_module_is_drawn_as_python_draws_it():
    boards = [module_board(name, seed) for name in TRANSFORMATIONS for seed in (0, 1)]
    images = in_browser(
        """console.log(JSON.stringify(asked.map(({module, values}) =>
          [...transformedSprite(openedModule(module), values).pixels])));""",
        [{"module": one.module, "values": one.values} for one in boards],
    )
    for one, image in zip(boards, images, strict=True):
        wanted = one.image.numpy()
        found = np.clip(image, 0, 1).reshape(wanted.shape)
        np.testing.assert_allclose(found, wanted, atol=0.1 / 255, err_msg=one.module["name"])


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_pulled_handles_go_where_they_are_pulled(name):
    """To the place itself, or as near as one number of scale or angle can bring them."""
    one = module_board(name, 3)
    found = in_browser(
        """const [own] = asked.module.sequence.modules, before = asked.values;
        const all = handles.handlesOf(asked.module, own, before);
        console.log(JSON.stringify(all.map((handle, n) => {
          const to = [handle.at[0] + 0.07, handle.at[1] - 0.05];
          const values = handles.pulled(asked.module, own, before, handle, to);
          return {handle, to, values, after: handles.handlesOf(asked.module, own, values)};
        })));""",
        {"module": one.module, "values": one.values},
    )
    assert len(found) == HANDLES[name]
    for n, pull in enumerate(found):
        at, to = np.array(pull["after"][n]["at"]), np.array(pull["to"])
        before = np.array(pull["handle"]["at"])
        if pull["handle"]["does"] in ("shift", "corner", "bend"):
            np.testing.assert_allclose(at, to, atol=1e-6)
        else:
            assert np.linalg.norm(at - to) < np.linalg.norm(before - to)
        if pull["handle"]["does"] == "corner":
            others = [[end["at"] for end in pull["after"]], [p["handle"]["at"] for p in found]]
            for side in others:
                side.pop(n)
            np.testing.assert_allclose(*others, atol=1e-6)
        if pull["handle"]["does"] == "corner":  # Python reads the corner there, too
            [module] = Sequence([name], 3, None).modules
            assert isinstance(module, PointMap)
            points = torch.tensor(to, dtype=torch.float32).view(1, 1, 1, 2)
            read = module.points(torch.tensor([pull["values"]]), points)
            np.testing.assert_allclose(read.flatten(), pull["handle"]["place"], atol=1e-4)


def test_maps_that_flatten_the_sprite_are_not_taken():
    one = ModuleBoard(SPRITE, "projective", {})
    kept = in_browser(
        """const [own] = asked.module.sequence.modules;
        const [first] = handles.handlesOf(asked.module, own, asked.values);
        const to = [[1, 1], [0, 0], [5, 5], [1e9, 0], [-0.9, -0.8]];
        console.log(JSON.stringify(to.map(place =>
          handles.pulled(asked.module, own, asked.values, first, place).every(v => !v))));""",
        {"module": one.module, "values": one.values},
    )
    assert kept == [True, True, True, True, False]


def test_what_the_hand_did_is_known_to_python():
    layers, module = board(), module_board("similarity", 0)
    layers.set_state({"shifts": [[1, 0], [0, 0], [0, 0]], "opacity": 0.5})
    before = board().image
    assert not torch.allclose(layers.image, before)
    module.set_state({"values": [0.0] * 4})
    torch.testing.assert_close(module.image, SPRITE, atol=1e-5, rtol=0)


@pytest.mark.parametrize("make", [board, lambda: module_board("tps", 0)])
def test_modules_are_whole_and_stills_are_pictures(make):
    one = make()
    source = str(one._esm)
    assert not re.search(r"^(import|export (?!default))", source, re.MULTILINE)
    names = re.findall(r"^(?:export )?(?:const|let|function) (\w+)", source, re.MULTILINE)
    assert len(names) == len(set(names)) and "innerHTML" not in source
    renamed = re.compile(r"^import [^;]* as ", re.MULTILINE)  # which a whole module would not know
    assert not [file.name for file in WEB.glob("*.js") if renamed.search(file.read_text())]
    bundle, _ = one._repr_mimebundle_()
    assert {"text/plain", "image/png"} < set(bundle) and "layers={" not in repr(one)
