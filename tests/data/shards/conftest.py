from collections.abc import Iterator
from pathlib import Path

import pytest

from clothseg.data.manifest import DATASET_FOLDER
from clothseg.data.pack import pack
from clothseg.data.shards import store
from tests.data.shards.file_server import FileServer, serving

SMALL = 6_000
"""Bytes of a shard that holds about two of the drawn photos."""


@pytest.fixture
def shards_path(prepared_path: Path, tmp_path: Path) -> Path:
    """The prepared data set in shards."""
    pack(prepared_path / DATASET_FOLDER, tmp_path / "shards", shard_bytes=SMALL)
    return tmp_path / "shards"


@pytest.fixture
def web(shards_path: Path) -> Iterator[FileServer]:
    with serving(shards_path) as server:
        yield server


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PAUSE", 0.05)
