"""The cache: a file is used while it is sound, and never needed."""

import numpy as np
import pytest

from dtis_core import datasets
from dtis_core.datasets import cache


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DTIS_CACHE", str(folder))
    return folder


def test_cache_is_used_then_rebuilt_when_damaged(cache_folder):
    arrays = (np.arange(1000).reshape(10, 100), np.eye(3, dtype=np.uint8))
    built = []

    def build():
        built.append(True)
        return arrays

    def same(found):
        return all(map(np.array_equal, found, arrays))

    assert same(cache.cached("key", build)) and same(cache.cached("key", build))
    assert len(built) == 1
    (path,) = cache_folder.iterdir()
    whole = path.read_bytes()
    damaged = [whole[:end] for end in (0, 5, 130, 200, len(whole) // 2, len(whole) - 1)]
    damaged += [whole[:-1] + b"\x07", b"not an array at all", whole[:1000] + b"?" + whole[1001:]]
    for count, content in enumerate(damaged, start=2):
        path.write_bytes(content)
        assert same(cache.cached("key", build))
        assert len(built) == count
        assert path.read_bytes() == whole
    assert list(cache_folder.iterdir()) == [path]


class Trap:
    """Unpickling this fails the test."""

    def __reduce__(self):
        return pytest.fail, ("the cache was unpickled",)


@pytest.mark.parametrize("sound_arrays", [0, 1])
def test_cache_never_unpickles(cache_folder, sound_arrays):
    cache_folder.mkdir()
    with (cache_folder / "key.npys").open("wb") as file:
        for _ in range(sound_arrays):
            np.save(file, np.zeros(1, int))
        np.save(file, np.array([Trap()]), allow_pickle=True)
    (found,) = cache.cached("key", lambda: (np.ones(2),))
    assert found.tolist() == [1, 1]


def test_without_a_writable_cache_scenes_are_generated(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("a file where the cache folder should go")
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path / "file" / "cache"))
    assert len(datasets.load("tetrominoes", count=3)) == 3


def test_a_full_disk_leaves_no_file_behind(monkeypatch, cache_folder):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.np, "save", full)
    (found,) = cache.cached("key", lambda: (np.ones(2),))
    assert found.tolist() == [1, 1] and not list(cache_folder.iterdir())
