"""The estimate before a preparation: bytes to download and to write, whether they fit, and the time of the last one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clothseg.data.unzip import count_photos
from clothseg.errors import check_space
from clothseg.pictures import write_whole

TIMES_NAME = "preparation_times.json"
"""File in DATA_PATH with the seconds that the last preparation took; it stays when the dataset is deleted."""

MASK_BYTES = 6_000
"""Of a mask of about 550 x 830 pixels. Source: docs/concepts/scale.md, Rates."""

DOCUMENTED = {"painting": 0.6}
"""Seconds per 1,000 photos of about 550 x 830 pixels, one core. Source: docs/concepts/speed.md, Data."""


@dataclass
class Needs:
    """What a source still has to download, unpack and write."""

    download: int | None = 0
    """Bytes; None where the server does not say."""
    unpack: int = 0
    """Bytes of the photos that are in archives, those to be downloaded included."""
    write: int = 0
    """Bytes of annotation files."""
    num_photos: int = 0
    """At most this many get a mask; 0 where it is not known before the download."""

    def add_archive(self, archive: Path, members_under: str) -> None:
        """Add the photos that an archive has in a folder.

        Raises:
            DataError, MissingInputError, MachineError: as `unzip.unpack`.
        """
        count, num_bytes = count_photos(archive, members_under)
        self.num_photos += count
        self.unpack += num_bytes


Times = Mapping[str, float]
"""Seconds per 1,000 photos of `painting`, and of `unpacking` where nothing was downloaded; `photos` is how many."""


def read_times(data_path: Path) -> Times:
    """Return the times of the last preparation in `data_path`, or nothing."""
    try:
        values = json.loads((data_path / TIMES_NAME).read_bytes())
        return {str(name): float(value) for name, value in values.items()}
    except (OSError, ValueError, TypeError, AttributeError):  # none yet, or not written by us
        return {}


def write_times(data_path: Path, times: Times) -> None:
    """Record the times of a preparation; of a step that it did not have, the last recorded time stays.

    Raises:
        MachineError: the folder cannot be written.
    """
    values = {name: round(value, 3) for name, value in {**read_times(data_path), **times}.items()}
    write_whole(data_path / TIMES_NAME, json.dumps(values, indent=1).encode() + b"\n")


def describe_times(times: Times) -> str:
    """Return in words how long a preparation will take: as the last one, or else as documented."""
    num_photos = times.get("photos")
    steps = (times if num_photos else DOCUMENTED).items()
    words = " and ".join(f"{seconds:.2g} s for {name}" for name, seconds in steps if name != "photos")
    last = f"The last preparation here, of {num_photos:,.0f} photos, took" if num_photos else "One core takes about"
    return f"{last} {words} per 1,000 photos"


def check_needs(needs: Needs, folder: Path) -> str:
    """Return in words what will be downloaded and written into a dataset's folder, after the free space was checked.

    Raises:
        MachineError: the disk has too little space for all of it.
    """
    masks = needs.num_photos * MASK_BYTES
    total = (needs.download or 0) + needs.unpack + needs.write + masks
    check_space(folder, total, what=f"the dataset in {folder}")
    download = "of unknown size" if needs.download is None else _in_gb(needs.download)
    words = [] if needs.download == 0 else [f"download {download}"]
    words += [f"unpack {_in_gb(needs.unpack)}"] if needs.unpack else []
    photos = f"masks of {needs.num_photos:,} photos or fewer" if needs.num_photos else "masks"
    words.append(f"write {photos}" + (f", about {_in_gb(masks + needs.write)}" if needs.num_photos else ""))
    return f"To do: {', '.join(words)}. {_in_gb(shutil.disk_usage(folder).free)} are free in {folder}."


def _in_gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 50_000_000 else f"{num_bytes / 1e6:.1f} MB"
