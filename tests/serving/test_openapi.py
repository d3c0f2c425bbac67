"""The OpenAPI against the server: whatever it allows or forbids, the answer is one that it names."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clothseg.encoding import encode_jpeg, encode_png
from tests.conftest import needs
from tests.export.small_model import photo_of
from tests.prediction.test_faults import BROKEN

schemathesis = needs("schemathesis")
checks = needs("schemathesis.specs.openapi.checks")
GenerationMode = schemathesis.GenerationMode

OPERATIONS = {
    "/v1/segment": "post",
    "/v1/batch": "post",
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


def codes_of(operation, mode, max_examples):
    """Send requests that the OpenAPI allows or forbids; return the codes of the answers, each checked against it."""
    codes = set()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=max_examples, suppress_health_check=list(HealthCheck))
    def check(case):
        # No schema can say which bytes are a photo, or which classes it shows: such requests may be refused.
        codes.add(case.call_and_validate(excluded_checks=[checks.positive_data_acceptance]).status_code)

    check()
    return codes


def test_every_answer_is_one_that_the_openapi_names(api):
    for path, method in OPERATIONS.items():
        assert 200 in codes_of(api[path][method], GenerationMode.POSITIVE, 15 if method == "post" else 3)
    assert 422 in codes_of(api["/v1/segment"]["post"], GenerationMode.NEGATIVE, 15)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_every_answer_to_many_photos_is_one_that_the_openapi_names(api, mode):
    codes = codes_of(api["/v1/segment"]["post"], mode, 200)
    assert codes >= ({200, 400} if mode is GenerationMode.POSITIVE else {422})
