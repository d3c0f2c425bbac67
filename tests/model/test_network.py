import pytest
import segmentation_models_pytorch as smp
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from clothseg.errors import InputError, SettingError
from clothseg.labels import GROUPS
from clothseg.model.description import ModelDescription
from clothseg.model.network import HalvingConvolution, SegmentationNetwork, build_network, freeze_unused, network_of
from clothseg.settings import DECODER_WIDTHS
from clothseg.transforms import Normalization


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return build_network("unet", "tu-mobilenetv3_small_050", encoder_weights=None, num_classes=13).eval()


def test_logits_are_of_the_inputs_size_and_other_sizes_are_refused(network: SegmentationNetwork) -> None:
    for height, width in ((32, 32), (64, 96), (160, 32)):
        logits = network(torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8))
        assert logits.shape == (2, 13, height, width)
        assert logits.dtype == torch.float32
    for height, width in ((33, 32), (64, 100), (1, 1)):
        with pytest.raises(InputError, match=f"{height} x {width} pixels; both must be multiples of 32"):
            network(torch.zeros(1, 3, height, width, dtype=torch.uint8))


def test_normalizes_as_prediction_without_torch_does(network: SegmentationNetwork) -> None:
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    normalized = network.normalization.apply(image[0].permute(1, 2, 0).numpy())
    expected = network.network(torch.from_numpy(normalized).permute(2, 0, 1)[None])
    torch.testing.assert_close(network(image), expected, rtol=1e-4, atol=1e-4)


def test_bytes_and_floats_give_the_same_and_logits_are_float32_under_autocast(network: SegmentationNetwork) -> None:
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(network(image), network(image.float()))
    with torch.autocast("cpu", torch.bfloat16):
        assert network(image).dtype == torch.float32


def test_decoders_and_encoders_combine() -> None:
    for architecture, encoder_name in (("fpn", "timm-efficientnet-b0"), ("segformer", "mit_b0"), ("Unet", "mit_b0")):
        built = build_network(architecture, encoder_name, encoder_weights=None, num_classes=5).eval()
        assert built(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == (1, 5, 64, 64)


def test_a_pair_that_does_not_go_together_is_refused() -> None:
    for architecture, encoder_name in (
        ("unetplusplus", "mit_b0"),
        ("linknet", "mit_b0"),
        ("dpt", "resnet18"),
        ("unet", "tu-vit_tiny_patch16_224"),
    ):
        with pytest.raises(SettingError, match=f"ARCHITECTURE {architecture} cannot use ENCODER_NAME {encoder_name}"):
            build_network(architecture, encoder_name, encoder_weights=None, num_classes=5)


def size(built: nn.Module) -> int:
    return sum(one.numel() for one in built.parameters())


@pytest.mark.parametrize(
    "architectures",
    [
        ("unet", "fpn"),
        pytest.param(
            ("unetplusplus", "manet", "pspnet", "deeplabv3", "deeplabv3plus", "pan", "segformer"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["common", "others"],
)
def test_a_decoder_may_be_narrower_or_wider(architectures: tuple[str, ...]) -> None:
    wrong = []
    for architecture in architectures:
        sizes = []
        for width in DECODER_WIDTHS:
            with torch.device("meta"):  # shapes without values, which take no time
                options = {"encoder_weights": None, "num_classes": 5, "decoder_width": width}
                built = build_network(architecture, "resnet18", **options).eval()
                assert built(torch.zeros(1, 3, 128, 128, dtype=torch.uint8)).shape == (1, 5, 128, 128)
            sizes.append((size(built.network.get_submodule("encoder")), size(built)))
        with torch.device("meta"):
            whole = build_network(architecture, "resnet18", encoder_weights=None, num_classes=5)
        is_right = size(whole) == sizes[DECODER_WIDTHS.index(1)][1] and len({encoder for encoder, _ in sizes}) == 1
        if not is_right or sorted(set(sizes)) != sizes:  # a wider one has more weights
            wrong.append((architecture, sizes))
    assert not wrong, wrong


def test_a_decoder_without_a_width_says_so() -> None:
    with pytest.raises(SettingError, match=r"linknet has one width only\. Set DECODER_WIDTH to 1"):
        build_network("linknet", "resnet18", encoder_weights=None, num_classes=5, decoder_width=0.5)


def test_a_description_decides_width_and_normalization() -> None:
    normalization = Normalization((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    description = ModelDescription(
        classes=GROUPS,
        architecture="fpn",
        encoder_name="resnet18",
        decoder_width=0.5,
        image_size=64,
        normalization=normalization,
    )
    built = network_of(description)
    assert size(built) == size(
        build_network("fpn", "resnet18", encoder_weights=None, num_classes=13, decoder_width=0.5)
    )
    assert built(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).isfinite().all()
    assert built.normalization == normalization
    torch.testing.assert_close(built.shift.flatten(), torch.tensor([0.1 / 0.4, 0.2 / 0.5, 0.3 / 0.6]))


@pytest.mark.parametrize(
    "encoder_name", ["efficientnet-b0", "tu-resnet18", pytest.param("mit_b0", marks=pytest.mark.slow)]
)
def test_every_parameter_in_training_gets_a_gradient(encoder_name: str) -> None:
    built = build_network("unet", encoder_name, encoder_weights=None, num_classes=3)
    freeze_unused(built, 64)
    built(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)).sum().backward()
    trained = {name for name, one in built.named_parameters() if one.requires_grad}
    assert trained == {name for name, one in built.named_parameters() if one.grad is not None}
    frozen = {name for name, _ in built.named_parameters()} - trained
    assert all("_conv_head" in name or "_bn1" in name for name in frozen)
    assert bool(frozen) == (encoder_name == "efficientnet-b0")


def test_an_encoder_of_one_size_is_refused_before_training() -> None:
    built = build_network("unet", "tu-swin_tiny_patch4_window7_224", encoder_weights=None, num_classes=3)
    freeze_unused(built, 224)
    with pytest.raises(SettingError, match="cannot take photos of IMG_SIZE 256"):
        freeze_unused(built, 256)


def test_a_halving_convolution_pads_as_tensorflow_does() -> None:
    torch.manual_seed(0)
    photos = torch.randn(2, 4, 12, 10)
    for kernel in (1, 2, 3, 5, (3, 6)):
        plain = Conv2dSame(4, 8, kernel, stride=2, groups=2, bias=True)
        fixed = HalvingConvolution(plain)
        assert torch.equal(fixed(photos), plain(photos)), kernel
        assert fixed(photos).shape == (2, 8, 6, 5)
        assert dict(fixed.named_parameters()) == dict(plain.named_parameters())


def test_encoders_with_tensorflows_padding_have_a_fixed_one() -> None:
    network = build_network("fpn", "tu-tf_efficientnet_lite0", encoder_weights=None, num_classes=3)
    assert not any(isinstance(layer, Conv2dSame) for layer in network.modules())
    assert sum(isinstance(layer, HalvingConvolution) for layer in network.modules()) == 5
    plain = smp.create_model("fpn", "tu-tf_efficientnet_lite0", encoder_weights=None, classes=3)
    plain.load_state_dict(network.network.state_dict())
    photos = torch.randn(1, 3, 96, 64)
    assert torch.equal(network.eval().network(photos), plain.eval()(photos))
