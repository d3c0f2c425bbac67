"""The estimate before a preparation: bytes to download and to write, whether they fit, and the time of the last one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clothseg.data.unzip import check_space, count_photos
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


@dataclass(frozen=True)
class Times:
    """Seconds per 1,000 photos, by step: `unpacking` where nothing was downloaded, and `painting`."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    num_photos: int = 0
    """On which they were measured."""

    @classmethod
    def read(cls, data_path: Path) -> Times:
        """Return the times of the last preparation in `data_path`; without any, those that are documented."""
        try:
            values = json.loads((data_path / TIMES_NAME).read_bytes())
            seconds = {str(step): float(value) for step, value in values["seconds_per_1000_photos"].items()}
            return cls(seconds, int(values["photos"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):  # none yet, or not written by us
            return cls()

    def write(self, data_path: Path) -> None:
        """Keep these times; a step that was not measured keeps its last time.

        Raises:
            MachineError: the folder cannot be written.
        """
        values = {**Times.read(data_path).seconds, **self.seconds}
        rounded = {step: round(seconds, 3) for step, seconds in values.items()}
        content = {"seconds_per_1000_photos": rounded, "photos": self.num_photos}
        write_whole(data_path / TIMES_NAME, json.dumps(content, indent=1).encode() + b"\n")

    def __str__(self) -> str:
        steps = " and ".join(f"{value:.2g} s for {step}" for step, value in (self.seconds or DOCUMENTED).items())
        if not self.seconds:
            return f"One core takes about {steps} per 1,000 photos"
        return f"The last preparation here, of {self.num_photos:,} photos, took {steps} per 1,000 photos"


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
