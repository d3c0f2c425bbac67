"""A prepared data set written as shards, and their index last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clothseg.data.manifest import Manifest, pairs
from clothseg.data.pair import read_file
from clothseg.data.processes import lock_folder
from clothseg.data.shard_file import ShardFile, new_shard
from clothseg.data.shards import INDEX_NAME, Shard, ShardIndex
from clothseg.errors import DataError, MachineError, SettingError, path_problem
from clothseg.pictures import write_whole
from clothseg.progress import Steps, hide_step

_ORDER_SEED = 0
"""Photos of one day or street often stand together; a fixed random order parts them, and packs the same bytes again."""

Pair = tuple[Path, Path]


@dataclass(frozen=True)
class _Member:
    photo: str
    number: int
    photo_bytes: bytes
    mask_bytes: bytes

    @property
    def size(self) -> int:
        return len(self.photo_bytes) + len(self.mask_bytes)


def pack(folder: Path, output: Path, *, shard_bytes: int, steps: Steps = hide_step) -> ShardIndex:
    """Write the prepared data set in `folder` as shards into `output`.

    Training photos go into the shards in random order, so that a few shards are a fair draw of the whole; validation
    photos in theirs. Photos without a mask are left out. A run that was killed leaves no index, and the next one
    writes everything again.

    Args:
        folder: `DATA_PATH / DATASET_FOLDER`.
        output: folder of the shards; made if needed.
        shard_bytes: a shard ends before it would become larger, but for a pair that alone is.
        steps: shows the progress.

    Returns:
        The index.

    Raises:
        MissingInputError, DataError: there is no prepared data set, or it is damaged.
        SettingError: `output` holds a packed data set, or is not empty of other things.
        MachineError: `output` cannot be written, or another run writes it.
    """
    manifest = Manifest.read(folder)
    found = {name: pairs(folder, split) for name, split in manifest.splits.items()}
    for name, split in manifest.splits.items():
        if len(found[name]) != split.count:
            raise DataError(
                f"{folder} has {len(found[name])} photos with masks to call {name}, its manifest says {split.count}. "
                'Run "uv run data_prep.py" again, or "clothseg verify" for the whole list'
            )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"Cannot write to {output}: {path_problem(error)}. Choose another --output") from error
    if (output / INDEX_NAME).exists():
        raise SettingError(f"{output} holds a packed data set already. Choose another --output, or remove it first")
    with lock_folder(output):
        splits = {
            name: _pack_split(name, found[name], folder / split.photos, output, shard_bytes, steps)
            for name, split in manifest.splits.items()
        }
        index = ShardIndex(manifest, splits)
        write_whole(output / INDEX_NAME, index.to_json(), sync=True)
    return index


def _pack_split(
    name: str, found: Sequence[Pair], photos: Path, output: Path, shard_bytes: int, steps: Steps
) -> tuple[Shard, ...]:
    shards: list[Shard] = []
    with steps(f"Packing {name}") as advance, ExitStack() as opened:
        shard: ShardFile | None = None
        for done, member in enumerate(_members(name, found, photos), start=1):
            if shard is not None and shard.size + member.size > shard_bytes:
                shards.append(shard.finish())
                opened.close()
                shard = None
            if shard is None:
                shard = opened.enter_context(new_shard(output, f"{name}-{len(shards):05}.tar"))
            shard.add(member.photo, member.number, member.photo_bytes, member.mask_bytes)
            advance(done, len(found))
        if shard is not None:
            shards.append(shard.finish())
    return tuple(shards)


def _members(name: str, found: Sequence[Pair], photos: Path) -> Iterator[_Member]:
    order = np.arange(len(found))
    if name == "train":
        order = np.random.default_rng(_ORDER_SEED).permutation(order)
    for number in order.tolist():
        photo, mask = found[number]
        member = _Member(photo.relative_to(photos).as_posix(), number, read_file(photo), read_file(mask))
        if not member.photo_bytes or not member.mask_bytes:
            raise DataError(f'{photo} or its mask is empty. Run "clothseg verify" for the whole list')
        yield member
