"""Which form of an answer and which class a client gets."""

import pytest

from clothseg.labels import GROUPS
from clothseg.serving.choices import choose_class, choose_output
from clothseg.serving.errors import Problem

OUTPUTS = {
    "": "json",
    "*/*": "json",
    "application/json": "json",
    "text/html, application/xhtml+xml, */*;q=0.8": "json",
    "image/*": "mask",
    "image/jpeg, image/*;q=0.5": "overlay",
    "IMAGE/PNG": "mask",
    "image/png;q=0.2, application/json;q=0.1": "mask",
    "image/png;q=0, */*;q=0.1": "json",
    "application/json;q=0, */*": "mask",
    " , image/jpeg ,": "overlay",
}


def test_the_most_wanted_form_is_chosen():
    assert {accept: choose_output(None, accept) for accept in OUTPUTS} == OUTPUTS


def test_a_header_that_allows_no_form_is_refused():
    for accept in ("text/html", "image/webp", "application/json;q=0", "*/*;q=nan", "*/*;q=x", ";"):
        with pytest.raises(Problem, match="Allowed"):
            choose_output(None, accept)


def test_a_class_is_chosen_by_name_or_id():
    classes = GROUPS.to_dicts()
    assert choose_class("legs and feet", classes) == choose_class("4", classes) == "legs and feet"
    with pytest.raises(Problem, match="upperbody"):
        choose_class("uperbody", classes)
