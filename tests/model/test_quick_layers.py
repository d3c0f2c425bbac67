"""Layers that stand in for slow ones: same outputs, same gradients, same names."""

import copy

import pytest
import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.decoders.fpn.decoder import MergeBlock
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from clothseg.model.network import build_network
from clothseg.model.quick_layers import HalvingConvolution, StridedDepthwise, Sum, quicken


def depthwise(**options):
    torch.manual_seed(0)
    return nn.Conv2d(6, 6, options.pop("kernel", 3), groups=6, bias=options.pop("bias", False), **options)


GEOMETRIES = [
    {"stride": 2, "padding": 1},
    {"stride": 2, "padding": 0},
    {"stride": (1, 2), "padding": (2, 1), "kernel": (5, 3)},
    {"stride": 2, "padding": 2, "dilation": 2},
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("size", [(16, 12), (15, 13)], ids=str)
def test_a_quick_depthwise_convolution_has_the_output_and_gradients_of_the_slow_one(geometry, size):
    slow = depthwise(**geometry)
    quick = StridedDepthwise(copy.deepcopy(slow))
    photos = torch.randn(2, 6, *size)
    found = {}
    for name, layer in (("slow", slow), ("quick", quick)):
        image = photos.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = layer(image)
        upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
        output.backward(upstream)
        found[name] = (output, image.grad, layer.weight.grad)
    assert found["quick"][0].dtype is torch.bfloat16
    for quick_one, slow_one in zip(found["quick"], found["slow"], strict=True):
        # bfloat16 has 8 bits.
        torch.testing.assert_close(quick_one.float(), slow_one.float(), rtol=2**-7, atol=2**-7)


def test_in_float32_a_quick_depthwise_convolution_is_the_slow_one_bit_for_bit():
    slow = depthwise(stride=2, padding=1)
    quick = StridedDepthwise(copy.deepcopy(slow))
    photos = torch.randn(2, 6, 16, 12)
    for layer in (slow, quick):
        layer(photos).square().sum().backward()
    assert torch.equal(quick(photos), slow(photos))
    assert torch.equal(quick.weight.grad, slow.weight.grad)


def test_the_gradient_in_bfloat16_is_as_near_the_true_one_as_the_slow_layers():
    slow = depthwise(stride=2, padding=1)
    layers = {"slow": slow, "quick": StridedDepthwise(copy.deepcopy(slow)), "true": copy.deepcopy(slow).double()}
    photos, gradients = torch.randn(2, 6, 16, 12).bfloat16().double(), {}
    for name, layer in layers.items():
        image = (photos if name == "true" else photos.float()).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=name != "true"):
            output = layer(image)
        gradients[name] = torch.autograd.grad(output, image, torch.ones_like(output))[0].double()
    error = {name: (gradients[name] - gradients["true"]).abs().mean().item() for name in ("slow", "quick")}
    assert error["quick"] <= error["slow"] * 1.1


def test_the_sum_of_a_pyramid_is_that_of_the_stacked_levels():
    levels = [torch.randn(2, 4, 6, 5) for _ in range(4)]
    torch.testing.assert_close(Sum()(levels), MergeBlock("add")(levels))


@pytest.mark.parametrize(
    "layer",
    [
        depthwise(stride=1, padding=1),
        depthwise(stride=2, padding=1, bias=True),
        depthwise(stride=2, padding=1, padding_mode="reflect"),
        nn.Conv2d(6, 6, 3, stride=2, groups=3, bias=False),
        nn.Conv2d(6, 12, 3, stride=2, groups=6, bias=False),
        MergeBlock("cat"),
    ],
    ids=str,
)
def test_other_layers_stay_as_they_are(layer):
    network = nn.Sequential(layer)
    quicken(network)
    assert network[0] is layer


@pytest.mark.parametrize("architecture", ["unet", "fpn"])
def test_a_quickened_network_keeps_its_parameters_their_names_and_its_output(architecture):
    torch.manual_seed(0)
    plain = smp.create_model(architecture, encoder_name="mobilenet_v2", encoder_weights=None, classes=5).eval()
    quick = copy.deepcopy(plain)
    quicken(quick)
    state = quick.state_dict()
    assert list(state) == list(plain.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in plain.state_dict().items())
    photos = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(quick(photos), plain(photos))
    strided = [layer for layer in quick.modules() if isinstance(layer, StridedDepthwise)]
    assert len(strided) == 4  # MobileNetV2 halves its planes five times, the first time in an ordinary convolution


def test_networks_are_built_with_quick_layers():
    network = build_network("fpn", "mobilenet_v2", encoder_weights=None, num_classes=3)
    kinds = {type(layer) for layer in network.modules()}
    assert {StridedDepthwise, Sum} <= kinds


@pytest.mark.parametrize("kernel", [2, 3, 5, (3, 6)], ids=str)
def test_a_halving_convolution_pads_as_tensorflow_does(kernel):
    torch.manual_seed(0)
    slow = Conv2dSame(4, 8, kernel, stride=2, groups=2, bias=True)
    quick = HalvingConvolution(slow)
    photos = torch.randn(2, 4, 12, 10)
    assert torch.equal(quick(photos), slow(photos))
    assert quick(photos).shape == (2, 8, 6, 5)
    assert dict(quick.named_parameters()) == dict(slow.named_parameters())


def test_encoders_with_tensorflows_padding_have_a_fixed_one():
    network = build_network("fpn", "tu-tf_efficientnet_lite0", encoder_weights=None, num_classes=3)
    assert not any(isinstance(layer, Conv2dSame) for layer in network.modules())
    assert sum(isinstance(layer, HalvingConvolution) for layer in network.modules()) == 5
    plain = smp.create_model("fpn", "tu-tf_efficientnet_lite0", encoder_weights=None, classes=3)
    plain.load_state_dict(network.network.state_dict())
    photos = torch.randn(1, 3, 96, 64)
    assert torch.equal(network.eval().network(photos), plain.eval()(photos))
