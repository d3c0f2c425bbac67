"""What a client gets that accepts this or that."""

import pytest

from clothseg.labels import GROUPS
from clothseg.serving.choices import choose_class, choose_output
from clothseg.serving.problem import Problem


@pytest.mark.parametrize(
    ("accept", "output"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "json"),
        ("image/*", "mask"),
        ("image/jpeg, image/*;q=0.5", "overlay"),
        ("IMAGE/PNG", "mask"),
        ("image/png;q=0.2, application/json;q=0.1", "mask"),
        ("image/png;q=0, */*;q=0.1", "json"),
        ("application/json;q=0, */*", "mask"),
        (" , image/jpeg ,", "overlay"),
    ],
)
def test_the_most_wanted_form_is_taken(accept, output):
    assert choose_output(None, accept) == output


@pytest.mark.parametrize("accept", ["text/html", "image/webp", "application/json;q=0", "*/*;q=nan", "*/*;q=x", ";"])
def test_nothing_else_is_given(accept):
    with pytest.raises(Problem, match="Allowed"):
        choose_output(None, accept)


def test_a_class_goes_by_name_or_id():
    classes = GROUPS.to_dicts()
    assert choose_class("legs and feet", classes) == choose_class("4", classes) == "legs and feet"
    with pytest.raises(Problem, match="upperbody"):
        choose_class("uperbody", classes)
