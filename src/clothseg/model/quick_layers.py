"""Layers that compute what those they replace do, where those are slow in bfloat16 on a CPU or cannot be exported."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.fpn.decoder import MergeBlock
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def quicken(network: nn.Module) -> None:
    """Replace the slow layers of `network`, in place; parameters, their names and the outputs stay the same."""
    for module in list(network.modules()):
        for name, layer in module.named_children():
            if type(layer) is nn.Conv2d and _is_strided_depthwise(layer):
                setattr(module, name, StridedDepthwise(layer))
            elif type(layer) is Conv2dSame and _halves(layer):
                setattr(module, name, HalvingConvolution(layer))
            elif type(layer) is MergeBlock and layer.policy == "add":
                setattr(module, name, Sum())


class _Replacement(nn.Conv2d):
    """A convolution that takes over all that another one has, its parameters and their names included."""

    def __init__(self, layer: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(layer.__dict__)


class StridedDepthwise(_Replacement):
    """A depthwise convolution with a stride, the gradient of whose input is computed in float32.

    oneDNN has a fast kernel for it in float32 only. In bfloat16 it alone takes more than a tenth of a training step of
    a U-Net with MobileNetV2 on a CPU; `benchmarks/training_step.py` measures the step with and without.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Return the convolution of (B, C, H, W)."""
        is_slow = image.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
        if not is_slow or torch.get_autocast_dtype("cpu") is not torch.bfloat16:
            return super().forward(image)
        geometry = (list(self.stride), list(self.padding), list(self.dilation))
        output: Tensor = _StridedDepthwise.apply(image.bfloat16(), self.weight.bfloat16(), *geometry)
        return output


class HalvingConvolution(_Replacement):
    """A convolution with TensorFlow's padding that halves its input, for inputs of even sides.

    timm works the padding out from the input's size, which makes an export for any size take minutes. The sides of a
    network's inputs are multiples of 32, so that each input that is halved is even and the padding is always the same:
    a pixel more at the right and at the bottom. Source: tensorflow.org, tf.nn.convolution, padding="SAME".
    """

    def forward(self, image: Tensor) -> Tensor:
        """Return the convolution of (B, C, H, W), H and W even, as (B, D, H / 2, W / 2)."""
        rows, columns = self.kernel_size
        around = ((columns - 2) // 2, (columns - 1) // 2, (rows - 2) // 2, (rows - 1) // 2)
        return super().forward(F.pad(image, around))


class _StridedDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]
    ) -> Tensor:
        ctx.save_for_backward(image, weight)
        ctx.geometry = (stride, padding, dilation)
        return torch.conv2d(image, weight, None, stride, padding, dilation, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        image, weight = ctx.saved_tensors
        rest = (None, *ctx.geometry, False, [0, 0], len(weight))
        backward = torch.ops.aten.convolution_backward
        of_weight = backward(gradient, image, weight, *rest, [False, True, False])[1]
        shape = torch.empty_like(image, dtype=torch.float32)  # only its shape and layout are looked at
        of_image = backward(gradient.float(), shape, weight.float(), *rest, [True, False, False])[0]
        return of_image.to(image.dtype), of_weight, None, None, None


class Sum(nn.Module):
    """The sum of the levels of a feature pyramid, without the copy that stacking them makes first."""

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Return the sum of tensors of one shape."""
        return reduce(torch.add, levels)


def _halves(layer: nn.Conv2d) -> bool:
    return layer.stride == (2, 2) and layer.dilation == (1, 1) and layer.kernel_size[0] > 1 < layer.kernel_size[1]


def _is_strided_depthwise(layer: nn.Conv2d) -> bool:
    is_depthwise = layer.groups == layer.in_channels == layer.out_channels > 1
    has_fast_layout = layer.padding_mode == "zeros" and not isinstance(layer.padding, str) and layer.bias is None
    return is_depthwise and max(layer.stride) > 1 and has_fast_layout
