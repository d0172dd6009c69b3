"""Edits of scenes: what is drawn, and said as Python; no kernel, no widget."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from kinds import EVERY, IMAGES, KINDS, SIDE, K, L, everything, only, picture

from dtis_core.errors import DtisError
from dtis_core.scenes.change import Change, abilities, apply_change, check_values
from dtis_core.scenes.scene import MOST, Scene

# What can be changed


def test_each_model_changes_what_its_transformations_express(kind, run):
    assert abilities(run.model) == set(KINDS[kind][3].split())
    for name in EVERY.keys() - {"sprite"} - abilities(run.model):
        with pytest.raises(DtisError, match=f"^{name}: none of this model's transformations"):
            check_values(run.model, {name: EVERY[name]})


def blob_scene(run, x=0.0, y=0.0):
    """A scene whose first object is a wide blob at (x, y), in [-1, 1], of its sprite."""
    h, w = run.config.model.sprite_size
    rows = torch.linspace(-1, 1, h)[:, None] - y
    columns = torch.linspace(-1, 1, w)[None] - x
    run.model.sprites.masks.data[0, 0] = torch.exp(-(rows**2) / 0.02 - columns**2 / 0.06)
    prediction = run.decompose(IMAGES[:1]).parameters
    zeros = {name: torch.zeros_like(getattr(prediction, name)) for name in ("layer", "sprite")}
    return found(run, **zeros)


def found(run, **parameters):
    """A scene as if found with other parameters, and sprite 1 everywhere."""
    old = run.decompose(IMAGES[:1]).decomposition
    selection = replace(old.selection, sprites=torch.ones_like(old.selection.sprites))
    prediction = replace(old.prediction, **parameters)
    with torch.no_grad():
        return Scene.of(run.model, run.model.render(prediction, old.occlusion, selection))


def moments(scene):
    """Centre (x, y) in image sizes, area and direction of the long axis of the first object."""
    mask = scene.alphas[0, 0, 0].double()
    axis = (torch.arange(SIDE, dtype=torch.float64) + 0.5) / SIDE
    area = mask.sum()
    x, y = mask.sum(0) @ axis / area, mask.sum(1) @ axis / area
    dx, dy = axis - x, axis[:, None] - y
    xy, xx, yy = ((mask * part).sum() for part in (dx * dy, dx**2, dy**2))
    return x.item(), y.item(), area.item(), math.degrees(math.atan2(2 * xy, xx - yy) / 2)


PLACES = [kind for kind in KINDS if "angle" in KINDS[kind][3]]


@only(*PLACES)
def test_objects_move_grow_and_turn_about_their_own_centre(run):
    scene = blob_scene(run).edit(1, shift=(0.15, -0.1))
    x, y, area, angle = moments(scene)
    assert abs(angle) < 1  # the blob lies
    moved = moments(scene.edit(1, shift=(0.1, 0.05)))
    assert moved == pytest.approx((x + 0.1, y + 0.05, area, angle), rel=0.02, abs=0.01)
    grown = moments(scene.edit(1, scale=1.2))
    assert grown[2] == pytest.approx(1.44 * area, rel=0.05)
    assert grown[:2] == pytest.approx((x, y), abs=0.01)
    turned = moments(scene.edit(1, angle=30.0))
    assert turned == pytest.approx((x, y, area, 30), rel=0.05, abs=0.01)


@only(*PLACES)
def test_turns_add_up_and_four_of_90_degrees_are_none(run):
    scene = blob_scene(run, 0.2, 0.0).edit(1, angle=20.0, shift=(0.05, 0.0))
    twice = scene.edit(1, angle=25.0).edit(1, angle=45.0)
    torch.testing.assert_close(twice.alphas, scene.edit(1, angle=70.0).alphas, rtol=0, atol=1e-4)
    for _ in range(4):
        twice = twice.edit(1, angle=90.0)
    once = scene.edit(1, angle=70.0)
    torch.testing.assert_close(twice.alphas, once.alphas, rtol=0, atol=1e-4)


@only(*PLACES)
def test_a_turn_by_90_degrees_is_clockwise(run):
    scene = blob_scene(run)
    before, after = scene.alphas[0, 0, 0], scene.edit(1, angle=90.0).alphas[0, 0, 0]
    torch.testing.assert_close(after, before.rot90(-1), rtol=0, atol=1e-4)


@only("signs", "horses")
def test_a_bent_spline_moves_what_is_seen_at_its_control_point(run):
    # Point 11 is the third of the third row, at (1/3, 1/3) of [-1, 1].
    scene = blob_scene(run, 1 / 3, 1 / 3)
    x, y, *_ = moments(scene)
    moved_x, moved_y, *_ = moments(scene.edit(1, bend=((11, 0.05, -0.04),)))
    assert moved_x - x == pytest.approx(0.05, abs=0.02)
    assert moved_y - y == pytest.approx(-0.04, abs=0.02)
    far = moments(scene.edit(1, bend=((1, 0.05, 0.05),)))
    assert far[:2] == pytest.approx((x, y), abs=0.015)


@only("clevr")
def test_a_change_of_perspective_keeps_it(run):
    """Under a projective map the object's own centre stays where it is while it turns and grows."""
    prediction = blob_scene(run).parameters
    at = run.model.sequences[1].slices["projective"]
    prediction.sprite[..., at][..., [2, 5, 6]] = torch.tensor([0.2, -0.1, 0.3])
    scene = found(run, layer=prediction.layer, sprite=prediction.sprite)
    x, y, area, _ = moments(scene)
    turned = moments(scene.edit(1, angle=35.0))
    assert turned[:2] == pytest.approx((x, y), abs=0.02)
    assert turned[2] == pytest.approx(area, rel=0.1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sprite": 5}, r"sprite: must be in 0\.\.4, found 5"),
        ({"sprite": True}, "sprite: must be in 0..4, found True"),
        ({"colour": (1.0, 2.0)}, "colour: expected 3 values, found 2 values"),
        ({"colour": "red"}, "colour: expected 3 values, found 'red'"),
        ({"shift": (0.0, "x")}, r"shift: must be in -1e\+06\.\.1e\+06, found 'x'"),
        ({"shift": 0.1}, r"shift: expected \(x, y\), found 0.1"),
        ({"scale": -1.0}, r"scale: must be in 1e-06\.\.1e\+06, found -1\.0"),
        ({"angle": math.inf}, r"angle: must be in -1e\+06\.\.1e\+06, found inf"),
        ({"angle": 10**400}, "angle: must be in .*, found 10000"),
        ({"bend": ((0, 0.1, 0.1),)}, r"bend, point: must be in 1\.\.16, found 0"),
        ({"bend": ((1, 0.1),)}, r"bend: expected \(point, x, y\), found 2 values"),
        ({"bend": (3,)}, r"bend: expected \(point, x, y\), found 3"),
        ({"size": 2}, "size: not a field of an object's change"),
    ],
)
@only("signs")
def test_what_cannot_be_is_named(unedited, values, message):
    with pytest.raises(DtisError, match=message):
        unedited.edit(1, **values)


@only("multi-dsprites, quick")
def test_sprites_share_a_change_that_is_theirs(run, unedited):
    """A turn belongs to all sprites that an object may take: another sprite is turned as well."""
    parameters = unedited.parameters
    _, sprite = apply_change(
        run.model, Change(angle=30.0), parameters.layer[:, 0], parameters.sprite[:, 0]
    )
    angle = run.model.sequences[1].slices["similarity"].start
    turned = sprite[0, :, angle] - parameters.sprite[0, 0, :, angle]
    torch.testing.assert_close(turned, torch.full((K,), math.radians(30.0)), rtol=0, atol=1e-5)


# Drawing


def test_without_edits_the_scene_is_as_found(run, unedited):
    found = unedited.decomposition
    assert torch.equal(unedited.reconstruction, found.reconstruction.clamp(0, 1))
    assert torch.equal(unedited.parameters.sprite, found.prediction.sprite)
    assert unedited == run.decompose(IMAGES[:1])


def test_the_picture_is_what_the_python_makes(run, unedited):
    edited = everything(unedited)
    names = {"run": run, "images": IMAGES}
    exec(edited.python(image=0), names)
    assert torch.equal(names["picture"], edited.reconstruction[0])
    assert names["scene"] == edited
    assert np.abs(picture(edited).astype(int) - picture(unedited)).max() > 10


def test_an_object_is_drawn_as_it_is_composed(unedited):
    edited = everything(unedited)
    last = edited.objects[-1].parts
    assert torch.equal(last.alphas[0, 0], edited.alphas[0, -1])
    assert torch.equal(last.colours[0, 0], edited.layers[0, -1])
    drawn = edited.model.chosen_layers(
        edited.sprite_index, edited.parameters.layer, edited.parameters.sprite
    )
    torch.testing.assert_close(edited.alphas, drawn[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(edited.layers, drawn[1], rtol=0, atol=1e-5)


@only("clevr")
def test_a_tick_renders_one_object_and_never_encodes(run, unedited, monkeypatch):
    rendered = []
    chosen_layers = run.model.chosen_layers

    def counted(chosen, *parameters):
        rendered.append(chosen.shape[1])
        return chosen_layers(chosen, *parameters)

    def blind(*_):
        raise AssertionError("the predictor ran")

    monkeypatch.setattr(run.model, "chosen_layers", counted)
    monkeypatch.setattr(run.model.predictor, "forward", blind)
    for tick in range(5):
        picture(unedited.changed(2, Change(shift=(0.01 * tick, 0.0))))
    assert rendered == [1] * 4  # the first is the object as it was found
    moved = unedited.changed(2, Change(shift=(0.1, 0.0)))
    for same in (
        moved.edit(2, depth=0),
        moved.duplicate(2),
        moved.edit(2),
        moved.arrange((3, 2, 1)),
    ):
        picture(same)
    assert rendered == [1] * 5


# Editing


@only("tetrominoes", "clevr")
def test_edits_leave_the_scene_they_came_from_alone(unedited):
    before = picture(unedited)
    edited = everything(unedited).edit(2, sprite=0)
    assert edited != unedited
    assert np.array_equal(picture(unedited), before)
    assert [other.change for other in unedited.objects] == [Change()] * L


@only("tetrominoes")
def test_the_sprite_that_was_found_is_no_change(unedited):
    found = int(unedited.sprite_index[0, 0])
    other = 1 + found % K
    assert unedited.edit(1, sprite=other).sprite_index[0, 0] == other
    assert unedited.edit(1, sprite=other).edit(1, sprite=found) == unedited


@only("tetrominoes", "placed by sprite")
def test_colours_are_those_found_until_set(run, unedited):
    gains = tuple(unedited.colour(1)[0].tolist())
    same, other = unedited.edit(1, colour=gains), unedited.edit(1, colour=(0.0, 0.5, 0.0))
    assert other.colour(1).tolist() == [[0.0, 0.5, 0.0]]
    assert (other.layers[0, 0, [0, 2]] == 0).all()
    # Gains found are those that show, but for offsets, which setting a colour takes away.
    if "tint" in run.config.model.layer_transformations:
        assert np.array_equal(picture(same), picture(unedited))


@only("tetrominoes")
def test_an_edit_adds_to_those_before_and_a_change_takes_their_place(unedited):
    moved = unedited.edit(1, shift=(0.25, 0.0), scale=1, angle=0).edit(1, shift=(0.25, 0.5))
    assert moved.objects[0].change == Change(shift=(0.5, 0.5))
    assert moved == unedited.changed(1, Change(shift=(0.5, 0.5)))
    assert moved.edit(1, shift=(-0.5, -0.5)) == moved.changed(1, Change()) == unedited


def test_changes_add_up_by_field():
    first = Change(2, (1.0, 0.0, 0.0), (0.25, 0.0), 2.0, 30.0, ((11, 0.5, 0.0), (6, 0.25, 0.0)))
    then = first.then(Change(None, None, (0.0, 0.5), 1.5, 15.0, ((6, 0.25, 0.125),)))
    bend = ((6, 0.5, 0.125), (11, 0.5, 0.0))
    assert then == Change(2, (1.0, 0.0, 0.0), (0.25, 0.5), 3.0, 45.0, bend)
    assert first.then(Change(3, (0.0, 0.0, 1.0))).used["sprite"] == 3


@only("tetrominoes")
def test_lists_and_arrays_stand_for_tuples(unedited):
    edited = unedited.edit(1, sprite=np.int64(2), shift=[0.5, np.float64(0.25)])
    edited = edited.edit(2, colour=np.array([1.0, 0.5, 0.25]))
    wanted = unedited.edit(1, sprite=2, shift=(0.5, 0.25)).edit(2, colour=(1.0, 0.5, 0.25))
    assert edited == wanted and edited.python() == wanted.python()


@only("tetrominoes")
def test_a_copy_lies_in_front_of_its_object_and_has_its_changes(unedited):
    edited = unedited.edit(2, sprite=3, shift=(0.1, 0.0))
    copied = edited.duplicate(2)
    assert copied.objects[L] == edited.objects[1]
    (order,) = copied.orders
    assert order.index(L + 1) == order.index(2) + 1
    assert tuple(number for number in order if number <= L) == edited.orders[0]
    assert copied.occlusion[0, L, 1] == 1 and copied.occlusion[0, 1, L] == 0
    assert copied.sprite_index.tolist()[0][L] == 3
    again = copied.edit(L + 1, shift=(0.2, 0.0)).duplicate(L + 1)
    (order,) = again.orders
    assert order.index(L + 2) == order.index(L + 1) + 1
    ranks = torch.tensor([order.index(number) for number in range(1, L + 3)])
    assert torch.equal(again.occlusion[0], (ranks[:, None] > ranks).float())
    assert again.objects[:L] == edited.objects


@only("tetrominoes")
def test_copies_are_not_without_end(unedited):
    for _ in range(MOST - L):
        unedited = unedited.duplicate(1)
    with pytest.raises(DtisError, match=f"there are {MOST} already"):
        unedited.duplicate(1)
    assert picture(unedited).shape == (SIDE, SIDE, 3)


@only("tetrominoes", "clevr")
@pytest.mark.parametrize(("number", "depth"), [(1, 0), (1, 2), (3, 1), (2, 2)])
def test_a_depth_is_how_many_lie_behind(unedited, number, depth):
    moved = unedited.edit(number, depth=depth)
    assert moved.orders[0].index(number) == depth
    assert moved.occlusion[0, number - 1].sum() == depth
    behind = [other for other in unedited.orders[0] if other != number]
    assert [other for other in moved.orders[0] if other != number] == behind
    others = [other - 1 for other in behind]
    assert torch.equal(
        moved.occlusion[0, others][:, others], unedited.occlusion[0, others][:, others]
    )


@only("clevr")
def test_occlusions_in_a_cycle_stay_until_a_depth_is_set(run):
    cycle = torch.tensor([[[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]])
    scene = Scene.of(run.model, replace(run.decompose(IMAGES[:1]).decomposition, occlusion=cycle))
    assert torch.equal(scene.duplicate(2).occlusion[:, :L, :L], cycle)
    assert scene.orders == ((1, 2, 3),)
    assert scene.edit(1, depth=2).orders == ((3, 2, 1),)  # 2 still hides 3
    (order,) = scene.duplicate(1).duplicate(4).orders
    assert order.index(5) == order.index(4) + 1


@only("tetrominoes")
def test_places_out_of_range_are_refused(run, unedited):
    for call, message in [
        (lambda: unedited.edit(4, scale=1.0), r"layer: must be in 1\.\.3, found 4"),
        (lambda: unedited.changed(0, Change()), r"layer: must be in 1\.\.3, found 0"),
        (lambda: unedited.edit(1, depth=3), r"depth: must be in 0\.\.2, found 3"),
        (lambda: unedited.edit(1, depth=-1), r"depth: must be in 0\.\.2, found -1"),
        (lambda: unedited.edit(1, depth=True), r"depth: must be in 0\.\.2, found True"),
        (lambda: unedited.duplicate(4), r"layer: must be in 1\.\.3, found 4"),
        (lambda: unedited.arrange((1, 2, 2)), "order: must name each of the layers"),
        (lambda: run.decompose(IMAGES).python(), "expected one of one image, found 2"),
    ]:
        with pytest.raises(DtisError, match=message):
            call()


@only("signs")
def test_the_one_object_has_one_depth(unedited):
    with pytest.raises(DtisError, match="^depth: must be 0, found 1"):
        unedited.edit(1, depth=1)


@only("tetrominoes")
def test_batches_are_copied_and_arranged_too(run):
    scene = run.decompose(IMAGES).duplicate(2).arrange((4, 3, 2, 1))
    assert scene.sprite_index.shape == (2, 4)
    assert torch.equal(scene.occlusion[1], torch.ones(4, 4).triu(1))
    solid = scene.alphas[:, 0, 0] > 0.5
    assert (scene.instance_map[solid] == 1).all()
    moved = run.decompose(IMAGES).duplicate(2).edit(4, shift=(0.1, 0.0), to_back=True)
    assert [order[0] for order in moved.orders] == [4, 4]
    one = run.decompose(IMAGES[1:]).duplicate(2).edit(4, shift=(0.1, 0.0), to_back=True)
    torch.testing.assert_close(moved.reconstruction[1:], one.reconstruction, rtol=0, atol=1e-5)
