"""Settings for a folder of anyone's own images, and a schedule cut or stretched to a length."""

from pathlib import Path

from dtis_core.config import Config, from_dict, load_preset
from dtis_core.datasets.folder import ADVICE, list_folder
from dtis_core.errors import DtisError
from dtis_core.paths import user_path

SIDES = (16, 256)
MOMENTS = (
    "warm_up", "frozen", "empty_from", "appearance_late", "cosine_from", "reassign_until",
    "coarse_until", "quarter_until", "retire_from", "retire_until", "dreams_from", "fovea_from",
)  # fmt: skip
"""The fields of TrainingConfig that say when something begins or ends."""


def scaled(config: Config, length: float) -> Config:
    """Return the configuration with a schedule of `length` units, all moments in proportion.

    Raises DtisError for a length that is not above 0.
    """
    values = config.to_dict()
    schedule = values["training"]
    factor = length / schedule["length"]
    for name in MOMENTS:
        if schedule[name] is not None:
            schedule[name] = round(schedule[name] * factor)
    joins = schedule["curriculum"].items()
    schedule["curriculum"] = {name: round(at * factor) for name, at in joins}
    schedule["decay_at"] = [round(at * factor) for at in schedule["decay_at"]]
    schedule["length"] = length
    return from_dict(values, where="scaled settings")


def settings_for(
    folder: Path | str,
    sprites: int,
    objects: int = 1,
    side: int = 64,
    sprite_side: int | None = None,
) -> Config:
    """Return settings for a folder of images: photos/fast for one object in each, or scenes/fast.

    Args:
        folder: the images, or a folder whose images/ holds them.
        sprites: K, how many kinds of object to look for.
        objects: L, how many objects an image shows at most; a single one's sprite fills the image.
        side: pixels a side that images are cropped and resized to: 16..256, a multiple of 4.
        sprite_side: of several objects, the largest one's pixels a side; by default 0.44 of `side`.

    Raises:
        DtisError: no image in the folder, or a number out of range; it says which and what is.
    """
    folder = user_path(folder, "folder").resolve()
    list_folder(folder, ADVICE)
    if side % 4 or not SIDES[0] <= side <= SIDES[1]:
        raise DtisError(f"side: must be a multiple of 4 in {SIDES[0]}..{SIDES[1]}, found {side}")
    values = load_preset("photos/fast" if objects == 1 else "scenes/fast").to_dict()
    model = values["model"]
    own = side if objects == 1 else sprite_side or 2 * round(0.22 * side)
    model["mask_sigma"] *= own / model["sprite_size"][0]
    model |= {"sprites": sprites, "layers": objects}
    model |= {"image_size": [side, side], "sprite_size": [own, own]}
    values["data"]["path"] = str(folder)
    return from_dict(values, where="settings")
