"""What the server tells of itself, and what every answer bears."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clothseg.data.sample import sample_picture
from clothseg.labels import GROUPS
from clothseg.serving.information_routes import model_card
from clothseg.serving.page_route import PAGE_FOLDER
from tests.serving.conftest import linux_only


def test_the_model_is_described(client, offline):
    model = client.get("/v1/model").json()
    assert model["classes"] == [
        {"id": number, "name": name, "color": GROUPS.palette[number].tolist()}
        for number, name in enumerate(GROUPS.names)
    ]
    assert model["sha256"] == offline.model["sha256"]
    assert (model["name"], model["architecture"], model["image_size"]) == ("small.onnx", "unet", 64)
    assert model["runtime"].startswith("OpenVINO on cpu")
    assert model["known_classes"] is None


def test_known_classes_are_told(offline):
    introduction = {**offline.description.to_dict(), **offline.model, "runtime": "any"}
    introduction["training_data"] = {"known_classes": ["background", "head"]}
    assert model_card(introduction)["known_classes"] == ["background", "head"]


def test_health_and_readiness(client):
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready", "workers": 1}


def test_the_sample_is_our_own_drawing(client):
    answer = client.get("/v1/sample")
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as image:
        drawn = np.array(image).astype(int)
    assert np.abs(drawn - sample_picture(seed=1)).mean() < 5
    assert client.get("/v1/sample").content == answer.content


def test_metrics_count(server, client, photo):
    before = server.metric('clothseg_photos_total{output="json"}') if "output" in client.get("/metrics").text else 0
    client.post("/v1/segment", content=photo, headers={"Content-Type": "image/jpeg"})
    client.get("/no/such/path")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert server.metric('clothseg_photos_total{output="json"}') == before + 1
    assert server.metric('clothseg_requests_total{code="404",method="GET",path="other"}') >= 1
    assert server.metric("clothseg_workers_ready") == 1
    assert server.metric("clothseg_queue_depth") == 0
    assert server.metric("clothseg_held_bytes") == 0
    assert "no/such" not in answer.text


@pytest.mark.parametrize("path", ["/", "/v1/model", "/healthz", "/no/such", "/metrics", "/openapi.json"])
def test_every_answer_is_kept_in_its_place(client, path):
    headers = client.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "img-src 'self' blob: data:" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_what_is_not_there_and_what_is_not_done_are_problems(client):
    missing, wrong = client.get("/v2/segment"), client.put("/v1/segment")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:clothseg:problem:not-found")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "urn:clothseg:problem:wrong-method")
    assert wrong.headers["allow"] == "POST"
    for path in ("/docs", "/redoc"):  # FastAPI's own load scripts from elsewhere
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "....//app.py", "\0"])
def test_nothing_but_the_page_is_served(client, path):
    assert client.get("/page/" + path.replace("\0", "%00")).status_code == 404


def test_the_page_is_served_and_asked_for_again_each_time(client):
    for path, file in (("/", "index.html"), ("/page/app.js", "app.js"), ("/page/style.css", "style.css")):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.content == (PAGE_FOLDER / file).read_bytes()
        assert answer.headers["cache-control"] == "no-cache"
    again = client.get("/page/app.js", headers={"If-None-Match": client.get("/page/app.js").headers["etag"]})
    assert again.status_code == 304


@linux_only
def test_neither_server_nor_worker_has_loaded_torch(server, client, photo):
    client.post("/v1/segment", content=photo, headers={"Content-Type": "image/jpeg"})
    for pid in (server.pid, *server.workers()):
        loaded = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
        assert "libtorch" not in loaded
        assert ("openvino" in loaded) == (pid != server.pid)
    assert "torch" in sys.modules, "this process has it, so that the names above are right"
