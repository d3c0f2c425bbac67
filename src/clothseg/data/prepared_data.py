"""A data set to load from: a prepared folder, or a packed data set in a folder or a remote store."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.data.packed_pairs import PackedPairs
from clothseg.data.photo_pairs import FilePairs, PhotoPairs
from clothseg.data.sampler import EpochSampler
from clothseg.data.shard_order import ShardOrder
from clothseg.data.shard_sampler import ShardSampler
from clothseg.data.shard_source import ShardSource
from clothseg.errors import DataError


class PreparedData(Protocol):
    """Where photos and masks are, and the order in which they are drawn."""

    manifest: Manifest

    def split(self, name: str, *, seed: int, batch_size: int) -> tuple[PhotoPairs, EpochSampler]:
        """Return the pairs of a split, and what draws them: train in random order, val as they lie.

        Raises:
            DataError: there are none.
        """

    def check(self, *, num_processes: int) -> None:
        """Refuse what cannot serve so many training processes on this machine.

        Raises:
            SettingError: the cache is too small.
        """


def open_data(data_path: Path, shards: ShardSource | None) -> PreparedData:
    """Return the data set in `shards`, or that in `data_path` where there are none.

    Raises:
        MissingInputError: there is no data set.
        DataError: it is damaged.
        SettingError, MachineError, MissingExtraError: a store that cannot be read.
    """
    return FolderData(data_path / DATASET_FOLDER) if shards is None else PackedData(shards)


class FolderData:
    """A prepared data set as files.

    Args:
        folder: `DATA_PATH / DATASET_FOLDER`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = Manifest.read(folder)

    def split(self, name: str, *, seed: int, batch_size: int) -> tuple[PhotoPairs, EpochSampler]:
        """Return pairs and sampler of a split; see `PreparedData.split`."""
        split = self.manifest.splits.get(name)
        found = [] if split is None else pairs(self.folder, split)
        if split is None or not found:
            raise DataError(
                f'The data set in {self.folder} has no photos to call "{name}". Run "uv run data_prep.py" again'
            )
        photo_pairs = FilePairs(found, self.folder / split.photos, num_classes=len(self.manifest.classes))
        return photo_pairs, EpochSampler(len(found), seed=seed, shuffle=name == "train", batch_size=batch_size)

    def check(self, *, num_processes: int) -> None:
        """Do nothing: files serve any number of processes."""


class PackedData:
    """A packed data set.

    Args:
        source: where it is.
    """

    def __init__(self, source: ShardSource) -> None:
        self.source = source
        self.index = source.index()
        self.manifest = self.index.manifest
        self._files = source.files()

    def split(self, name: str, *, seed: int, batch_size: int) -> tuple[PhotoPairs, EpochSampler]:
        """Return pairs and sampler of a split; see `PreparedData.split`."""
        shards = self.index.splits.get(name, ())
        if not shards:
            raise DataError(
                f'The packed data set {self.source.address} has no photos to call "{name}". Prepare and pack it again'
            )
        counts = [shard.count for shard in shards]
        order = ShardOrder(counts, seed=seed, window=self.source.window, shuffle=name == "train")
        photo_pairs = PackedPairs(shards, order, self._files, num_classes=len(self.manifest.classes))
        return photo_pairs, ShardSampler(order, batch_size=batch_size)

    def check(self, *, num_processes: int) -> None:
        """Refuse a cache that is too small; see `ShardSource.check_cache`."""
        self.source.check_cache(self.index, num_processes=num_processes)
