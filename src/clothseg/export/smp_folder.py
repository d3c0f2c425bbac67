"""A model as segmentation-models-pytorch saves its own: a folder that `smp.from_pretrained` loads."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import segmentation_models_pytorch as smp
import torch

from clothseg.errors import ModelError
from clothseg.export.agreement import LARGEST_LOGIT_DIFFERENCE
from clothseg.model.description import ModelDescription
from clothseg.model.network import SegmentationNetwork
from clothseg.transforms import STRIDE

DESCRIPTION_NAME = "clothseg.json"


def smp_files(description: ModelDescription, network: SegmentationNetwork) -> Mapping[str, bytes]:
    """Return the files of the folder by name: the network without its normalisation, and the model's description.

    The network that they give is compared with `network` first. Its input is normalised by the caller, with the mean
    and standard deviation in the description. There is no README.md: the one that smp writes names a wrong licence.

    Args:
        description: of the model.
        network: in evaluation mode, on the CPU.

    Raises:
        ModelError: the network that smp loads gives other logits.
    """
    inner: Any = network.network
    with TemporaryDirectory() as folder:
        inner.save_pretrained(folder)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
            loaded = smp.from_pretrained(folder).eval()
        files = {name: (Path(folder) / name).read_bytes() for name in ("config.json", "model.safetensors")}
    difference = _difference(network, loaded)
    if not difference <= LARGEST_LOGIT_DIFFERENCE:
        raise ModelError(
            f"The network that smp.from_pretrained loads gives other logits: they differ by {difference:.2g} of the "
            "largest, and 0.001 is allowed. Export to ONNX instead, with --format onnx"
        )
    return {**files, DESCRIPTION_NAME: json.dumps(description.to_dict(), indent=1).encode() + b"\n"}


@torch.inference_mode()
def _difference(network: SegmentationNetwork, loaded: torch.nn.Module) -> float:
    """Return the largest difference between the logits of two networks, as a share of the largest logit."""
    image = torch.randint(0, 256, (2, 3, 8 * STRIDE, 7 * STRIDE), generator=torch.Generator().manual_seed(0))
    expected = network(image.to(torch.uint8))
    given = loaded(image * network.scale - network.shift)
    return float((given - expected).abs().max() / expected.abs().max())
