"""The shipped model's network: classes are sums of categories, what the photo rules out is found nowhere, edges."""

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

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


def test_both_outputs_are_calibrated_probabilities_that_follow_the_edges_of_the_photo(network):
    photos = torch.full((1, 3, 64, 96), 40, dtype=torch.uint8)
    photos[..., 37:] = 220  # an edge inside a cell of four pixels, between columns 36 and 39
    soft = torch.sigmoid((torch.arange(24) - 9.0).view(1, 1, 1, -1)).expand(1, 1, 16, 24)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        planes = torch.cat([soft.log(), (1 - soft).log(), torch.full((1, len(NAMES) - 2, 16, 24), -20.0)], dim=1)
        patch.setattr(network, "coarse", lambda image: (planes, None))
        groups, categories = network.outputs(photos)
        patch.setattr(network, "temperatures", (2.0, 4.0))
        cooler = network.outputs(photos)
    assert groups.shape == (1, 13, 64, 96)
    assert categories.shape == (1, len(NAMES), 32, 48)
    chosen = groups.argmax(dim=1)[0, :, 8:-8]
    assert (chosen == (photos[0, 0, :, 8:-8] < 100) * network.group_names.index("upperbody")).float().mean() > 0.99
    for sharp, soft_one in zip((groups, categories), cooler, strict=True):
        assert sharp.exp().sum(dim=1).sub(1).abs().max() < 0.1, "some too much beside an edge"
        assert soft_one.exp().amax(dim=1).mean() < sharp.exp().amax(dim=1).mean()


def test_the_filter_solves_for_the_line_nearest_to_each_window(network):
    """Against NumPy's least squares, with a penalty on the slopes, window by window."""
    from worn import EPSILON, RADIUS, guided

    color, planes = 255 * torch.rand(1, 3, 16, 20), torch.rand(1, 2, 8, 10)
    small = (F.avg_pool2d(color, 2)[0] / 255 - 0.5).numpy()
    lines = np.zeros((2, 4, 8, 10))
    for y, x in np.ndindex(8, 10):
        rows, columns = (slice(max(0, at - RADIUS), at + RADIUS + 1) for at in (y, x))
        inside, wanted = small[:, rows, columns].reshape(3, -1).T, planes[0, :, rows, columns].reshape(2, -1).T.numpy()
        middle = inside.mean(axis=0)
        penalty = np.sqrt(EPSILON * len(inside)) * np.eye(3)
        slopes = np.linalg.lstsq(
            np.vstack([inside - middle, penalty]),
            np.vstack([wanted - wanted.mean(axis=0), np.zeros((3, 2))]),
            rcond=None,
        )[0]
        lines[:, :3, y, x], lines[:, 3, y, x] = slopes.T, wanted.mean(axis=0) - middle @ slopes
    means = F.avg_pool2d(torch.from_numpy(lines).float(), 2 * RADIUS + 1, 1, RADIUS, count_include_pad=False)
    wide = F.interpolate(means, scale_factor=2.0, mode="bilinear", align_corners=False)
    expected = (wide[:, :3] * (color / 255 - 0.5)).sum(dim=1) + wide[:, 3]
    torch.testing.assert_close(guided(color, planes)[0], expected, atol=1e-4, rtol=1e-3)
