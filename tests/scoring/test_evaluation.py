"""Scores of each kind of data, of a model that knows its objects: coloured squares on grey."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dtis_core.cli import print_scores
from dtis_core.config import load_preset
from dtis_core.datasets import SceneDataset
from dtis_core.errors import NoLabels
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.run import Run
from dtis_core.scoring import evaluation, metrics, papers_rule
from dtis_core.scoring.evaluation import evaluate
from dtis_core.search.seeking import build_model

N = 7  # images, of 16 x 16 pixels
LAYERS_AND_SPRITES = {"clustering": (1, 3), "segmentation": (1, 1), "scenes": (2, 3)}
COLOURS = np.eye(3)  # of sprites 1..3: red, green, blue
LEFT = {1: [4], 2: [0, 8]}  # where the squares of L layers begin, in pixels


@pytest.fixture(params=LAYERS_AND_SPRITES)
def kind(request):
    return request.param


@pytest.fixture
def run(kind):
    """A model whose layers have their places, and which has but to choose their sprites."""
    L, K = LAYERS_AND_SPRITES[kind]
    config = load_preset("tetrominoes").override(
        [
            f"model.layers={L}", f"model.sprites={K}", "model.backgrounds=1",
            "model.image_size=[16, 16]", "model.sprite_size=[8, 8]", "search.head=pooled",
            "model.layer_transformations=[translation]", "search.looks=image",
            f"model.empty_sprite={kind == 'scenes'}", "search.inference_steps=1",
        ]
    )  # fmt: skip
    model = build_model(config.model, config.search).eval()
    with torch.no_grad():
        model.sprites.appearances.copy_(torch.from_numpy(COLOURS[:K, :, None, None]))
        model.sprites.masks.fill_(1)
        centre = (torch.tensor(LEFT[L]) + 4) / 8 - 1  # (L,) in [-1, 1]
        model.predictor.layer_head.biases[-1][:, 0, 0] = torch.atanh(centre)
    return Run(RunFolder("nowhere"), config, model)


@pytest.fixture
def truth(kind):
    """What that model explains without error; some scenes lack an object or both."""
    L, K = LAYERS_AND_SPRITES[kind]
    rng = np.random.default_rng(0)
    categories = rng.integers(kind != "scenes", K, (N, L), endpoint=True)
    images = np.full((N, 16, 16, 3), 128, np.uint8)
    masks = np.zeros((N, 16, 16), np.uint8)
    for n, layer in np.argwhere(categories):
        square = (n, slice(4, 12), slice(LEFT[L][layer], LEFT[L][layer] + 8))
        images[square] = 255 * COLOURS[categories[n, layer] - 1]
        masks[square] = layer + 1
    return SceneDataset("squares", images, None if kind == "clustering" else masks, categories)


@pytest.fixture
def data(kind, truth):
    """The same with noise, under labels that are wrong: of other categories, three pixels off."""
    rng = np.random.default_rng(1)
    noise = rng.integers(-90, 90, truth.images.shape)
    categories = rng.integers(1, LAYERS_AND_SPRITES[kind][1], truth.categories.shape, endpoint=True)
    return SceneDataset(
        "noisy squares",
        (truth.images + noise).clip(0, 255).astype(np.uint8),
        None if truth.masks is None else np.roll(truth.masks, 3, axis=2),
        np.where(truth.categories > 0, categories, 0),
    )


def expected_scores(kind, data, scene):
    """The scores of a kind of data, from `metrics` and the maps of all images at once."""
    instances, sprites = scene.instance_map.numpy(), scene.sprite_index.numpy()
    if kind == "clustering":
        pair = (data.categories[:, 0], sprites[:, 0])
        return {"accuracy": metrics.clustering_accuracy(*pair), "NMI": metrics.nmi(*pair)}
    if kind == "segmentation":
        return {
            "accuracy": metrics.segmentation_accuracy(data.masks, instances),
            "IoU": metrics.foreground_iou(data.masks, instances),
            "accuracy_of_all_background": 0.75,
        }
    images = np.moveaxis(data.images, 3, 1).astype(np.float32) / 255  # (N, C, H, W)
    covered = metrics.reassign_background(instances, images, scene.layers.numpy(), sprites > 0)
    semantic = metrics.semantic_scores(data.semantic_masks(), scene.semantic_map.numpy(), 3, 3)
    by_any = metrics.reassign_background(
        instances, images, scene.layers.numpy(), np.ones_like(sprites > 0)
    )
    return {
        "ARI": metrics.mean_ari(data.masks, instances),
        "ARI-FG": metrics.mean_ari_foreground(data.masks, covered),
        "mACC": semantic["mACC"],
        "mIoU": semantic["mIoU"],
        "ARI-FG (paper's rule)": papers_rule.mean_ari_foreground(data.masks, by_any),
    }


def test_scores_are_those_of_the_decomposition(kind, run, data):
    scene = run.decompose(data.images)
    error = (np.moveaxis(data.images, 3, 1) / 255 - scene.reconstruction.numpy()) ** 2
    expected = {
        "data": "noisy squares",
        "images": N,
        "inference": "best",
        **expected_scores(kind, data, scene),
        "reconstruction_error": pytest.approx(error.mean(), rel=1e-5),
        "sprites_used": LAYERS_AND_SPRITES[kind][1],  # the empty one does not count
    }
    found = evaluate(run, data)
    assert found.pop("ms_per_image") > 0
    assert found == expected


def test_chunks_give_the_same_scores(run, data, monkeypatch):
    whole = evaluate(run, data)
    monkeypatch.setattr(evaluation, "CHUNK", 3)
    error = pytest.approx(whole["reconstruction_error"], rel=1e-5)
    parts = evaluate(run, data)
    time = {"ms_per_image": parts["ms_per_image"]}
    assert parts == whole | {"reconstruction_error": error} | time


def test_the_time_is_that_of_decomposing(run, data, monkeypatch):
    seconds = iter(range(100))
    monkeypatch.setattr(evaluation, "CHUNK", 3)
    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: next(seconds))
    assert evaluate(run, data)["ms_per_image"] == 1000 * 3 / N  # three parts of a second each


def test_one_look_is_scored_by_its_own_name(run, data):
    run = run.seeking(["search.one_look_steps=2"])
    looked, steps = (
        evaluate(run, data, **way) for way in ({"inference": "one-look"}, {"steps": 2})
    )
    assert looked["inference"] == "one-look"
    assert all(looked[name] == steps[name] for name in evaluation.SCORES if name in steps)


def test_the_truth_scores_one_whatever_its_names(run, truth, data):
    renamed = np.array([0, 2, 3, 1])[truth.categories]
    for categories in (truth.categories, renamed):
        scores = evaluate(run, replace(truth, categories=categories, fingerprint=""))
        found = {name: scores[name] for name in evaluation.SCORES if name in scores}
        assert len(found) > 1 and found == pytest.approx(dict.fromkeys(found, 1.0))
        assert scores["reconstruction_error"] < 1e-5
    wrong = evaluate(run, data)
    assert all(wrong[name] < 0.9 for name in found)


@pytest.mark.parametrize("kind", ["scenes"], indirect=True)
def test_an_object_without_a_pixel_neither_helps_nor_harms(run, data):
    """As one that others hide altogether: it has a category, even one that nothing else has."""
    scores = evaluate(run, data)
    for category in (1, 5):
        hidden = np.full((N, 1), category)
        categories = np.concatenate([data.categories, hidden], axis=1)
        found = evaluate(run, replace(data, categories=categories, fingerprint=""))
        assert all(found[name] == scores[name] for name in evaluation.SCORES if name in scores)


def test_more_steps_of_the_algorithm_can_be_asked_for(run, data, monkeypatch):
    asked, true_forward = [], DTISprites.forward

    def forward(self, images, noise=None, steps=0):
        asked.append(steps)
        return true_forward(self, images, noise, steps)

    monkeypatch.setattr(DTISprites, "forward", forward)
    evaluate(run, data)
    evaluate(run, data, steps=2)
    assert asked == [1, 2]


@pytest.mark.parametrize("kind", ["segmentation"], indirect=True)
def test_data_without_labels_have_no_scores(run, data):
    for masks in (None, data.masks):
        unlabelled = SceneDataset("photos", data.images, masks, None)
        with pytest.raises(NoLabels, match="photos: has no true labels"):
            evaluate(run, unlabelled)
    several = SceneDataset("photos", data.images, None, np.ones((len(data.images), 2), np.int64))
    with pytest.raises(NoLabels, match="several objects in an image, and no masks of them"):
        evaluate(run, several)


def test_scores_are_printed_in_percent(run, data, capsys):
    scores = evaluate(run, data) | {"split": "final"}
    print_scores(scores, as_json=False)
    line = capsys.readouterr().out
    how = f"final, best, {scores['ms_per_image']:.0f} ms each"
    assert line.startswith(f"noisy squares, 7 images ({how}): ")
    for name in set(scores) & set(evaluation.SCORES):
        assert f"{name} {100 * scores[name]:.2f}" in line
        papers = scores.get(f"{name} (paper's rule)")
        if papers is not None:
            assert f"{name} {100 * scores[name]:.2f} ({100 * papers:.2f} by the paper's" in line
