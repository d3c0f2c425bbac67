"""The first weights of an encoder: found in the cache, downloaded, or read from a file, and matched to it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import timm
import torch
from huggingface_hub import constants as hub
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from torch import Tensor, nn

from clothseg.errors import MachineError, ModelError, SettingError, one_line
from clothseg.model.encoders import TIMM_PREFIX
from clothseg.model.tensor_files import read_tensor_file

IMAGENET_WEIGHTS = "imagenet"

_CONNECTION_SECONDS = 8
"""Time limit for the first answer of the hub; a download that has begun has none."""

_HINT = (
    "Set ENCODER_WEIGHTS (--encoder-weights) to none or to the path of a state dict, or set HTTPS_PROXY or HF_ENDPOINT "
    "if this machine reaches the internet that way"
)


@dataclass(frozen=True)
class HubFile:
    """A file of weights on the Hugging Face hub, or at another address."""

    repository: str
    """owner/name on the hub, or the full address of the file."""
    names: tuple[str, ...] = ()
    """File names to try; the first that exists is taken."""
    revision: str | None = None


def find_imagenet_weights(encoder_name: str) -> Path:
    """Return the file of an encoder's ImageNet weights: from the hub's cache if it is there, else downloaded.

    Raises:
        SettingError: no ImageNet weights of this encoder are published.
        MachineError: not in the cache, and the hub does not answer within seconds.
    """
    source = imagenet_source(encoder_name)
    if not source.names:
        return _download_address(encoder_name, source.repository)
    return find_on_hub(source, f"ImageNet weights of {encoder_name}", _HINT)


def find_on_hub(source: HubFile, what: str, hint: str) -> Path:
    """Return a file of the hub: from its cache if it is there, else downloaded.

    Args:
        source: names of the file to try.
        what: what it is, in the plural, first in every error.
        hint: what to do instead, last in every error.

    Raises:
        MachineError: not in the cache, and the hub does not answer within seconds, or it refuses; its cause is an
            `EntryNotFoundError` where the repository has none of the names.
    """
    for name in source.names:
        cached = huggingface_hub.try_to_load_from_cache(source.repository, name, revision=source.revision)
        if isinstance(cached, str):
            return Path(cached)
    if hub.HF_HUB_OFFLINE:
        raise MachineError(f"{what} are not in the cache and HF_HUB_OFFLINE forbids a download. {hint}")
    error: BaseException | None = None
    for name in source.names:
        address = huggingface_hub.hf_hub_url(source.repository, name, revision=source.revision)
        # The hub's own download retries for minutes where nothing answers; this asks once, with a time limit.
        error = _failure(partial(huggingface_hub.get_hf_file_metadata, address, timeout=5))
        if error is None:
            try:
                return Path(huggingface_hub.hf_hub_download(source.repository, name, revision=source.revision))
            except Exception as failed:  # noqa: BLE001 - the hub's client changes its HTTP library between releases
                error = failed
        if not isinstance(error, huggingface_hub.errors.EntryNotFoundError):
            break
    raise MachineError(f"{what} cannot be downloaded from {hub.ENDPOINT}: {_reason(error)}. {hint}") from error


def imagenet_source(encoder_name: str) -> HubFile:
    """Return where the ImageNet weights of an encoder are published.

    Raises:
        SettingError: none are published.
    """
    if encoder_name.startswith(TIMM_PREFIX):
        config = timm.get_pretrained_cfg(encoder_name.removeprefix(TIMM_PREFIX), allow_unregistered=True)
        if config and config.hf_hub_id and not config.hf_hub_filename and not config.custom_load:
            repository, _, revision = config.hf_hub_id.partition("@")
            return HubFile(repository, ("model.safetensors", "pytorch_model.bin"), revision or None)
        if config and config.url and not config.custom_load:
            return HubFile(str(config.url))
    else:
        published = smp_encoders[encoder_name]["pretrained_settings"].get(IMAGENET_WEIGHTS)
        if published:
            return HubFile(published["repo_id"], ("model.safetensors",), published["revision"])
    raise SettingError(
        f"There are no imagenet weights for the encoder {encoder_name} that can be read without running code. "
        "Set ENCODER_WEIGHTS to none or to the path of a state dict, or choose another ENCODER_NAME"
    )


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name: a state dict, or one inside `state_dict` or `model` of a checkpoint.

    Raises:
        MissingModelError: there is no such file.
        ModelError: it is broken or contains no state dict.
    """
    hint = "Set ENCODER_WEIGHTS to imagenet, none, or the path of a state dict"
    content = read_tensor_file(path, kind="Encoder weights", hint=hint)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not tensors:
        raise ModelError(f"Encoder weights {path} contain no state dict (names with tensors). {hint}")
    return tensors


def fit_state_dict(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return those of `tensors` that `expected` has under the same name and in the same shape.

    Names may have the prefix of the module that they come from, such as `module.`, `backbone.` or
    `network.network.encoder.`: the prefix under which most tensors fit is removed. Other tensors, such as those of a
    classifier, are left out.
    """
    best: dict[str, Tensor] = {}
    for prefix in sorted(_prefixes(tensors, expected), key=len):
        names = {name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)}
        fitting = {
            name: tensors[names[name]]
            for name, tensor in expected.items()
            if name in names and tensors[names[name]].shape == tensor.shape
        }
        if len(fitting) > len(best):
            best = fitting
    return best


def load_fitting(encoder: nn.Module, tensors: Mapping[str, Tensor]) -> int:
    """Load `tensors` into `encoder` if they include all its parameters and statistics.

    Returns:
        Number of missing tensors; unless it is 0, nothing was loaded.
    """
    expected = encoder.state_dict()
    fitting = fit_state_dict(tensors, expected)
    # Old files lack these counters, which nothing here reads.
    missing = [name for name in expected if name not in fitting and not name.endswith("num_batches_tracked")]
    if not missing:
        nn.Module.load_state_dict(encoder, fitting, strict=False)
    return len(missing)


def _prefixes(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> set[str]:
    """Return the prefixes under which the names of `tensors` contain one of the first few expected names."""
    samples = list(expected)[:3]
    return {""} | {name.removesuffix(sample) for sample in samples for name in tensors if name.endswith(f".{sample}")}


def _download_address(encoder_name: str, address: str) -> Path:
    target = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(address).path).name
    if target.exists():
        return target
    error = _failure(partial(huggingface_hub.get_hf_file_metadata, address, token=False, timeout=5))
    if error is None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(address, str(target))
        except OSError as failed:
            error = failed
    if error is not None:
        raise MachineError(
            f"ImageNet weights of {encoder_name} cannot be downloaded from {address}: {_reason(error)}. {_HINT}"
        ) from error
    return target


def _failure(ask: Callable[[], Any]) -> BaseException | None:
    """Return the error of `ask`, or None if it got an answer.

    It runs in a thread because resolving a host name has no time limit.
    """
    errors: list[BaseException] = [TimeoutError(f"no answer within {_CONNECTION_SECONDS} seconds")]

    def run() -> None:
        try:
            ask()
            errors.clear()
        except Exception as error:  # noqa: BLE001 - returned to the caller
            errors[0] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_CONNECTION_SECONDS)
    return errors[0] if errors else None


def _reason(error: BaseException | None) -> str:
    return one_line(error)[:160].rstrip(". ") if error else "nothing there"
