import os
from pathlib import Path

import numpy as np
import pytest

from clothseg.errors import MachineError, ModelError
from clothseg.prediction.runtimes import compiled
from clothseg.prediction.runtimes.openvino import OpenVINORuntime
from tests.export.small_model import photo_of

BATCH = photo_of(64, 96)[None]


def open_for_one_photo(path):
    return OpenVINORuntime.open(path, one_photo=True)


@pytest.fixture(autouse=True)
def stored(tmp_path, monkeypatch):
    """Lists the files of an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return lambda: sorted((tmp_path / "clothseg" / "compiled").glob("*/*"))


def test_a_compiled_network_is_stored_and_gives_the_same_bits(portable_path, stored):
    expected = open_for_one_photo(portable_path).logits(BATCH)
    (path,) = stored()
    assert path.name == "64x96.blob"
    written = path.stat().st_mtime_ns
    later = open_for_one_photo(portable_path)
    np.testing.assert_array_equal(later.logits(BATCH), expected)
    assert later._compiled[64, 96].content is not None
    assert [one.read_bytes() for one in stored()] == [path.read_bytes()]
    assert path.stat().st_mtime_ns > written  # it is in use, so others are deleted first
    later.logits(photo_of(32, 32)[None])  # reads the graph, which the first size did not need
    assert len(stored()) == 2


def test_all_but_the_command_for_one_photo_keep_the_graph(portable_path, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(portable_path.read_bytes())
    open_for_one_photo(path).logits(BATCH)
    runtimes = [OpenVINORuntime.open(path), OpenVINORuntime.open(path, many_photos=True)]
    path.unlink()
    for runtime in runtimes:
        for height in (32, 64):
            assert runtime.logits(photo_of(height, 96)[None]).shape[2:] == (height, 96)


def test_a_folder_of_photos_takes_and_stores_the_networks_of_its_first_sizes(portable_path, stored):
    sizes = [(32, 32), (64, 96), (96, 64)]
    first = OpenVINORuntime.open(portable_path, many_photos=True)
    expected = [first.logits(photo_of(*size)[None]) for size in sizes]
    assert [path.name for path in stored()] == ["32x32.blob", "64x96.blob"]
    later = OpenVINORuntime.open(portable_path, many_photos=True)
    for size, logits in zip(sizes, expected, strict=True):
        np.testing.assert_array_equal(later.logits(photo_of(*size)[None]), logits)
    assert [size for size in sizes if later._compiled[size].content is not None] == sizes[:2]
    assert len(stored()) == 3  # the next of this run


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"", lambda _: b"12345"])
def test_a_damaged_file_is_written_again(portable_path, stored, damage):
    expected = open_for_one_photo(portable_path).logits(BATCH)
    (path,) = stored()
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(open_for_one_photo(portable_path).logits(BATCH), expected)
    later = open_for_one_photo(portable_path)
    np.testing.assert_array_equal(later.logits(BATCH), expected)
    assert later._compiled[64, 96].content is not None
    path.write_bytes(b"no network".ljust(96) + compiled._crc(b"no network".ljust(96)))
    np.testing.assert_array_equal(open_for_one_photo(portable_path).logits(BATCH), expected)


def test_a_cache_that_cannot_be_written_or_has_no_folder_is_done_without(portable_path, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert open_for_one_photo(portable_path).logits(BATCH).shape[2:] == (64, 96)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pathlib.Path.home", classmethod(lambda _: Path("~missing").expanduser()))
    assert open_for_one_photo(portable_path).logits(BATCH).shape[2:] == (64, 96)
    with pytest.raises(MachineError, match="Set XDG_CACHE_HOME to a folder"):
        compiled.cache_folder()


def test_the_files_that_were_not_used_for_longest_are_deleted(tmp_path, monkeypatch):
    networks = [compiled.CompiledNetworks.of("model", number) for number in range(4)]
    monkeypatch.setattr(compiled, "MAX_BYTES", 2 * 104)
    for age, network in zip((1, 4, 3), networks, strict=False):
        network.write((32, 32), memoryview(bytes(100)))
        os.utime(network._path((32, 32)), (1e9 - age, 1e9 - age))
    assert [network.is_empty() for network in networks] == [False, True, False, True]
    networks[3].write((32, 32), memoryview(bytes(100)))
    assert [network.is_empty() for network in networks] == [False, True, True, False]


def test_a_model_that_is_replaced_while_it_is_loaded_is_not_mixed_with_the_new_one(
    portable_path, write_portable, tmp_path
):
    path = tmp_path / "model.onnx"
    path.write_bytes(portable_path.read_bytes())
    open_for_one_photo(path).logits(BATCH)
    runtime = open_for_one_photo(path)
    path.write_bytes(write_portable({"new": 1}).read_bytes())
    assert runtime.logits(BATCH).shape[2:] == (64, 96)
    with pytest.raises(ModelError, match=r"Model has changed since it was loaded: .*model\.onnx\. Load it again"):
        runtime.logits(photo_of(32, 32)[None])
