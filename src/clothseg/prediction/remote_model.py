"""Models at addresses, hf://OWNER/NAME/FILE or https://…: downloaded once into a cache, and verified."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from filelock import FileLock

from clothseg.data.download import Download
from clothseg.errors import MachineError, ModelError, SettingError, disk_errors
from clothseg.prediction.runtimes.compiled import cache_folder
from clothseg.progress import show_step

# Source: huggingface.co/docs/huggingface_hub, "Interact with the Hub through the Filesystem API": hf:// addresses.
_HUB_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([^/]+))?/(.+)")
_ALLOWED = (
    "hf://OWNER/NAME/FILE.onnx, hf://OWNER/NAME@REVISION/FILE.onnx or https://HOST/PATH/FILE.onnx (.ckpt likewise), "
    "each with #sha256=DIGEST at its end if wanted; http:// needs that, as anybody in between could change the file"
)
_WAY_OUT = (
    "Check the address; a private repository of the Hugging Face hub needs a token in HF_TOKEN. Or download the file "
    "yourself and pass its path"
)


def cached_model(address: str) -> Path:
    """Return the path of a model at an address; it is downloaded if it is not in the cache yet.

    A file in the cache is used without asking the server again. With a SHA-256 it is verified each time, and downloaded
    again if it differs. Several processes may ask for one model at a time: one downloads, the others wait.

    Args:
        address: hf://OWNER/NAME[@REVISION]/FILE, https://HOST/PATH/FILE, and optionally #sha256=DIGEST. HF_ENDPOINT,
            HF_TOKEN and HF_HUB_OFFLINE apply to hf:// as they do to huggingface_hub.

    Raises:
        SettingError: the address has another form.
        ModelError: the file does not have the SHA-256.
        MachineError: the server cannot be reached or refuses, or the cache cannot be written.
    """
    url, sha256 = _parsed(address)
    name = re.sub(r"[^\w.-]", "_", unquote(urlsplit(url).path).rsplit("/", 1)[-1])[-100:]
    target = cache_folder() / hashlib.sha256(f"{url} {sha256}".encode()).hexdigest()[:16] / name
    with disk_errors(f"Cannot write to the cache {cache_folder()}", "Set XDG_CACHE_HOME to another folder"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(".lock"), fallback_to_soft=False):
            if _is_whole(target, sha256):
                return target
            target.unlink(missing_ok=True)
            _download(address, url, target)
            if not _is_whole(target, sha256):
                found = _digest(target)
                target.unlink()
                raise ModelError(f"{url} has the SHA-256 {found}, not {sha256}. Do not use it, or correct the address")
    return target


def _parsed(address: str) -> tuple[str, str]:
    """Return the address to download from and the SHA-256 in lower case, or an empty text."""
    location, _, fragment = address.partition("#")
    sha256 = fragment.removeprefix("sha256=").lower()
    on_hub = _HUB_ADDRESS.fullmatch(location)
    if on_hub:
        repository, revision, file = on_hub.groups()
        hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        location = f"{hub}/{repository}/resolve/{quote(unquote(revision or 'main'), safe='')}/{quote(file)}"
    with suppress(ValueError):  # a port that is no number
        parts = urlsplit(location)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and (sha256 or on_hub))
        is_model = parts.path.lower().endswith((".onnx", ".ckpt"))
        has_digest = fragment == "" or re.fullmatch(r"sha256=[0-9a-f]{64}", fragment.lower())
        has_host = parts.hostname and parts.port != 0 and "@" not in parts.netloc and not re.search(r"\s", location)
        if is_safe and is_model and has_digest and has_host:
            return location, sha256
    raise SettingError(f"Not the address of a model: {address}. Allowed: {_ALLOWED}")


def _download(address: str, url: str, target: Path) -> None:
    headers = {}
    if address.startswith("hf://"):
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            raise MachineError(
                f"{address} is not in the cache {cache_folder()}, and HF_HUB_OFFLINE forbids a download. Unset it, or "
                "pass the path of a model file"
            )
        token = _hub_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
    with show_step(f"Downloading {target.name}", unit="bytes") as progress:
        Download(url, _WAY_OUT, progress, headers=headers).run(target)


def _hub_token() -> str:
    """Return the user's token of the hub: of HF_TOKEN, or of the file that `hf auth login` writes."""
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    home = os.environ.get("HF_HOME") or cache_folder().with_name("huggingface")
    with suppress(OSError):
        return Path(os.environ.get("HF_TOKEN_PATH") or Path(home) / "token").read_text(encoding="utf-8").strip()
    return ""


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and (not sha256 or _digest(path) == sha256)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
