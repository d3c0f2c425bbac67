"""Waits for the end of a test run, however it ends, and ends every process that it left behind.

    python tests/reaper.py PROCESS NAME VALUE

PROCESS is the run's process id, and the parent of this process, unless it has ended before this one could look. The run
sets an environment variable, NAME to VALUE, which all its processes inherit.
"""

import contextlib
import os
import sys
import time

import psutil


def leftovers(name: str, value: str) -> list[psutil.Process]:
    """Return the processes that were started with the variable."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(name) == value:
                found.append(process)
    return found


def main() -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # what ends the run from its terminal does not end this process
    while os.getppid() == int(sys.argv[1]):
        time.sleep(0.5)
    for process in leftovers(*sys.argv[2:4]):
        with contextlib.suppress(psutil.Error):
            process.kill()


if __name__ == "__main__":
    main()
