import hashlib
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from clothseg.errors import ModelError
from clothseg.model.tensor_files import add_checksum, has_checksum, read_tensor_file


def read(path: Path) -> object:
    return read_tensor_file(path, kind="Checkpoint", hint="Do this.")


class Code:
    """A pickle of this makes a folder when it is read by something careless."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.save({"weight": torch.arange(5000.0), "epoch": 3}, tmp_path / "saved.pth")
    return tmp_path / "saved.pth"


def test_tensors_and_plain_values_are_read_with_and_without_a_checksum(saved: Path) -> None:
    before = saved.read_bytes()
    for is_there in (False, True):
        assert has_checksum(saved.read_bytes()) == is_there
        content = read(saved)
        assert isinstance(content, dict)
        assert content["epoch"] == 3
        assert torch.equal(content["weight"], torch.arange(5000.0))
        if not is_there:
            add_checksum(saved)
    assert saved.read_bytes().endswith(b"sha256:" + hashlib.sha256(before[:-2]).hexdigest().encode())


def test_a_file_with_a_checksum_that_is_changed_anywhere_is_refused(saved: Path) -> None:
    add_checksum(saved)
    content = saved.read_bytes()
    length = 2 + len("sha256:") + 64
    places = (*range(0, len(content) - length, 797), *range(len(content) - length, len(content)))
    flipped = [content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :] for place in places]
    cut = [content[:end] for end in range(len(content) - length + 2, len(content))]
    for damaged in (*flipped, *cut, content + b"\n"):
        with pytest.raises(ValueError, match="does not match its SHA-256"):
            has_checksum(damaged)
    saved.write_bytes(flipped[5])
    with pytest.raises(ModelError, match=r"saved\.pth .* does not match its SHA-256; copy it again\. Do this"):
        read(saved)


def test_what_torch_did_not_write_gets_no_checksum(saved: Path, tmp_path: Path) -> None:
    add_checksum(saved)
    (tmp_path / "text.ckpt").write_text("hello")
    for path in (saved, tmp_path / "text.ckpt"):
        before = path.read_bytes()
        with pytest.raises(ModelError, match="cannot take a checksum"):
            add_checksum(path)
        assert path.read_bytes() == before
    assert not has_checksum(b"x")


def test_the_old_format_is_read(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    content = read(tmp_path / "old.pth")
    assert isinstance(content, dict)
    assert torch.equal(content["weight"], torch.ones(3))


def test_no_model_at_all(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.jpg", b"x")
    for name, content, said in (
        ("a.ckpt", b"", "is empty"),
        ("a.ckpt", b"hello", "is not a PyTorch file"),
        ("a.ckpt", b"<html><body>Sign in</body></html>", "is not a PyTorch file"),
        ("a.ckpt", b"\x80", "Checkpoint"),
        ("a.ckpt", b"\x80\x02.", "Checkpoint"),
        ("a.ckpt", b"\x80\x02}q\x00.", "Checkpoint"),
        ("a.ckpt", b"PK\x03\x04", "is cut off or damaged"),
        ("a.ckpt", bytes(range(256)) * 10, "is not a PyTorch file"),
        ("a.ckpt", (tmp_path / "photos.zip").read_bytes(), "cannot be read"),
        ("a.safetensors", b"\x08\0\0\0\0\0\0\0nonsense", "cannot be read"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=said):
            read(tmp_path / name)


def test_cut_off(saved: Path) -> None:
    content = saved.read_bytes()
    for share in (0.01, 0.3, 0.5, 0.9, 0.999):
        saved.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ModelError, match="is cut off or damaged"):
            read(saved)


def test_a_flipped_byte_in_a_tensor_is_noticed(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1
    saved.write_bytes(content)
    assert torch.load(saved, weights_only=True)["epoch"] == 3, "torch itself does not notice"
    with pytest.raises(ModelError, match="fails its checksum"):
        read(saved)


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_is_refused_and_never_run(is_zip: bool, tmp_path: Path) -> None:
    path, made = tmp_path / "a.ckpt", tmp_path / "made"
    torch.save({"state_dict": Code(made)}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ModelError, match=r"names Python code \(\w+\.mkdir\), which is never run"):
        read(path)
    path.write_bytes(pickle.dumps(Code(made)))
    with pytest.raises(ModelError):
        read(path)
    assert not made.exists()
