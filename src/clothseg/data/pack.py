"""`clothseg pack`: writes a prepared dataset as shards, tar files that can be read photo by photo from afar."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.data.packed import INDEX_NAME, ROW, TAR_END, index_to_json, shard_name
from clothseg.data.processes import lock_folder
from clothseg.errors import DataError, SettingError, command, make_folder, read_input
from clothseg.pictures import whole_file, write_whole
from clothseg.progress import Steps, hide_step, show_step

_LEAST_MB = 1


@dataclass(frozen=True)
class Pack:
    """Pack a prepared dataset into shards: tar files with their photos and masks, and an index.

    Copy the folder to an object store or a web server with any tool, and train from there:
    uv run train.py --shards s3://bucket/folder

    Args:
        data_path: Folder of the prepared dataset.
        output: Folder of the shards.
        shard_size: Megabytes of one shard.
    """

    data_path: Path = Path("data")
    output: Path = Path("shards")
    shard_size: float = 256.0

    def run(self) -> int:
        """Pack, print the folder and report what was written."""
        if not self.shard_size >= _LEAST_MB:
            raise SettingError(f"--shard-size is {self.shard_size:g}. Allowed: megabytes, from {_LEAST_MB} up")
        rows = pack(
            self.data_path / DATASET_FOLDER, self.output, shard_bytes=round(self.shard_size * 1e6), steps=show_step
        )
        print(self.output)
        parts = [f"{len(row):,} photos of {name} in {row['shard'].max() + 1:,} shards" for name, row in rows.items()]
        size = sum(int(row["size"].sum(dtype=np.int64)) for row in rows.values())
        print(f"Packed {', '.join(parts)}, {size / 1e9:.2f} GB.", file=sys.stderr)
        return 0


def pack(folder: Path, output: Path, *, shard_bytes: int, steps: Steps = hide_step) -> dict[str, NDArray[np.void]]:
    """Write the dataset in `folder`, which is `DATA_PATH / DATASET_FOLDER`, as shards into `output`, made if needed.

    A shard ends before it would become larger than `shard_bytes`, unless a single pair is larger. Photos come sorted by
    name; those without a mask are left out. A run that was killed leaves no index, and the next one writes everything
    again.

    Returns:
        Where each photo is, by split: rows of `ROW`.

    Raises:
        MissingInputError, DataError: there is no prepared dataset, or it is damaged.
        SettingError: `output` contains a packed dataset already.
        MachineError: `output` cannot be written, or another run writes it.
    """
    manifest = Manifest.read(folder)
    found = {name: pairs(folder, split) for name, split in manifest.splits.items()}
    for name, split in manifest.splits.items():
        if len(found[name]) != split.count:
            raise DataError(
                f"{folder} has {len(found[name])} photos with masks to call {name}, its manifest says {split.count}. "
                f'Run "{command("prepare")}" again, or "{command("verify")}" for the whole list'
            )
    make_folder(output)
    if (output / INDEX_NAME).exists():
        raise SettingError(f"{output} contains a packed dataset already. Choose another --output, or remove it first")
    with lock_folder(output):
        rows = {
            name: _pack_split(name, found[name], folder / split.photos, output, shard_bytes, steps)
            for name, split in manifest.splits.items()
        }
        write_whole(output / INDEX_NAME, index_to_json(manifest), sync=True)
    return rows


def _pack_split(
    name: str, found: Sequence[tuple[Path, Path]], photos: Path, output: Path, shard_bytes: int, steps: Steps
) -> NDArray[np.void]:
    rows: list[tuple[int, int, int, int]] = []
    number, stream = -1, None
    with steps(f"Packing {name}") as advance, ExitStack() as opened:
        for done, (photo, mask) in enumerate(found, start=1):
            content = _tar_pair(photo, mask, photo.relative_to(photos))
            if stream is None or stream.tell() + len(content) > shard_bytes:
                opened.close()
                number += 1
                temporary = opened.enter_context(whole_file(output / shard_name(name, number), sync=True))
                stream = opened.enter_context(temporary.open("wb"))
                opened.callback(stream.write, TAR_END)
            rows.append((number, stream.tell(), len(content), crc32(content)))
            stream.write(content)
            advance(done, len(found))
    table = np.array(rows, dtype=ROW)
    buffer = io.BytesIO()
    np.save(buffer, table, allow_pickle=False)
    write_whole(output / f"{name}.npy", buffer.getvalue(), sync=True)
    return table


def _tar_pair(photo: Path, mask: Path, name: Path) -> bytes:
    """Return the part of a tar file with a photo, called `name`, and its mask; equal files give equal bytes."""
    hint = f'Run "{command("verify")}" for the whole list'
    names = {name.as_posix(): photo, name.with_suffix(".mask.png").as_posix(): mask}
    files = {inside: read_input(path, "Photo or mask", hint) for inside, path in names.items()}
    if not all(files.values()):
        raise DataError(f"{photo} or its mask is empty. {hint}")
    parts = []
    for inside, content in files.items():
        entry = tarfile.TarInfo(inside)
        entry.size = len(content)
        parts += [entry.tobuf(tarfile.PAX_FORMAT), content, bytes(-len(content) % tarfile.BLOCKSIZE)]
    return b"".join(parts)
