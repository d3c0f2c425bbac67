"""The shipped model's network: classes are sums of categories, and what the whole photo rules out is found nowhere."""

import sys

import pytest
import torch

from tests.test_architecture import ROOT

NAMES = ["background", "shirt, blouse", "jacket", "pants", "skirt", "coat", "dress", "hat", "shoe"]


@pytest.fixture(scope="module")
def network():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks" / "starter")
        from worn import GatedNetwork, Presence

        torch.manual_seed(0)
        made = GatedNetwork.build("mobilenet_v2", None, NAMES, decoder_width=0.25).eval()
        made.presence = Presence(made.context.out_features).eval()
        yield made
        sys.modules.pop("worn")


def test_the_probability_of_a_class_is_the_sum_of_its_categories(network):
    categories = 3 * torch.randn(2, len(NAMES), 5, 4)
    groups, fine = network.groups(categories).softmax(dim=1), categories.softmax(dim=1)
    members = {"background": [0], "upperbody": [1, 2], "lowerbody": [3, 4], "wholebody": [5, 6], "head": [7]}
    for name, planes in members.items():
        torch.testing.assert_close(groups[:, network.group_names.index(name)], fine[:, planes].sum(dim=1))
    assert groups[:, network.group_names.index("neck")].max() < 1e-6, "no category of the data is in it"


def test_a_category_that_the_photo_rules_out_is_found_nowhere(network):
    photos = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        network.worn[3].bias[NAMES.index("coat")] = -200.0
        categories, worn = network.coarse(photos)
        found = network(photos)
    assert worn[0, NAMES.index("coat")] < -100
    assert categories.softmax(dim=1)[:, NAMES.index("coat")].max() < 1e-6
    assert found.shape == (1, 13, 64, 96)
    assert torch.isfinite(found).all()


def test_where_the_photo_or_the_cell_shows_no_clothes_all_is_background(network):
    photos = torch.randint(0, 256, (1, 3, 96, 64), dtype=torch.uint8)
    presence = network.presence
    with torch.no_grad():
        for layer in (presence.whole[3], presence.last):
            before = layer.bias.clone()
            layer.bias[0] = -200.0
            assert (network(photos).argmax(dim=1) == 0).all()
            layer.bias.copy_(before)
        presence.whole[3].bias[0] = presence.last.bias[0] = 200.0
        ungated = network(photos)
        network.presence = None
        torch.testing.assert_close(network(photos), ungated)
        network.presence = presence


def test_temperatures_change_scores_and_no_mask(network):
    photos = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        groups, categories = network.outputs(photos)
        network.temperatures = (2.0, 4.0)
        cooler_groups, cooler_categories = network.outputs(photos)
        network.temperatures = (1.0, 1.0)
    assert categories.shape == (1, len(NAMES), 16, 24)
    torch.testing.assert_close(cooler_groups, groups / 2)
    torch.testing.assert_close(cooler_categories, categories / 4)
    assert (cooler_groups.argmax(dim=1) == groups.argmax(dim=1)).all()
