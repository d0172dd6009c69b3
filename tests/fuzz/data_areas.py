"""Damaged data, and what has to come of them."""

from mutations import as_text, damage_file, damaged_bytes, damaged_json
from tfrecord_writer import encode, write
from values import NASTY, WORDS
from world import Failed, Place, tetrominoes

from dtis_core import datasets
from dtis_core.datasets.tetrominoes import read_factors


def images(place: Place) -> str:
    """Read a folder with a damaged image, mask or list of scenes."""
    rng, photos = place.rng, place.copy("photos")
    names = [f"{n}.{kind}" for n, kind in enumerate(["png", "jpg", "bmp", "webp", "tif"])]
    match rng.randrange(3):
        case 0:
            damage_file(place.rng, photos / "scenes.json", as_text(damaged_json))
        case 1:
            damage_file(place.rng, photos / "images" / rng.choice(names), damaged_bytes)
        case 2:
            damage_file(place.rng, photos / "masks" / f"{rng.randrange(5)}.png", damaged_bytes)
    if rng.random() < 0.3 and (photos / "scenes.json").is_file():
        (photos / "scenes.json").unlink()
    with place.nothing_lost():
        loaded = datasets.load(
            "folder", rng.choice(["all", "validation"]), root=photos, size=(8, 8)
        )
    if loaded.masks is not None:
        loaded.semantic_masks()
    return "images"


def asked(place: Place) -> str:
    """Ask for strange counts, seeds, sizes, splits and folders."""
    rng = place.rng
    numbers = [number for number in NASTY if type(number) is int and not 99 < number < 10**9]
    given = {
        "count": rng.choice([None, *numbers]),
        "seed": rng.choice(numbers),
        "split": rng.choice(["all", "train", "validation", "final", *WORDS]),
        "root": rng.choice([place.base / "photos", *WORDS]),
        "size": (rng.choice([8, 30, *numbers]), 8),
    }
    chosen = {name: given[name] for name in rng.sample(list(given), rng.choice([1, 1, 2]))}
    names = ["folder", "folder", "folder", "clevr6-rendered", "weizmann", "gtsrb8", "svhn"]
    name = rng.choice(names)
    with place.nothing_lost():
        datasets.load(name, **{"root": place.base / "photos", "size": (8, 8)} | chosen)
    return f"{name} {chosen}"


def scene_of(name: str) -> tuple[str, dict]:
    """Return the file and a record of one of the official data sets."""
    if name == "tetrominoes-official":
        return "tetrominoes_train.tfrecords", tetrominoes()
    if name == "clevr6":
        seen = [1.0, 1.0, 1.0] + 8 * [0.0]
        kinds = {"shape": [bytes([0, 1, 3] + 8 * [0])], "material": [bytes([0, 1, 2] + 8 * [0])]}
        pixels = {"image": [bytes(240 * 320 * 3)], "mask": [bytes(11 * 240 * 320)]}
        return "clevr_with_masks_train.tfrecords", pixels | kinds | {"visibility": seen}
    number = {"shape": [0.0, 1.0, 2.0, 3.0, 0.0, 0.0], "visibility": [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]}
    mask = bytes([255] * 4096 + [0] * 5 * 4096)
    record = {"image": [bytes(12288)], "mask": [mask]} | number
    return "multi_dsprites_colored_on_grayscale.tfrecords", record


def records(place: Place) -> str:
    """Read a damaged official file: its features, its messages or its frames."""
    rng = place.rng
    name = rng.choice(["tetrominoes-official", "multi-dsprites-official", "clevr6"])
    file, record = scene_of(name)
    (place.folder / "multi_object").mkdir()
    path = place.folder / "multi_object" / file
    match rng.randrange(3):
        case 0:
            feature = rng.choice(list(record))
            strange = [[], [1e30], [float("nan")] * 6, [1 << 62] * 4, [b""], [b"x"] * 7, [-1] * 4]
            changed = [*record[feature]]
            changed[rng.randrange(len(changed))] = rng.choice([0.0, 1.0, 1e30, 20.0, b"x"])
            kinds = {type(part) for part in changed}
            record[feature] = changed if len(kinds) == 1 else rng.choice(strange[1:])
            write(path, encode(record))
        case 1:
            write(path, damaged_bytes(rng, encode(record)))
        case 2:
            write(path, encode(record), compressed=rng.random() < 0.5)
            damage_file(place.rng, path, damaged_bytes)
    with place.nothing_lost():
        if name == "tetrominoes-official" and rng.random() < 0.5:
            read_factors(path)
        datasets.load(name, root=place.folder)
    return name


def matrices(place: Place) -> str:
    """Read damaged matrices."""
    path = place.copy("SVHN/train_32x32.mat")
    damage_file(place.rng, path, damaged_bytes)
    with place.nothing_lost():
        datasets.load("svhn", "train", root=place.folder)
    return "svhn"


def cached(place: Place) -> str:
    """Read the same images again once their cache is damaged."""
    photos = place.copy("photos")
    first = datasets.load("folder", "all", root=photos, size=(8, 8))
    files = sorted((place.folder / "cache").glob("*.npys"))
    file = place.rng.choice(files)
    file.write_bytes(damaged_bytes(place.rng, file.read_bytes()))
    again = datasets.load("folder", "all", root=photos, size=(8, 8))
    if again.fingerprint != first.fingerprint:
        raise Failed("a damaged cache gave other images")
    return "cache"
