"""The facade: decomposing images, reading the scene, editing it."""

from dataclasses import replace

import pytest
import torch
from small_run import EVERY_FEATURE, random_images, small

import dtis_core as dtis
from dtis_core.errors import DtisError
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes import run as run_module
from dtis_core.scenes.scene import Scene
from dtis_core.training.session import train

FAST = ["model.layer_transformations=[tint, placement]"]
KINDS = {"fast": FAST, "every feature": EVERY_FEATURE}
L, K, B = 3, 4, 3
IMAGES = random_images(B)


@pytest.fixture(scope="module", params=KINDS)
def run(request, tmp_path_factory):
    """A run with two steps behind it, its weights then shaken so that objects differ."""
    tmp_path = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DTIS_CACHE", str(tmp_path / "cache"))
        train(small(*KINDS[request.param]), tmp_path / "run", quiet=True, max_steps=2)
    loaded = dtis.load(tmp_path / "run")
    torch.manual_seed(0)
    with torch.no_grad():
        loaded.model.sprites.appearances.uniform_(0, 1)
        loaded.model.sprites.masks.add_(torch.rand_like(loaded.model.sprites.masks) * 0.3)
        for head in ("layer_head", "sprite_head", "occlusion_head"):
            getattr(loaded.model.predictor, head).weights[-1].normal_(std=0.05)
    return loaded


@pytest.fixture
def scene(run, monkeypatch):
    """A decomposed batch whose model cannot look at images any more."""
    found = run.decompose(IMAGES)

    def blind(*arguments):
        raise AssertionError("the predictor ran")

    monkeypatch.setattr(run.model.predictor, "forward", blind)
    return found


def only(kind):
    """Run a test with one of the two kinds."""
    return pytest.mark.parametrize("run", [kind], indirect=True)


def close(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


# Decomposing


def test_a_loaded_run_knows_how_it_was_made(run):
    assert run.manifest["step"] == 2 and run.config.model.sprites == K
    assert run.sprites.shape == (K, 4, 24, 24)
    assert run.sprites.min() >= 0 and run.sprites.max() <= 1
    assert not run.model.training


def test_bytes_and_floats_decompose_alike(run):
    floats = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255
    first, second = run.decompose(IMAGES), run.decompose(floats)
    assert torch.equal(first.reconstruction, second.reconstruction)
    assert torch.equal(first.sprite_index, second.sprite_index)
    third = run.decompose(floats.double().numpy())
    assert torch.equal(first.reconstruction, third.reconstruction)


def test_shapes_and_ranges(run):
    scene = run.decompose(IMAGES)
    assert scene.reconstruction.shape == scene.background.shape == (B, 3, 35, 35)
    assert scene.layers.shape == (B, L, 3, 35, 35)
    assert scene.alphas.shape == (B, L, 1, 35, 35)
    assert scene.occlusion.shape == (B, L, L)
    assert scene.sprite_index.shape == (B, L)
    assert scene.parameters.layer.shape[:2] == (B, L)
    for part in (scene.reconstruction, scene.alphas, scene.occlusion):
        assert part.min() >= 0 and part.max() <= 1
    assert set(scene.occlusion.unique().tolist()) == {0.0, 1.0}
    assert scene.sprite_index.max() <= K and scene.sprite_index.min() >= 0
    for part in (scene.reconstruction, scene.layers, scene.alphas):
        assert not part.requires_grad


def test_maps_hold_layers_and_their_sprites(run):
    scene = run.decompose(IMAGES)
    instances, sprites = scene.instance_map, scene.semantic_map
    assert instances.shape == sprites.shape == (B, 35, 35)
    assert not instances.is_floating_point() and not sprites.is_floating_point()
    assert set(instances.unique().tolist()) <= set(range(L + 1))
    for b in range(B):
        assert (sprites[b][instances[b] == 0] == 0).all()
        for layer in range(1, L + 1):
            assert (sprites[b][instances[b] == layer] == scene.sprite_index[b, layer - 1]).all()
    seen = instances > 0
    assert seen.any() and (~seen).any()
    assert (scene.alphas.amax(dim=(1, 2))[seen] > 0).all()
    covered = scene.alphas.sum(dim=(1, 2))
    assert (instances[covered == 0] == 0).all()


def test_the_instance_map_agrees_with_opaque_layers(run):
    scene = run.decompose(IMAGES)
    opaque = scene.alphas[:, :, 0] == 1  # (B, L, H, W)
    order = scene.occlusion
    for b, y, x in opaque.any(dim=1).nonzero().tolist():
        for layer in opaque[b, :, y, x].nonzero().flatten().tolist():
            others = scene.alphas[b, :, 0, y, x] * order[b, :, layer]
            if not others.any():
                assert scene.instance_map[b, y, x] == layer + 1


def test_batches_do_not_matter(run, monkeypatch):
    images = random_images(7, seed=1)
    whole = run.decompose(images)
    monkeypatch.setattr(run_module, "BATCH", 3)
    parts = run.decompose(images)
    assert torch.equal(whole.sprite_index, parts.sprite_index)
    close(whole.reconstruction, parts.reconstruction)
    close(whole.parameters.layer, parts.parameters.layer, atol=1e-4)
    one = run.decompose(images[4:5])
    close(one.reconstruction, whole.reconstruction[4:5])


def test_more_steps_of_the_algorithm_can_be_asked_for(run, monkeypatch):
    asked = []
    true_forward = DTISprites.forward

    def forward(self, images, noise=None, steps=0):
        asked.append(steps)
        return true_forward(self, images, noise, steps)

    monkeypatch.setattr(DTISprites, "forward", forward)
    run.decompose(IMAGES)
    run.decompose(IMAGES, steps=2)
    assert asked == [run.config.search.inference_steps, 2]


def test_decomposing_leaves_the_run_folder_alone(run):
    before = {p: p.stat().st_mtime_ns for p in run.folder.path.rglob("*")}
    run.decompose(IMAGES)
    assert {p: p.stat().st_mtime_ns for p in run.folder.path.rglob("*")} == before
    assert RunFolder(run.folder.path).manifest() == run.manifest


# Editing, which never looks at the images again


def test_an_edit_that_changes_nothing_gives_the_same_scene(scene):
    same = scene.edit(layer=1)
    close(same.reconstruction, scene.reconstruction)
    assert torch.equal(same.instance_map, scene.instance_map)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_sprite_is_replaced_in_its_layer_only(scene, layer):
    before = scene.sprite_index.clone()
    new = scene.edit(layer=layer, sprite=2)
    assert (new.sprite_index[:, layer - 1] == 2).all()
    assert torch.equal(scene.sprite_index, before)  # the old scene is as it was
    others = [i for i in range(L) if i != layer - 1]
    close(new.alphas[:, others], scene.alphas[:, others])
    close(new.layers[:, others], scene.layers[:, others])
    expected = scene.model.chosen_layers(
        new.sprite_index, scene.parameters.layer, scene.parameters.sprite
    )
    close(new.alphas, expected[0])
    close(new.background, scene.background)


def test_a_removed_object_is_gone(scene):
    gone = scene
    for layer in range(1, L + 1):
        gone = gone.edit(layer=layer, sprite=0)
        assert (gone.alphas[:, layer - 1] == 0).all()
        assert not (gone.instance_map == layer).any()
    close(gone.reconstruction, scene.background.clamp(0, 1))
    assert not gone.semantic_map.any()


def test_a_colour_sets_the_gains(scene):
    plain = scene.edit(layer=2, colour=(1.0, 1.0, 1.0))
    pink = scene.edit(layer=2, colour=(1.0, 0.4, 0.7))
    gains = torch.tensor([1.0, 0.4, 0.7])[:, None, None]
    close(pink.layers[:, 1], gains * plain.layers[:, 1])
    close(pink.alphas, scene.alphas)
    close(pink.layers[:, [0, 2]], scene.layers[:, [0, 2]])


def shape_of(scene, layer):
    """Each image's centre (x, y) in image sizes and area in pixels of one layer's mask."""
    mask = scene.alphas[:, layer - 1, 0].double()
    area = mask.sum(dim=(1, 2))
    centres = (torch.arange(35, dtype=torch.float64) + 0.5) / 35
    x, y = mask.sum(dim=1) @ centres, mask.sum(dim=2) @ centres
    return torch.stack([x, y], dim=1) / area[:, None], area


@pytest.fixture
def middle(scene):
    """The scene with layer 2's object in the middle, its sprite small and smooth."""
    masks = scene.model.sprites.masks.data
    before = masks.clone()
    y = torch.arange(24.0) - 11.5
    masks[0, 0] = torch.exp(-(y[:, None] ** 2 + y**2) / 8)
    found, prediction = scene.decomposition, scene.parameters
    prediction.layer[:, 1, -2:] = 0  # the translation
    sprites = found.selection.sprites.index_fill(1, torch.tensor(1), 1)
    with torch.no_grad():
        selection = replace(found.selection, sprites=sprites)
        yield Scene.of(scene.model, scene.model.render(prediction, found.occlusion, selection))
    masks.copy_(before)


@only("fast")
def test_a_shift_is_in_image_sizes(middle):
    before, _ = shape_of(middle, 2)
    after, _ = shape_of(middle.edit(layer=2, shift=(0.2, -0.1)), 2)
    close(after - before, torch.tensor([[0.2, -0.1]] * B, dtype=torch.float64), atol=2e-3)


@only("fast")
def test_a_scale_multiplies_the_size(middle):
    _, before = shape_of(middle, 2)
    _, after = shape_of(middle.edit(layer=2, scale=1.3), 2)
    close(after / before, torch.full((B,), 1.3**2, dtype=torch.float64), atol=0.05)


def test_depth_puts_an_object_before_or_behind_all_others(scene):
    front, back = scene.edit(layer=1, to_front=True), scene.edit(layer=1, to_back=True)
    assert (front.occlusion[:, 0, 1:] == 1).all() and (front.occlusion[:, 1:, 0] == 0).all()
    assert (back.occlusion[:, 0, 1:] == 0).all() and (back.occlusion[:, 1:, 0] == 1).all()
    for changed in (front, back):
        assert torch.equal(changed.occlusion[:, 1:, 1:], scene.occlusion[:, 1:, 1:])
        assert (changed.occlusion.diagonal(dim1=1, dim2=2) == 0).all()
    solid = scene.alphas[:, 0, 0] > 0.5
    assert (front.instance_map[solid] == 1).all()
    hidden = scene.alphas[:, 1:, 0].amax(dim=1) > 0.5
    assert (back.instance_map[hidden] != 1).all()


def test_edits_add_up(scene):
    both = scene.edit(layer=1, sprite=2).edit(layer=2, colour=(0.5, 0.5, 0.5))
    other = scene.edit(layer=2, colour=(0.5, 0.5, 0.5)).edit(layer=1, sprite=2)
    close(both.reconstruction, other.reconstruction)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer": 0}, r"layer: must be in 1\.\.3, found 0"),
        ({"layer": 4}, r"layer: must be in 1\.\.3, found 4"),
        ({"layer": 1, "sprite": 5}, r"sprite: must be in 0\.\.4, found 5"),
        ({"layer": 1, "sprite": -1}, r"sprite: must be in 0\.\.4, found -1"),
        ({"layer": 1, "colour": (1.0, 0.5)}, "colour: expected 3 values, found 2"),
    ],
)
def test_an_edit_out_of_range_is_refused(scene, values, message):
    with pytest.raises(DtisError, match=message):
        scene.edit(**values)


def test_a_place_out_of_range_is_refused(scene):
    for values, message in [
        ({"scale": 0.0}, r"scale: must be in 1e-06\.\.1e\+06, found 0\.0"),
        ({"scale": float("nan")}, "scale: must be in .*, found nan"),
        ({"shift": (0.1, 0.1, 0.1)}, r"shift: expected \(x, y\), found 3 values"),
    ]:
        with pytest.raises(DtisError, match=message):
            scene.edit(layer=1, **values)


def test_what_the_model_lacks_cannot_be_edited(scene):
    with pytest.raises(DtisError, match=r"^bend: none of this model's transformations \("):
        scene.edit(layer=1, bend=((6, 0.1, 0.0),))


@only("every feature")
def test_sprites_that_have_their_own_positions_are_moved_by_those(scene):
    moved = scene.edit(layer=1, shift=(0.1, 0.0))
    layer, sprite = moved.parameters.layer, moved.parameters.sprite
    assert torch.equal(layer, scene.parameters.layer)
    assert (sprite[:, 0] != scene.parameters.sprite[:, 0]).any(dim=-1).all()
    assert torch.equal(sprite[:, 1:], scene.parameters.sprite[:, 1:])
