import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare each test the wait for all that other programs are writing to the disk."""
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "fashionist" / "train2020.zip"
