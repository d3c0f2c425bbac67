import sys

import pytest

from clothseg.encoding import encode_jpeg
from clothseg.prediction.predictor import load
from tests.export.small_model import photo_of
from tests.serving.running_server import RunningServer

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="finds worker processes in /proc")


def assert_problem(answer, status, kind):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:clothseg:problem:{kind}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return problem


@pytest.fixture(scope="session")
def offline(model_path):
    """What the server has to agree with: a predictor in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        predictor = load(model_path)
        predictor.predict(photo_of(64, 64))
    return predictor


@pytest.fixture(scope="session")
def server(model_path):
    """A server for tests that leave it as it was."""
    with RunningServer("--model", model_path, "--max-pixels", 1_000_000, "--max-bytes", 1_000_000) as running:
        yield running


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def photo():
    """A JPEG of 60 x 90 pixels."""
    return encode_jpeg(photo_of(90, 60))
