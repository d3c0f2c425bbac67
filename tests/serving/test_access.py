"""API keys and other sites: whose requests are answered."""

from pathlib import Path

import pytest

from clothseg.errors import SettingError
from clothseg.serving.errors import Problem
from clothseg.serving.limits import Keys
from tests.serving.conftest import assert_problem, linux_only
from tests.serving.running_server import JPEG, RunningServer

KEY, OTHER_KEY = "first-key-of-the-test", "second-key-of-the-test"
SITE = "https://shop.example"


@pytest.fixture(scope="module")
def locked(model_path):
    flags = ("--api-key", KEY, "--cors-origin", SITE)
    with RunningServer("--model", model_path, *flags, environment={"CLOTHSEG_API_KEYS": OTHER_KEY}) as running:
        yield running


def test_every_private_path_needs_a_key(locked, photo):
    def answers(headers):
        with locked.client(headers=headers) as client:
            yield client.post("/v1/segment", content=photo, headers=JPEG)
            for path in ("/v1/model", "/v1/sample", "/metrics"):
                yield client.get(path)

    for headers in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": OTHER_KEY}):
        assert [answer.status_code for answer in answers(headers)] == [200] * 4
    for headers, status, kind in (
        ({}, 401, "key-missing"),
        ({"Authorization": f"Basic {KEY}"}, 401, "key-missing"),
        ({"Authorization": "Bearer"}, 401, "key-missing"),
        ({"Authorization": f"Bearer {KEY}x"}, 403, "key-wrong"),
        ({"X-API-Key": KEY.upper()}, 403, "key-wrong"),
    ):
        for answer in answers(headers):
            assert_problem(answer, status, kind)
            assert ("www-authenticate" in answer.headers) == (status == 401)


def test_health_and_page_need_no_key(locked):
    with locked.client() as client:
        for path in ("/healthz", "/readyz", "/", "/openapi.json"):
            assert client.get(path).status_code == 200


@linux_only
def test_keys_are_in_no_message_and_no_worker(locked):
    assert KEY not in locked.messages()
    for pid in locked.workers():
        for name in ("environ", "cmdline"):
            assert b"key-of-the-test" not in Path(f"/proc/{pid}/{name}").read_bytes()


def test_only_sites_that_were_named_may_use_the_api(locked):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with locked.client() as client:
        named = client.options("/v1/segment", headers={"Origin": SITE} | asked)
        assert named.status_code == 200
        assert named.headers["access-control-allow-origin"] == SITE
        other = client.options("/v1/segment", headers={"Origin": "https://evil.example"} | asked)
        assert "access-control-allow-origin" not in other.headers
        answer = client.get("/v1/model", headers={"Origin": SITE, "X-API-Key": KEY})
        assert answer.headers["access-control-allow-origin"] == SITE
        assert "X-Clothseg-Model" in answer.headers["access-control-expose-headers"]


def test_keys_come_from_flags_and_environment():
    keys = Keys.collect([KEY], {"CLOTHSEG_API_KEYS": f"{OTHER_KEY}, third-of-them"})
    for key in (KEY, OTHER_KEY, "third-of-them"):
        keys.check({"x-api-key": key})
    with pytest.raises(Problem, match="not one of the server's"):
        keys.check({"x-api-key": f"{KEY} {OTHER_KEY}"})
    assert not Keys.collect([], {})
    Keys([]).check({})


def test_a_key_has_at_least_eight_plain_characters():
    Keys(["8-letter"]).check({"authorization": "bearer 8-letter"})
    for key in ("", "7-lette", "schlüssel-lang", "tab\tin-the-key"):
        with pytest.raises(SettingError, match="API key"):
            Keys([key])
