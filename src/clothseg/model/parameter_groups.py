"""Which weights learn at which rate, and which decay."""

from __future__ import annotations

from typing import Any

from clothseg.model.network import SegmentationNetwork


def parameter_groups(
    network: SegmentationNetwork, *, learning_rate: float, encoder_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return the groups of an optimizer of torch.optim, those without a parameter left out.

    Norms and biases do not decay; frozen parameters are in no group.

    Args:
        network: the encoder is its `network.encoder`.
        learning_rate: of all but the encoder.
        encoder_rate: share of the learning rate that the encoder learns with.
        weight_decay: of the weights of convolutions and the like.
    """
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    in_encoder = {id(parameter) for parameter in network.network.get_submodule("encoder").parameters()}

    def group(*, encoder: bool, decays: bool) -> dict[str, Any]:
        return {
            "params": [one for one in learning if (id(one) in in_encoder, one.ndim > 1) == (encoder, decays)],
            "weight_decay": weight_decay if decays else 0.0,
            "lr": learning_rate * (encoder_rate if encoder else 1),
        }

    # The decoder first: the rate that a log shows is that of the first group.
    groups = [group(encoder=encoder, decays=decays) for encoder in (False, True) for decays in (True, False)]
    return [one for one in groups if one["params"]]
