"""How sprites formed, drawn from a run's snapshots: of any shape, coarse at first, or damaged."""

import numpy as np
import pytest
import yaml
from image_writer import save
from PIL import Image
from small_run import small

from dtis_core.display.figures import evolution_gif, evolution_strip, sprites_of
from dtis_core.errors import DtisError
from dtis_core.runs.run_folder import RunFolder


def a_run(path, size, sheets):
    """A run folder with a configuration of this sprite size, and sheets by step."""
    path.mkdir()
    config = small(f"model.sprite_size={list(size)}")
    (path / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    for step, pixels in sheets.items():
        save(path / "sprites" / f"{step:06d}.png", pixels)
    return RunFolder(path)


def numbered(count, h, w):
    """Opaque sprites side by side, of which the k-th has the value k."""
    sheet = np.repeat(np.arange(count, dtype=np.uint8), w)[None, :, None].repeat(h, axis=0)
    return np.concatenate([sheet.repeat(3, axis=2), np.full_like(sheet, 255)], axis=2)


@pytest.mark.parametrize("size", [(24, 24), (24, 12), (12, 36)])
def test_sprites_of_any_shape_are_cut_as_they_were_joined(tmp_path, size):
    run = a_run(tmp_path / "run", size, {1: numbered(6, *size)})
    step, snapshot = run.snapshots()[0]
    sprites = sprites_of(snapshot)
    assert step == 1 and sprites.shape == (6, 4, *size)
    assert np.array_equal(sprites[:, 0] * 255, np.arange(6)[:, None, None] + np.zeros(size))
    assert (sprites[:, 3] == 1).all()


def test_coarse_sprites_are_drawn_as_large_as_the_last(tmp_path):
    sheets = {1: numbered(6, 10, 7), 2: numbered(6, 20, 14), 3: numbered(4, 40, 28)}
    run = a_run(tmp_path / "run", (40, 28), sheets)
    assert evolution_strip(run).axes[0].get_images()[0].get_array().shape[:2] == (
        3 * 40 + 4,
        6 * 28 + 10,
    )
    evolution_gif(run, tmp_path / "a.gif", columns=3)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 3 and picture.size == (3 * 28 + 8, 2 * 40 + 4 + 10)


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (
            numbered(2, 24, 24)[..., :3],
            "RGB of 24 x 48 pixels is no row of RGBA sprites",
        ),
        (numbered(2, 24, 25), "RGBA of 24 x 50 pixels"),
        (numbered(2, 25, 24), "RGBA of 25 x 48 pixels"),
        (numbered(2, 8, 8), "RGBA of 8 x 16 pixels"),
    ],
)
def test_an_odd_snapshot_is_named(tmp_path, pixels, found):
    run = a_run(tmp_path / "run", (24, 24), {1: numbered(2, 24, 24), 2: pixels})
    with pytest.raises(DtisError, match=f"000002.png: cannot be read as an image .{found}"):
        evolution_strip(run)


def test_a_broken_snapshot_is_named(tmp_path):
    run = a_run(tmp_path / "run", (24, 24), {1: numbered(2, 24, 24)})
    file = tmp_path / "run" / "sprites" / "000001.png"
    whole = file.read_bytes()
    for damaged in (b"", b"text", whole[:-30], whole[:40] + b"\xff" + whole[41:]):
        file.write_bytes(damaged)
        with pytest.raises(DtisError, match="000001.png: cannot be read as an image"):
            evolution_gif(run, tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()
    file.unlink()
    with pytest.raises(DtisError, match="has no snapshots"):
        evolution_strip(run)
