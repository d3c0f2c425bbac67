import hashlib
from pathlib import Path

import pytest
import torch

from clothseg.errors import ModelError
from clothseg.model.seal import check_seal, seal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.ckpt"
    torch.save({"weights": torch.arange(1000.0), "clothseg": {"version": "1"}}, path)
    return path


def test_torch_reads_a_sealed_file(path):
    seal(path)
    content = torch.load(path, weights_only=True)
    assert torch.equal(content["weights"], torch.arange(1000.0))
    assert check_seal(path)


def test_the_seal_is_the_digest_of_the_file_as_torch_wrote_it(path):
    before = path.read_bytes()
    seal(path)
    assert path.read_bytes().endswith(b"sha256:" + hashlib.sha256(before[:-2]).hexdigest().encode())


def test_a_file_without_seal_is_told_apart(path, tmp_path):
    assert not check_seal(path)
    short = tmp_path / "short"
    short.write_bytes(b"x")
    assert not check_seal(short)


def test_every_flipped_byte_is_noticed(path):
    seal(path)
    content = path.read_bytes()
    for place in range(0, len(content) - 75, 97):  # within what is sealed; a broken seal is no seal
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(ModelError, match="does not match its SHA-256"):
            check_seal(path)


def test_what_torch_did_not_write_is_not_sealed(tmp_path):
    path = tmp_path / "text.ckpt"
    path.write_text("hello")
    with pytest.raises(ModelError, match="no place for a seal"):
        seal(path)
    assert path.read_text() == "hello"


def test_a_damaged_seal_is_a_damaged_file(path):
    seal(path)
    content = path.read_bytes()
    start = len(content) - 73  # the length of the comment, and the comment
    flipped = [
        content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :] for place in range(start, len(content))
    ]
    cut = [content[:place] for place in range(start + 2, len(content))]
    for damaged in (*flipped, *cut, content + b"\n"):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="does not match its SHA-256"):
            check_seal(path)
