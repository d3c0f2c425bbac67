"""The files on the servers of the download tests, and those that a fetch leaves beside its target."""

import io
import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from clothseg.data.download import fetch
from clothseg.data.http_client import RetryPolicy
from clothseg.errors import MachineError
from tests.conftest import HANG_SECONDS
from tests.data.broken_server import BrokenServer

ZIP = "images/train2020.zip"

JSON = "annotations/instances_attributes_train2020.json"

PAGE = b"<!DOCTYPE html><html><body>Please log in to the network</body></html>"

QUICK = RetryPolicy(
    timeout=HANG_SECONDS, slowest=1024, attempts=3, new_bytes=1 << 20, first_wait=0.01, longest_wait=0.05
)
"""Attempts that follow each other quickly; a server that answers has all the time it needs."""

IMPATIENT = replace(QUICK, timeout=0.1)
"""For servers that never answer: what they are given up after."""


def packed(seed: int = 1, num_bytes: int = 200_000) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(4):
            archive.writestr(
                zipfile.ZipInfo(f"train/{number}.jpg"), random.Random(seed + number).randbytes(num_bytes // 4)
            )
    return buffer.getvalue()


CONTENT = packed()

ANNOTATIONS = json.dumps({"images": [{"file_name": 'a "quoted" \\ {name}.jpg'}], "annotations": []}).encode()


def leave_part(target: Path, server: BrokenServer) -> None:
    """Have a fetch break off, so that bytes and their note lie beside the target."""
    with pytest.raises(MachineError, match="bytes are kept"):
        fetch(server.address, ZIP, target, retries=QUICK)
    assert 0 < target.with_name("train2020.zip.part").stat().st_size < len(CONTENT)
    server.requests.clear()


def assert_whole(target: Path, content: bytes = CONTENT) -> None:
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == [target.name]
