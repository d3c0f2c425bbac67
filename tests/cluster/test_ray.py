"""Real runs on a Ray cluster of two nodes; their files must be those of the local engine."""

import os
import signal
import threading
import time

import pytest

from tests.cluster.conftest import contents, contents_of_store
from tests.cluster.photo_server import PhotoServer
from tests.conftest import unpacked

pytestmark = pytest.mark.cluster

PHOTOS_AT_WORKER = 3
"""One in the network of a worker with one core, two on their way in or out."""


def masks_in(folder):
    return len(list(folder.rglob("*_mask.png")))


class When:
    """Does something once, before the tenth photo is served, when both workers run; photos wait meanwhile."""

    def __init__(self, two_nodes, act):
        self._two_nodes = two_nodes
        self._act = act
        self._lock = threading.Lock()
        self._num_photos = 0
        self.result = None

    def __call__(self, path):
        with self._lock:
            self._num_photos += path.endswith(".jpg")
            if self._num_photos == 10 and self.result is None:
                while len(self._two_nodes.workers()) < 2:
                    time.sleep(0.1)
                self.result = self._act()
        return True


def test_a_killed_worker_loses_nothing_and_doubles_nothing(
    predict, two_nodes, photos, by_local_engine, tmp_path, capfd
):
    def kill_one():
        worker = two_nodes.workers()[0]
        os.kill(worker, signal.SIGKILL)
        return worker

    killed = When(two_nodes, kill_one)
    with PhotoServer(photos.parent, killed) as web:
        code = predict(f"{web.address}/photos/", tmp_path, engine="ray")
    captured = capfd.readouterr()
    assert code == 0
    assert killed.result
    assert killed.result not in two_nodes.workers()
    assert "lost with a worker and are repeated (Actor" in captured.err
    assert contents(tmp_path) == by_local_engine
    assert sorted(captured.out.splitlines()) == sorted(str(tmp_path / name) for name in by_local_engine)


def test_a_lost_machine_delays_nothing(predict, two_nodes, photos, by_local_engine, tmp_path):
    lost = When(two_nodes, two_nodes.lose_one)
    try:
        with PhotoServer(photos.parent, lost) as web:
            assert predict(f"{web.address}/photos/", tmp_path, engine="ray") == 0
        assert lost.result
    finally:
        two_nodes.make_whole()
    assert contents(tmp_path) == by_local_engine


def test_stores_are_read_and_written_and_a_run_on_them_is_resumed(
    predict, two_nodes, s3, gs, photos, by_local_engine, capfd
):
    for source, target in ((s3, gs), (gs, s3)):
        source.files.put(str(photos), f"{source.root}/photos", recursive=True)
        source.files.pipe_file(f"{source.root}/photos/b/broken.jpg", b"broken")
        address = f"{target.root}/results"
        assert predict(f"{source.root}/photos", address, engine="ray") == 1
        captured = capfd.readouterr()
        assert f"clothseg: Not a photo that can be read: {source.root}/photos/b/broken.jpg" in captured.err
        assert sorted(captured.out.splitlines()) == sorted(f"{address}/{name}" for name in by_local_engine)
        assert contents_of_store(target, address) == by_local_engine

    target.files.rm(f"{address}/a/0 кофта_mask.png")
    assert predict(f"{source.root}/photos", address, engine="ray", resume=True) == 1
    assert ", 23 done before" in capfd.readouterr().err
    mask = target.files.cat_file(f"{address}/a/0 кофта_mask.png")
    assert unpacked(mask) == by_local_engine["a/0 кофта_mask.png"]


def test_a_photo_that_kills_its_worker_costs_only_itself(two_nodes, check_photos_of_a_web_server):
    """As a decoder that crashes would."""

    def poison(path):
        if path == "/poison.jpg":
            for worker in two_nodes.workers():
                os.kill(worker, signal.SIGKILL)
        return path != "/poison.jpg"

    check_photos_of_a_web_server(poison)


@pytest.mark.parametrize("workers", [1, 2])
def test_each_worker_has_a_few_photos_in_memory_however_many_there_are(predict, two_nodes, photos, tmp_path, workers):
    source, output, unfinished, lock = tmp_path / "photos", tmp_path / "output", [], threading.Lock()
    source.mkdir()
    for number in range(60):
        (source / f"{number}.jpg").hardlink_to(photos / "a" / "0 кофта.jpg")

    def count(path):
        if path.endswith(".jpg"):
            with lock:
                unfinished.append(len(unfinished) + 1 - masks_in(output))
        return True

    with PhotoServer(source, count) as web:
        assert predict(f"{web.address}/", output, engine="ray", workers=workers) == 0
    assert masks_in(output) == len(unfinished) == 60
    assert workers <= max(unfinished) <= workers * PHOTOS_AT_WORKER
