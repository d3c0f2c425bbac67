"""One run at a time writes to a place."""

import errno
import os
import sys

import pytest

from clothseg.data.locks import alone
from clothseg.errors import MachineError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such lock")


def test_a_place_is_held_by_one_run_and_free_after_it(tmp_path):
    for _ in range(2):
        with (
            alone(tmp_path),
            pytest.raises(MachineError, match=r"Another run is writing .*Wait until it is done"),
            alone(tmp_path),
        ):
            pass
    assert not list(tmp_path.iterdir())


def test_a_file_that_its_holder_renamed_is_not_ours(tmp_path, monkeypatch):
    path = tmp_path / "archive.part"
    path.touch()
    monkeypatch.setattr("fcntl.flock", lambda *_: path.rename(tmp_path / "archive"))  # what the other run does last
    with pytest.raises(MachineError, match=r"Another run is writing .*archive\.part"), alone(path):
        pass


def test_file_systems_and_machines_without_locks_go_without(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with alone(tmp_path):
        pass
    monkeypatch.setattr(sys, "platform", "win32")
    with alone(tmp_path / "not opened"):
        pass
