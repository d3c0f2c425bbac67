"""The network: photos as bytes in, normalised on its device, one plane of logits per class out."""

import copy
import inspect
import warnings
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from clothseg.errors import InputError, ModelError, SettingError, one_line
from clothseg.model.description import ModelDescription
from clothseg.model.encoders import TIMM_PREFIX, check_architecture, check_encoder, normalization_of
from clothseg.model.weights import (
    IMAGENET_WEIGHTS,
    find_imagenet_weights,
    fit_state_dict,
    load_fitting,
    read_state_dict,
)
from clothseg.transforms import STRIDE, Normalization


class SegmentationNetwork(nn.Module):
    """A network of segmentation-models-pytorch that normalises its own input.

    Photos travel to the device as bytes, a quarter of what float32 takes, and are normalised there.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, normalization: Normalization) -> None:
        super().__init__()
        self.network = network
        self.normalization = normalization
        # The same arithmetic as `Normalization.apply`. Not in the state dict: it is in the model's description.
        std = torch.tensor(normalization.std).view(1, 3, 1, 1)
        mean = torch.tensor(normalization.mean).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("shift", mean / std, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of a batch, (B, C, H, W) float32.

        Args:
            image: (B, 3, H, W) RGB, uint8 or floating with values 0 to 255; H and W multiples of 32, as
                `transforms.Letterbox` makes them.

        Raises:
            InputError: H or W is no multiple of 32.
        """
        height, width = image.shape[-2:]
        # While it is traced or exported, a size may be a symbol that has no value yet.
        if isinstance(height, int) and isinstance(width, int) and (height % STRIDE or width % STRIDE):
            raise InputError(
                f"The network's input is {height} x {width} pixels; both must be multiples of {STRIDE}. "
                "Pad it with transforms.Letterbox"
            )
        logits: Tensor = self.network(image * self.scale - self.shift)
        return logits.float()


def build_network(
    architecture: str,
    encoder_name: str,
    *,
    encoder_weights: str | Path | None,
    num_classes: int,
    decoder_width: float = 1.0,
) -> SegmentationNetwork:
    """Build a network; its decoder starts at random, its encoder from `encoder_weights`.

    Args:
        architecture: decoder, by its name in segmentation-models-pytorch: unet, fpn, deeplabv3plus, ...
        encoder_name: encoder of segmentation-models-pytorch, or tu-NAME for one of timm.
        encoder_weights: "imagenet" for the published weights, from the cache or downloaded; the path of a state dict;
            None for random weights, which needs no network.
        num_classes: planes of logits.
        decoder_width: the decoder's channels as a multiple of what segmentation-models-pytorch gives it.

    Raises:
        SettingError: an unknown name, a decoder and an encoder that do not fit together, a decoder of one width only,
            or no published weights.
        MissingModelError: the file of weights is not there.
        ModelError: the file of weights is broken or made for another encoder.
        MachineError: the published weights cannot be downloaded.
    """
    architecture = check_architecture(architecture)
    check_encoder(encoder_name)
    channels = decoder_channels(architecture, decoder_width)
    network = _create(architecture, encoder_name, num_classes, **channels)
    if encoder_weights is not None:
        is_published = str(encoder_weights) == IMAGENET_WEIGHTS
        path = find_imagenet_weights(encoder_name) if is_published else Path(encoder_weights)
        tensors = read_state_dict(path)
        encoder = network.get_submodule("encoder")
        missing = load_fitting(encoder, tensors)
        if missing and encoder_name.startswith(TIMM_PREFIX) and (is_published or _fits_timm(encoder_name, tensors)):
            # timm renames tensors where it extracts features from a model, so timm itself has to load its own files.
            overlay = {"pretrained_cfg_overlay": {"state_dict": tensors}}
            network = _create(architecture, encoder_name, num_classes, weights=True, **channels, **overlay)
        elif missing:
            total = len(encoder.state_dict())
            raise ModelError(
                f"Encoder weights {path} do not fit {encoder_name}: {total - missing} of its {total} tensors are in it "
                "under the same name and in the same shape. Set ENCODER_NAME to the encoder they were made for, or "
                "ENCODER_WEIGHTS to none"
            )
    return SegmentationNetwork(network, normalization_of(encoder_name))


def network_of(description: ModelDescription) -> SegmentationNetwork:
    """Build the network that a model file describes, with random weights."""
    network = build_network(
        description.architecture,
        description.encoder_name,
        encoder_weights=None,
        num_classes=description.classes.num_classes,
        decoder_width=description.decoder_width,
    )
    return SegmentationNetwork(network.network, description.normalization)


def freeze_unused(network: SegmentationNetwork, image_size: int) -> None:
    """Freeze the parameters that no output depends on, such as the last layer of EfficientNet, in place.

    Training on several processes waits for the gradient of each parameter, and these never get one. They are found by
    a forward and a backward pass over tensors without values, which takes a fraction of a second.

    Raises:
        SettingError: the network cannot take a square input of `image_size` pixels.
    """
    shapes = copy.deepcopy(network).to("meta").eval()
    try:
        shapes(torch.empty(2, 3, image_size, image_size, dtype=torch.uint8, device="meta")).sum().backward()
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = one_line(error)[:200].rstrip(".")
        if isinstance(error, NotImplementedError) or "meta" in reason:
            return  # some operation needs values; all parameters stay in training
        raise SettingError(
            f"This ARCHITECTURE and ENCODER_NAME cannot take photos of IMG_SIZE {image_size}: {reason}. "
            "Choose another size or another encoder"
        ) from error
    for parameter, shape in zip(network.parameters(), shapes.parameters(), strict=True):
        parameter.requires_grad_(shape.grad is not None)


def decoder_channels(architecture: str, width: float) -> dict[str, Any]:
    """Return the options of segmentation-models-pytorch that set a decoder's channels, as multiples of its own.

    Raises:
        SettingError: the decoder has none.

    >>> decoder_channels("fpn", 0.5)
    {'decoder_pyramid_channels': 128, 'decoder_segmentation_channels': 64}
    """
    if width == 1:
        return {}
    parameters = inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[architecture]).parameters.values()
    channels = {one.name: one.default for one in parameters if one.name.endswith("_channels")}
    del channels["in_channels"]
    if not channels:
        raise SettingError(f"ARCHITECTURE {architecture} has one width only. Set DECODER_WIDTH to 1")
    return {
        name: tuple(int(one * width) for one in own) if isinstance(own, tuple) else int(own * width)
        for name, own in channels.items()
    }


def _create(
    architecture: str, encoder_name: str, num_classes: int, *, weights: bool | None = None, **options: Any
) -> nn.Module:
    try:
        with warnings.catch_warnings():
            # smp wants tu- names for its timm- encoders; both are allowed here.
            warnings.filterwarnings("ignore", message="`timm-` encoders are deprecated", category=DeprecationWarning)
            network: nn.Module = smp.create_model(
                architecture,
                encoder_name=encoder_name,
                encoder_weights=weights,
                in_channels=3,
                classes=num_classes,
                **options,
            )
    except (ValueError, RuntimeError, TypeError, AttributeError, KeyError, AssertionError) as error:
        raise SettingError(
            f"ARCHITECTURE {architecture} cannot use ENCODER_NAME {encoder_name}: {one_line(error)[:200]}. "
            "Choose another of the two; unet and fpn take nearly all encoders"
        ) from error
    _fix_padding(network)
    return network


def _fits_timm(encoder_name: str, tensors: dict[str, Tensor]) -> bool:
    """Return whether `tensors` are a whole model of timm, with or without its classifier."""
    with torch.device("meta"):
        expected = timm.create_model(encoder_name.removeprefix(TIMM_PREFIX), num_classes=0).state_dict()
    fitting = fit_state_dict(tensors, expected)
    return all(name in fitting or name.endswith("num_batches_tracked") for name in expected)


def _fix_padding(network: nn.Module) -> None:
    """Replace the convolutions with TensorFlow's padding that halve their input, in place; parameter names stay."""
    for module in list(network.modules()):
        for name, layer in module.named_children():
            if type(layer) is Conv2dSame and layer.stride == (2, 2) and layer.dilation == (1, 1):
                setattr(module, name, HalvingConvolution(layer))


class HalvingConvolution(nn.Conv2d):
    """A convolution with TensorFlow's padding that halves its input, for inputs of even sides.

    timm computes the padding from the size of the input, so that an export for any size takes minutes. The sides of a
    network's inputs are multiples of 32, so that the input of each such layer is even and the padding is constant: one
    pixel more at the right and at the bottom. Parameters of `layer` and their names are kept.
    Source: tensorflow.org, tf.nn.convolution, padding="SAME".
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(layer.__dict__)

    def forward(self, image: Tensor) -> Tensor:
        """Return the convolution of (B, C, H, W), H and W even, as (B, D, H / 2, W / 2)."""
        rows, columns = (max(0, side - 2) for side in self.kernel_size)
        around = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        return super().forward(F.pad(image, around))
