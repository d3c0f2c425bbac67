"""Keeps two runs from writing to one place at the same time."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from clothseg.errors import MachineError

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold `path`, a file or folder that is there, for this run.

    The hold ends with the block or with the process, however that ends, and leaves no file behind. Windows and file
    systems that know no such lock go without.

    Raises:
        MachineError: another run holds it.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
        except BlockingIOError:
            is_ours = False
        except OSError:
            is_ours = True
        if not is_ours:  # held, or renamed by its holder in between
            raise MachineError(f"Another run is writing {path}. Wait until it is done, or stop it, and run this again")
        yield
    finally:
        os.close(descriptor)
