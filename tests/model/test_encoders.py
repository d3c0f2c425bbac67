import pytest
import timm
from segmentation_models_pytorch.encoders import encoders as smp_encoders

from clothseg.errors import SettingError
from clothseg.model.encoders import check_architecture, check_encoder, licence_note, normalization_of
from clothseg.transforms import IMAGENET


def test_known_names_pass() -> None:
    for name in (*smp_encoders, "tu-resnet18", "tu-resnet18.a1_in1k", "tu-mobilenetv4_conv_medium"):
        check_encoder(name)
    for name in ("unet", "Unet", "UnetPlusPlus", "deeplabv3plus", "DeepLabV3-Plus", "fpn", "dpt"):
        check_architecture(name)


def test_an_unknown_encoder_lists_the_nearest() -> None:
    wrong = []
    for name, nearest in (
        ("resnet43", "resnet34"),
        ("mit-b1", "mit_b1"),
        ("convnext_tiny", "tu-convnext_tiny"),
        ("tu-convnext_tny", "tu-convnext_tiny"),
        ("tu-resnet18.a1_in2k", "tu-resnet18.a1_in1k"),
        ("tu-", "timm has no such model"),
        ("", "Nearest"),
    ):
        with pytest.raises(SettingError, match="Unknown ENCODER_NAME") as caught:
            check_encoder(name)
        if nearest not in str(caught.value):
            wrong.append((name, str(caught.value)))
    assert not wrong, wrong


def test_an_unknown_decoder_lists_them_all() -> None:
    with pytest.raises(SettingError, match=r"Unknown ARCHITECTURE 'unett'.*unet, unetplusplus, manet"):
        check_architecture("unett")


def test_each_encoder_names_its_normalization() -> None:
    assert normalization_of("mit_b1") == normalization_of("resnet34") == normalization_of("tu-resnet18") == IMAGENET
    assert normalization_of("xception").mean == normalization_of("inceptionv4").std == (0.5, 0.5, 0.5)
    inception = timm.get_pretrained_cfg("inception_v3")
    assert inception is not None
    assert normalization_of("tu-inception_v3").mean == inception.mean != IMAGENET.mean


def test_the_licence_of_mit_weights_is_named() -> None:
    assert "non-commercial" in licence_note("mit_b1", "imagenet")
    assert "non-commercial" in licence_note("mit_b5", "weights/mit_b5.pth")
    assert licence_note("mit_b1", None) == ""


def test_terms_of_timm_weights_are_named() -> None:
    assert "cc-by-nc-4.0" in licence_note("tu-convnextv2_tiny", "imagenet")
    assert licence_note("tu-convnextv2_tiny", None) == licence_note("tu-resnet18", "imagenet") == ""
    assert licence_note("mobilenet_v2", "imagenet") == ""
