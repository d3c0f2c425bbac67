"""Real runs on a cluster of two nodes; what they must come to is what the local engine writes."""

import json
import os
import shutil
import signal
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from clothseg.errors import ModelError
from clothseg.prediction.journal import JOURNAL_NAME
from tests.scaling.two_nodes import contents, predict

PHOTOS_AT_WORKER = 3
"""One in the network of a worker with one core, two on their way in or out."""


def journaled(content):
    """Return the stems in a journal, in order."""
    return [json.loads(line)["stem"] for line in content.splitlines()[1:]]


def when(is_time, act, *, seconds=300):
    """Start a thread that does something once it is time; joining it tells whether it came to it."""
    outcome = {}

    def watch():
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not outcome:
            if is_time():
                outcome["done"] = act()
            time.sleep(0.01)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    def joined():
        thread.join(timeout=seconds)
        return outcome.get("done")

    return joined


def masks_in(folder):
    return len(list(folder.rglob("*_mask.png")))


def test_a_worker_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    two_nodes, photos, by_local_engine, tmp_path, capfd
):
    output = tmp_path / "output"

    def kill_one():
        worker = two_nodes.workers()[0]
        os.kill(worker, signal.SIGKILL)
        return worker, masks_in(output)

    killed = when(lambda: masks_in(output) >= 3 and len(two_nodes.workers()) == 2, kill_one)
    code = predict(photos, output, engine="ray")
    told = capfd.readouterr()
    worker, num_done = killed()
    assert code == 0
    assert num_done < 24, "it was to be killed in the middle"
    assert worker not in two_nodes.workers()
    assert "lost with a worker and are done again (Actor" in told.err
    assert contents(output) == by_local_engine
    assert sorted(told.out.split("\n")[:-1]) == sorted(str(output / name) for name in by_local_engine)
    assert len(journaled((output / JOURNAL_NAME).read_bytes())) == 24


def test_a_lost_machine_holds_nothing_up(two_nodes, photos, by_local_engine, tmp_path):
    output = tmp_path / "output"
    lost = when(lambda: masks_in(output) >= 3 and len(two_nodes.workers()) == 2, two_nodes.lose_one)
    try:
        assert predict(photos, output, engine="ray") == 0
        assert lost()
    finally:
        two_nodes.make_whole()
    assert contents(output) == by_local_engine


def test_a_resumed_run_does_what_is_left_whichever_engine_began(two_nodes, photos, by_local_engine, tmp_path, capfd):
    output = tmp_path / "output"
    some = tmp_path / "photos"
    shutil.copytree(photos, some)
    late = some / "a" / "0 кофта.jpg"
    late.rename(tmp_path / "late.jpg")
    (some / "b" / "broken.jpg").write_bytes(b"broken")
    assert predict(some, output, engine="local") == 1
    (tmp_path / "late.jpg").rename(late)
    (output / "b" / "1 кофта_mask.png").unlink()
    capfd.readouterr()
    assert predict(some, output, engine="ray", resume=True) == 1, "the broken photo is named again"
    told = capfd.readouterr().err
    assert f"clothseg: Not a photo that can be read: {some / 'b' / 'broken.jpg'}. Formats" in told
    assert "2 photos in " in told
    assert "22 done before" in told
    assert contents(output) == by_local_engine
    capfd.readouterr()
    assert predict(some, output, engine="local", resume=True) == 1
    assert "0 photos in " in capfd.readouterr().err


def test_a_store_is_read_and_written_and_resumed(two_nodes, store, photos, by_local_engine, tmp_path, capfd):
    store.files.put(str(photos), f"{store.root}/photos", recursive=True)
    store.files.pipe_file(f"{store.root}/photos/b/broken.jpg", b"broken")
    address = f"{store.root}/results"
    assert predict(f"{store.root}/photos", address, engine="ray") == 1
    told = capfd.readouterr()
    assert f"clothseg: Not a photo that can be read: {store.root}/photos/b/broken.jpg" in told.err
    assert sorted(told.out.split("\n")[:-1]) == sorted(f"{address}/{name}" for name in by_local_engine)
    store.files.get(f"{store.root}/results", str(tmp_path / "first"), recursive=True)
    assert contents(tmp_path / "first") == by_local_engine

    store.files.rm(f"{store.root}/results/a/0 кофта_mask.png")
    # Another photo under its name.
    store.files.put(str(photos / "b" / "1 кофта.jpg"), f"{store.root}/photos/a/2 кофта.jpg")
    assert predict(f"{store.root}/photos", address, engine="ray", resume=True) == 1
    assert ", 22 done before" in capfd.readouterr().err
    assert store.files.cat_file(f"{store.root}/results/a/2 кофта_mask.png") == by_local_engine["b/1 кофта_mask.png"]
    assert store.files.cat_file(f"{store.root}/results/a/0 кофта_mask.png") == by_local_engine["a/0 кофта_mask.png"]


@contextmanager
def serving(handler):
    """Give the address of a web server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Poisonous(BaseHTTPRequestHandler):
    """Serves photos; whoever asks for poison.jpg is killed, as a decoder that crashes would."""

    photo = b""
    two_nodes = None

    def do_GET(self):
        if self.path == "/poison.jpg":
            for worker in self.two_nodes.workers():
                os.kill(worker, signal.SIGKILL)
            return
        content = self.photo if self.path.startswith("/photo") else b""
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words):
        pass


@pytest.fixture
def web(two_nodes, photos):
    """The address of a web server with photos, one of which kills."""
    handler = type(
        "Handler", (Poisonous,), {"photo": (photos / "a" / "0 кофта.jpg").read_bytes(), "two_nodes": two_nodes}
    )
    with serving(handler) as address:
        yield address


def test_a_photo_that_kills_its_worker_costs_only_itself(web, by_local_engine, tmp_path, capfd):
    names = ("photo-1.jpg", "poison.jpg", "photo-2.jpg?signature=1", "gone.jpg")
    output = tmp_path / "output"
    assert predict(*(f"{web}/{name}" for name in names), output, engine="ray", workers=1) == 1
    told = capfd.readouterr().err
    assert f"clothseg: Photo not found: {web}/gone.jpg. Check the address" in told
    assert f"clothseg: Photo ended its worker 3 times: {web}/poison.jpg." in told
    for stem in ("photo-1", "photo-2"):
        assert (output / f"{stem}_mask.png").read_bytes() == by_local_engine["a/0 кофта_mask.png"]
    assert not list(output.glob("poison*"))


class Counting(BaseHTTPRequestHandler):
    """Serves one photo under any name, and notes how many were fetched and not yet done."""

    photo = b""
    output = None
    lock = threading.Lock()
    num_fetched = 0
    unfinished: ClassVar[list[int]] = []

    def do_GET(self):
        with self.lock:
            type(self).num_fetched += 1
            self.unfinished.append(self.num_fetched - masks_in(self.output))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.photo)))
        self.end_headers()
        self.wfile.write(self.photo)

    def log_message(self, *words):
        pass


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_hold_a_few_photos_each_however_many_there_are(two_nodes, photos, tmp_path, workers):
    output = tmp_path / "output"
    content = (photos / "a" / "0 кофта.jpg").read_bytes()
    handler = type("Handler", (Counting,), {"photo": content, "output": output, "unfinished": []})
    with serving(handler) as address:
        assert predict(*(f"{address}/{number}.jpg" for number in range(60)), output, engine="ray", workers=workers) == 0
    assert masks_in(output) == handler.num_fetched == 60
    assert workers <= max(handler.unfinished) <= workers * PHOTOS_AT_WORKER


def test_a_model_that_is_none_is_named_before_any_photo_is_done(two_nodes, photos, tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"model\.onnx"):
        predict(photos, tmp_path / "output", engine="ray", checkpoint_path=model)
    assert contents(tmp_path / "output") == {}
