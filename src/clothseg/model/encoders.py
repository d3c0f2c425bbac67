"""Decoders and encoders by name, with the normalisation and the licence of their weights."""

import timm
from segmentation_models_pytorch import MODEL_ARCHITECTURES_MAPPING
from segmentation_models_pytorch.encoders import encoders as smp_encoders

from clothseg.errors import SettingError, nearest
from clothseg.transforms import IMAGENET, Normalization

TIMM_PREFIX = "tu-"
"""Prefix of the names of timm's encoders."""

MIT_LICENCE = (
    "The ImageNet weights of the MiT encoders (mit_b0 to mit_b5) are NVIDIA's, for non-commercial use only; "
    "a model trained from them is bound by the same terms. "
    "Source: the licence of SegFormer, github.com/NVlabs/SegFormer/blob/master/LICENSE"
)
"""Printed where MiT weights are chosen, and written into the model."""

_FREE_LICENCES = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0")

_HALF = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_DPN = Normalization((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)

# Source: the pretrained settings of each encoder's authors, as segmentation-models-pytorch 0.4 listed them; the hub's
# config.json files repeat them, but cannot be read without a network.
_NORMALIZATION_BY_PREFIX = {"inception": _HALF, "xception": _HALF, "timm-tf_efficientnet_lite": _HALF, "dpn": _DPN}


def check_architecture(name: str) -> str:
    """Return the name of a decoder as segmentation-models-pytorch writes it: lower case, no hyphen or underscore.

    Raises:
        SettingError: there is no such decoder; the message lists them.

    >>> check_architecture("DeepLabV3-Plus")
    'deeplabv3plus'
    """
    plain = name.lower().replace("-", "").replace("_", "")
    if plain not in MODEL_ARCHITECTURES_MAPPING:
        raise SettingError(f"Unknown ARCHITECTURE {name!r}. Allowed: {', '.join(MODEL_ARCHITECTURES_MAPPING)}")
    return plain


def check_encoder(name: str) -> None:
    """Refuse a name that is neither an encoder of segmentation-models-pytorch nor `tu-` and a name of timm.

    Raises:
        SettingError: there is no such encoder; the message lists the nearest of both.
    """
    if not name.startswith(TIMM_PREFIX):
        if name in smp_encoders:
            return
        allowed = [*smp_encoders, *(TIMM_PREFIX + one for one in timm.list_models())]
        # A name of timm without its prefix is the most likely mistake.
        likely = [TIMM_PREFIX + name] if timm.is_model(name) else []
        raise SettingError(
            f"Unknown ENCODER_NAME {name!r}. Nearest: {', '.join([*likely, nearest(name, allowed)])}. "
            f"Allowed: the {len(smp_encoders)} encoders of segmentation-models-pytorch, and tu-NAME for one of timm"
        )
    timm_name = name.removeprefix(TIMM_PREFIX)
    model_name, _, tag = timm_name.partition(".")
    if not timm.is_model(model_name):
        allowed = [TIMM_PREFIX + one for one in timm.list_models()]
        raise SettingError(f"Unknown ENCODER_NAME {name!r}: timm has no such model. Nearest: {nearest(name, allowed)}")
    if tag and timm_name not in (tagged := timm.list_pretrained(f"{model_name}.*")):
        raise SettingError(
            f"Unknown ENCODER_NAME {name!r}: timm has no weights {tag!r} of {model_name}. "
            f"Nearest: {nearest(name, [TIMM_PREFIX + one for one in tagged]) or TIMM_PREFIX + model_name}"
        )


def normalization_of(encoder_name: str) -> Normalization:
    """Return the normalisation that the weights of an encoder were trained with; ImageNet's where none is known.

    It follows from the name alone, so that a network built without weights or without the internet sees the same input.
    """
    if encoder_name.startswith(TIMM_PREFIX):
        config = timm.get_pretrained_cfg(encoder_name.removeprefix(TIMM_PREFIX), allow_unregistered=True)
        if not config:
            return IMAGENET
        (red, green, blue), (red_std, green_std, blue_std) = config.mean, config.std
        return Normalization((red, green, blue), (red_std, green_std, blue_std))
    for prefix, normalization in _NORMALIZATION_BY_PREFIX.items():
        if encoder_name.startswith(prefix):
            return normalization
    return IMAGENET


def licence_note(encoder_name: str, encoder_weights: str | None) -> str:
    """Return the licence terms that the trained model inherits from the chosen weights; empty where there are none.

    Weights of a file are treated as the published ones: the file does not say where they come from.
    """
    if encoder_weights is None:
        return ""
    if encoder_name.startswith("mit_"):
        return MIT_LICENCE
    if encoder_name.startswith(TIMM_PREFIX):
        config = timm.get_pretrained_cfg(encoder_name.removeprefix(TIMM_PREFIX), allow_unregistered=True)
        if config and config.license and config.license not in (*_FREE_LICENCES, "unknown"):
            return (
                f"The weights of timm's {config.architecture}.{config.tag} come under {config.license}; read its terms"
            )
    return ""
