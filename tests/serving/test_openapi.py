"""The OpenAPI against the server: whatever it allows or forbids, the answer is one that it names."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from clothseg.encoding import encode_jpeg, encode_png
from tests.export.small_model import photo_of
from tests.prediction.test_faults import BROKEN

OPERATIONS = {
    "/v1/segment": "post",
    "/v1/model": "get",
    "/v1/sample": "get",
    "/healthz": "get",
    "/readyz": "get",
    "/metrics": "get",
}
PHOTOS = (
    st.sampled_from([encode_jpeg(photo_of(40, 30)), encode_png(photo_of(1, 70)), BROKEN["half.png"][0]]) | st.binary()
)


@pytest.fixture(scope="module")
def api(server):
    schemathesis.openapi.format("binary", PHOTOS)
    for media_type in ("image/*", "application/octet-stream"):
        schemathesis.openapi.media_type(media_type, PHOTOS)
    return schemathesis.openapi.from_url(f"{server.address}/openapi.json")


def test_the_openapi_names_all_operations(api):
    named = {(one.ok().path, one.ok().method) for one in api.get_all_operations()}
    assert named == set(OPERATIONS.items())


CASES = [(path, GenerationMode.POSITIVE) for path in OPERATIONS] + [("/v1/segment", GenerationMode.NEGATIVE)]


@pytest.mark.parametrize(("path", "mode"), CASES, ids=lambda one: getattr(one, "value", one))
def test_every_answer_is_one_that_the_openapi_names(api, path, mode):
    operation = api[path][OPERATIONS[path]]
    answers = []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=60 if path == "/v1/segment" else 3, suppress_health_check=list(HealthCheck))
    def check(case):
        # No schema can say which bytes are a photo, or which classes it shows: valid requests may be refused for that.
        answers.append(case.call_and_validate(excluded_checks=[positive_data_acceptance]).status_code)

    check()
    assert (200 if mode is GenerationMode.POSITIVE else 422) in answers, sorted(set(answers))
