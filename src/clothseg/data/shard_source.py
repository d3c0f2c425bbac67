"""Where a training's data comes from, as the settings say: a prepared folder, or a packed data set and its cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clothseg.data.manifest import DATASET_FOLDER, Manifest
from clothseg.data.shard_cache import CacheFolder
from clothseg.data.shard_files import CachedFiles, FolderFiles, ShardFiles
from clothseg.data.shard_store import RemoteStore, local_folder
from clothseg.data.shards import INDEX_NAME, ShardIndex
from clothseg.errors import SettingError, check_input
from clothseg.settings import Settings


@dataclass(frozen=True)
class ShardSource:
    """A packed data set, and how it is read."""

    address: str
    """Folder, or address in a remote store."""
    cache_path: Path
    """Folder of copies of a remote store's shards."""
    cache_bytes: int
    """How large the cache may become."""
    window: int
    """Shards whose photos are mixed; as many more are fetched ahead."""

    @classmethod
    def of(cls, settings: Settings) -> ShardSource | None:
        """Return what the settings say, or None where the files in DATA_PATH are meant."""
        if settings.shards is None:
            return None
        size = round(settings.cache_size * 1e9)
        return cls(settings.shards, settings.cache_path, size, settings.shuffle_shards)

    def index(self) -> ShardIndex:
        """Read the index.

        Raises:
            MissingInputError: there is none.
            DataError: it is damaged.
            SettingError, MachineError, MissingExtraError: a store that is not read, does not answer, or whose client
                is not installed.
        """
        where = f"{self.address.rstrip('/')}/{INDEX_NAME}"
        folder = local_folder(self.address)
        if folder is None:
            return ShardIndex.from_json(RemoteStore(self.address).read(INDEX_NAME), where=where)
        check_input(folder / INDEX_NAME, "Packed data set", 'Run "clothseg pack" first')
        return ShardIndex.from_json((folder / INDEX_NAME).read_bytes(), where=where)

    def files(self) -> ShardFiles:
        """Return the shards as files on this machine."""
        folder = local_folder(self.address)
        if folder is not None:
            return FolderFiles(folder)
        return CachedFiles(RemoteStore(self.address), CacheFolder(self.cache_path, limit=self.cache_bytes))

    def check_cache(self, index: ShardIndex, *, num_processes: int) -> None:
        """Refuse a cache in which shards would be deleted before their photos are drawn.

        Args:
            index: of the data set.
            num_processes: trainings on this machine, which share the cache.

        Raises:
            SettingError: it is too small; the message says how large it must be.
        """
        if local_folder(self.address) is not None:
            return
        sizes = [shard.size for shards in index.splits.values() for shard in shards]
        # Two windows, and one shard that validation reads in between.
        needed = min(sum(sizes), max(sizes, default=0) * num_processes * (2 * self.window + 1))
        if needed > self.cache_bytes:
            raise SettingError(
                f"CACHE_SIZE is {self.cache_bytes / 1e9:g} GB, but {num_processes} processes that mix "
                f"{self.window} shards each need {needed / 1e9:.2f} GB. Raise it, or lower SHUFFLE_SHARDS"
            )


def read_manifest(settings: Settings) -> Manifest:
    """Read the manifest of the data set that the settings name.

    Raises:
        MissingInputError: there is no data set.
        DataError: it is damaged.
        SettingError, MachineError, MissingExtraError: a store that cannot be read.
    """
    source = ShardSource.of(settings)
    return Manifest.read(settings.data_path / DATASET_FOLDER) if source is None else source.index().manifest
