import os

import pytest

from tests.data.small_mirror import write_mirror


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch):
    """Spare each test the wait for all that other programs are writing to the disk."""
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    write_mirror(folder)
    return folder
