"""How the server starts, ends, and gets over the loss of a worker."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clothseg.errors import SettingError
from clothseg.serving.limits import Limits
from clothseg.serving.serve_command import Serve
from tests.serving.conftest import linux_only
from tests.serving.running_server import RunningServer
from tests.serving.test_limits import connected, head_of, post, read_all
from tests.serving.test_segment import assert_problem


def serve(*arguments, code="from clothseg.cli import main; main()"):
    return subprocess.run(
        [sys.executable, "-c", code, "serve", "--port", "0", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@linux_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_finish_what_was_accepted(model_path, photo, number):
    with RunningServer("--model", model_path) as server, ThreadPoolExecutor(4) as clients:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        taken = [clients.submit(post, server, photo) for _ in range(4)]
        server.wait_until(lambda: server.metric("clothseg_queue_depth") == 3)
        uploading = connected(server)
        uploading.sendall(head_of(photo) + photo[:-1])
        idle = connected(server)
        server.wait_until(lambda: server.metric("clothseg_held_bytes") == 5 * len(photo) - 1)
        server.signal(number)
        time.sleep(0.3)
        with pytest.raises(OSError, match="refused"):
            connected(server)
        uploading.sendall(photo[-1:])
        os.kill(worker, signal.SIGCONT)
        assert [one.result().status_code for one in taken] == [200] * 4
        assert read_all(uploading).startswith(b"HTTP/1.1 200 ")
        uploading.close()
        idle.close()
        assert server.wait() == 128 + number
        assert not lives(worker)
        assert "Traceback" not in server.messages()


@linux_only
def test_a_worker_that_is_killed_is_replaced(model_path, photo):
    with RunningServer("--model", model_path, "--workers", 2) as server:
        server.wait_until(lambda: len(server.workers()) == 2 and server.metric("clothseg_workers_ready") == 2)
        killed = server.workers()[0]
        os.kill(killed, signal.SIGKILL)
        start = time.monotonic()
        while time.monotonic() - start < 0.5:  # it had nothing to do, and another is there: no photo notices
            assert post(server, photo).status_code == 200
        server.wait_until(lambda: server.metric("clothseg_workers_ready") == 2)
        assert time.monotonic() - start < 30
        assert server.metric("clothseg_worker_restarts_total") == 1
        assert killed not in server.workers()


@linux_only
def test_a_photo_that_costs_a_worker_its_life_is_answered(model_path, photo):
    with RunningServer("--model", model_path) as server, ThreadPoolExecutor(2) as clients:
        os.kill(server.workers()[0], signal.SIGSTOP)
        fatal = clients.submit(post, server, photo)
        server.wait_until(lambda: server.metric("clothseg_in_flight") == 1)
        other = clients.submit(post, server, photo)
        server.wait_until(lambda: server.metric("clothseg_queue_depth") == 1)
        os.kill(server.workers()[0], signal.SIGKILL)
        assert_problem(fatal.result(), 503, "not-done")
        assert fatal.result().headers["retry-after"] == "1"
        assert other.result().status_code == 200, "what waits is done by the worker that comes after"


@linux_only
def test_a_worker_ends_when_its_server_is_killed(model_path):
    with RunningServer("--model", model_path) as server:
        (worker,) = server.workers()
        server.signal(signal.SIGKILL)
        server.wait()
        end = time.monotonic() + 10
        while lives(worker):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_what_cannot_be_served_is_said_in_one_line(tmp_path, model_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(model_path.read_bytes()[:-10])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, code, words in (
            (["--model", tmp_path / "none.onnx"], 4, "none.onnx"),
            (["--model", broken], 4, "broken.onnx"),
            (["--model", model_path, "--runtime", "torch"], 2, "torch"),
            (["--model", model_path, "--port", port], 5, f"port {port}"),
        ):
            ended = serve(*arguments)
            assert ended.returncode == code, (arguments, ended.stderr)
            assert words in ended.stderr
            assert ended.stderr.count("\n") == 1, ended.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": "no.such.invalid"}, r"no\.such\.invalid"),
        ({"port": 70_000}, "65535"),
        ({"workers": 0}, "--workers"),
        ({"api_key": ("short",)}, "API key"),
    ],
)
def test_a_wrong_flag_is_refused(options, words):
    with pytest.raises(SettingError, match=words) as caught:
        Serve(**options).run()
    assert "'short'" not in str(caught.value)


@pytest.mark.parametrize("name", ["queue", "max_bytes", "deadline", "upload_grace"])
def test_a_limit_is_above_zero(name):
    with pytest.raises(SettingError, match=f"--{name.replace('_', '-')}"):
        Limits(**{name: 0})


def test_without_the_extra_it_says_what_to_install(model_path):
    code = "import sys; sys.modules['uvicorn'] = None; from clothseg.cli import main; main()"
    ended = serve("--model", model_path, code=code)
    assert ended.returncode == 5
    assert 'pip install "clothseg[serve]"' in ended.stderr
