"""The server's descriptions of itself, and the headers of every answer."""

import io
import mimetypes
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from clothseg.data.sample import sample_picture
from clothseg.labels import GROUPS
from clothseg.serving.app import PAGE_FOLDER
from clothseg.serving.messages import model_card
from tests.serving.conftest import assert_problem, linux_only
from tests.serving.running_server import JPEG


def test_the_model_is_described(client, offline):
    model = client.get("/v1/model").json()
    assert [
        {key: one[key] for key in ("id", "name", "display_name", "color", "is_body_part")} for one in model["classes"]
    ] == [
        {
            "id": number,
            "name": one.name,
            "display_name": one.display_name,
            "color": list(one.color),
            "is_body_part": False,
        }
        for number, one in enumerate(GROUPS.classes)
    ]
    assert all(GROUPS.id_of(alias) == one["id"] for one in model["classes"] for alias in one["aliases"])
    assert "dress" in model["classes"][-1]["aliases"]
    assert model["sha256"] == offline.model["sha256"]
    assert (model["name"], model["architecture"], model["image_size"]) == ("small.onnx", "unet", 64)
    assert model["runtime"].startswith("OpenVINO on cpu")
    assert model["known_classes"] is None


def test_known_classes_are_named(offline):
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
    def num_photos():
        return server.metric('clothseg_photos_total{output="json"}')

    client.post("/v1/segment", content=photo, headers=JPEG)
    before = num_photos()
    client.post("/v1/segment", content=photo, headers=JPEG)
    client.get("/no/such/path")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert num_photos() == before + 1
    assert server.metric('clothseg_requests_total{code="404",method="GET",path="other"}') >= 1
    assert server.metric("clothseg_workers_ready") == 1
    assert server.metric("clothseg_queue_depth") == 0
    assert server.metric("clothseg_held_bytes") == 0
    assert "no/such" not in answer.text


def test_every_answer_has_the_security_headers(client):
    for path in ("/", "/v1/model", "/healthz", "/no/such", "/metrics", "/openapi.json"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "img-src 'self' blob: data:" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_head_is_answered_as_get_without_a_body(client):
    for path in (
        "/",
        "/v1/model",
        "/v1/sample",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/page/app.js",
        "/no",
    ):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers["content-type"] == get.headers["content-type"]


def test_the_openapi_describes_the_errors_of_an_operation(client):
    responses = client.get("/openapi.json").json()["paths"]["/v1/segment"]["post"]["responses"]
    assert responses["404"]["description"] == "The photo does not show this class"
    assert responses["413"]["description"] == "The photo has too many bytes. The photo has too many pixels"


def test_unknown_paths_and_wrong_methods_are_problems(client):
    assert_problem(client.get("/v2/segment"), 404, "not-found")
    wrong = client.put("/v1/segment")
    assert_problem(wrong, 405, "wrong-method")
    assert wrong.headers["allow"] == "POST"
    assert client.get("/redoc").status_code == 404
    for path in ("../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "....//app.py", "%00"):
        assert client.get(f"/page/{path}").status_code == 404


def test_the_whole_page_is_served_and_requested_again_each_time(client):
    files = {f"/page/{path.relative_to(PAGE_FOLDER).as_posix()}": path for path in PAGE_FOLDER.rglob("*.*")}
    assert {path.suffix for path in files.values()} == {".html", ".css", ".js", ".svg", ".jpg", ".md"}
    for address, path in (files | {"/": PAGE_FOLDER / "index.html"}).items():
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.content == path.read_bytes()
        assert answer.headers["content-type"].partition(";")[0] == mimetypes.guess_type(path)[0]
        assert answer.headers["cache-control"] == "no-cache"
        assert (
            client.get(address, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304 or address == "/"
        )


def test_the_reference_of_the_api_loads_nothing_from_elsewhere(client):
    text = client.get("/docs").text
    sources = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(sources) == 4
    for source in sources:
        assert not source.startswith(("/", "http"))
        assert client.get(f"/{source}").status_code == 200
    examples = client.get("/openapi.json").json()["info"]["description"]
    assert all(f"```{language}" in examples for language in ("bash", "python", "javascript"))


@linux_only
def test_the_server_loads_no_decoder_and_the_worker_no_torch(server, client, photo):
    client.post("/v1/segment", content=photo, headers=JPEG)
    for pid in (server.pid, *server.workers()):
        loaded = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
        assert "libtorch" not in loaded
        for library in ("openvino", "cv2", "numpy"):
            assert (library in loaded) == (pid != server.pid)
    assert "torch" in sys.modules, "this process has it, so that the names above are right"
