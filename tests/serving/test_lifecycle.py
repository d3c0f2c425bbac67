"""How the server starts, ends, and replaces a worker that is lost."""

import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from clothseg import cli
from clothseg.encoding import encode_png
from clothseg.errors import MachineError, SettingError
from clothseg.serving.limits import Limits
from clothseg.serving.serve_command import Serve
from clothseg.serving.server import address_of, listen
from tests.conftest import HANG_SECONDS
from tests.serving.conftest import assert_problem, linux_only
from tests.serving.running_server import RunningServer, head_of, is_running, read_all


def finishes_what_was_accepted(server, photo, end):
    """Call `end`, which sends a signal, while clients wait; return the exit code."""
    with ThreadPoolExecutor(4) as clients:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        accepted = [clients.submit(server.post, photo) for _ in range(4)]
        server.wait_until(lambda: server.metric("clothseg_queue_depth") == 3)
        uploading = server.connected()
        uploading.sendall(head_of(photo) + photo[:-1])
        idle = server.connected()
        server.wait_until(lambda: server.metric("clothseg_held_bytes") == 5 * len(photo) - 1)
        end()
        server.wait_until(lambda: not accepts(server))
        uploading.sendall(photo[-1:])
        os.kill(worker, signal.SIGCONT)
        assert [one.result().status_code for one in accepted] == [200] * 4
        assert read_all(uploading).startswith(b"HTTP/1.1 200 ")
        uploading.close()
        idle.close()
        code = server.wait()
    assert not is_running(worker)
    assert "Traceback" not in server.messages()
    return code


def accepts(server):
    try:
        server.connected().close()
    except ConnectionRefusedError:
        return False
    return True


@linux_only
def test_a_killed_worker_is_replaced_and_sigterm_lets_the_server_finish(model_path, photo):
    flags = ("--upload-grace", HANG_SECONDS, "--deadline", HANG_SECONDS)
    with RunningServer("--model", model_path, *flags) as server:
        (killed,) = server.workers()
        os.kill(killed, signal.SIGKILL)
        server.wait_until(lambda: server.metric("clothseg_worker_restarts_total") == 1)
        server.wait_until(lambda: server.metric("clothseg_workers_ready") == 1)
        assert server.post(photo).status_code == 200
        assert killed not in server.workers()
        code = finishes_what_was_accepted(server, photo, lambda: server.signal(signal.SIGTERM))
        assert code == 128 + signal.SIGTERM


@linux_only
@pytest.mark.processes
def test_ctrl_c_lets_the_server_finish(model_path, photo):
    flags = ("--upload-grace", HANG_SECONDS, "--deadline", HANG_SECONDS)
    with RunningServer("--model", model_path, *flags) as server:
        code = finishes_what_was_accepted(server, photo, lambda: os.killpg(server.pid, signal.SIGINT))
        assert code == 128 + signal.SIGINT


@linux_only
@pytest.mark.processes
def test_with_two_workers_no_photo_is_lost_when_an_idle_one_is_killed(model_path, photo):
    with RunningServer("--model", model_path, "--workers", 2) as server:
        server.wait_until(lambda: len(server.workers()) == 2 and server.metric("clothseg_workers_ready") == 2)
        killed = server.workers()[0]
        os.kill(killed, signal.SIGKILL)

        def is_replaced():
            assert server.post(photo).status_code == 200
            return server.metric("clothseg_worker_restarts_total") == 1

        server.wait_until(is_replaced)
        server.wait_until(lambda: server.metric("clothseg_workers_ready") == 2)
        assert killed not in server.workers()
        assert server.post(photo).status_code == 200


@linux_only
@pytest.mark.processes
def test_a_photo_whose_worker_dies_or_hangs_is_answered(model_path, photo):
    """What waits, and what the worker had not begun with, is done by the next one."""
    large = encode_png(np.zeros((6000, 6000), np.uint8))
    with RunningServer("--model", model_path, "--deadline", HANG_SECONDS) as server, ThreadPoolExecutor(2) as clients:
        (worker,) = map(psutil.Process, server.workers())
        idle = worker.cpu_times().user
        fatal = clients.submit(server.post, large)
        server.wait_until(lambda: worker.cpu_times().user > idle + 0.05)  # of some 0.5 s for this photo
        worker.suspend()
        other = clients.submit(server.post, photo)
        server.wait_until(lambda: server.metric("clothseg_queue_depth") == 1)
        worker.kill()
        assert_problem(fatal.result(), 503, "not-done")
        assert fatal.result().headers["retry-after"] == "1"
        assert other.result().status_code == 200

        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        unseen = clients.submit(server.post, photo)
        server.wait_until(lambda: server.metric("clothseg_in_flight") == 1)
        os.kill(worker, signal.SIGKILL)
        assert unseen.result().status_code == 200

    with RunningServer("--model", model_path, "--deadline", 8) as server:
        (second,) = server.workers()
        os.kill(second, signal.SIGSTOP)
        start = time.monotonic()
        answer = server.post(photo)
        assert answer.status_code == 503
        assert answer.json()["type"].rpartition(":")[2] in ("busy", "not-done")
        assert answer.headers["retry-after"]
        assert time.monotonic() - start > 7.5
        server.wait_until(lambda: server.workers() not in ([], [second]) and server.is_ready())
        assert server.post(photo).status_code == 200


@linux_only
@pytest.mark.processes
def test_a_worker_ends_when_its_server_is_killed(model_path):
    with RunningServer("--model", model_path) as server:
        (worker,) = server.workers()
        server.signal(signal.SIGKILL)
        server.wait()
        end = time.monotonic() + HANG_SECONDS
        while is_running(worker):
            assert time.monotonic() < end
            time.sleep(0.05)


def serve(*arguments):
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--port", "0", *map(str, arguments)])
    return ended.value.code


def test_what_cannot_be_served_is_named_in_one_line(tmp_path, model_path, capfd):
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
            assert serve(*arguments) == code
            messages = capfd.readouterr().err
            assert words in messages
            assert messages.count("\n") == 1, messages


def test_without_the_extra_the_install_command_is_named(model_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert serve("--model", model_path) == 5
    assert "uv sync --extra serve" in capsys.readouterr().err


def test_a_worker_that_gets_ready_while_a_signal_ends_the_server_is_no_fault(monkeypatch, capsys):
    def run(listener, load_options, *, on_ready, **others):
        listener.close()  # as uvicorn does before it ends the workers
        on_ready("a model", "a runtime")

    monkeypatch.setattr("clothseg.serving.server.run", run)
    assert Serve(port=0).run() == 0
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")


def test_a_wrong_flag_is_refused():
    for options, words in (
        ({"host": "no.such.invalid"}, r"no\.such\.invalid"),
        ({"port": 70_000}, "65535"),
        ({"port": -1}, "65535"),
        ({"workers": 0}, "--workers"),
        ({"api_key": ("short",)}, "API key"),
    ):
        with pytest.raises(SettingError, match=words) as caught:
            Serve(**options).run()
        assert "'short'" not in str(caught.value)
    for name in ("queue", "max_bytes", "max_pixels", "deadline", "upload_grace"):
        with pytest.raises(SettingError, match=f"--{name.replace('_', '-')}"):
            Limits(**{name: 0})


def test_an_address_is_shown_as_a_browser_reads_it():
    with listen("127.0.0.1", 0) as listener:
        assert address_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(MachineError, match="another --port"):
            listen(*listener.getsockname())
    with pytest.raises(MachineError, match="another --host"):
        listen("192.0.2.1", 0)  # an address for documentation, which no machine has
    if socket.has_ipv6:
        try:
            listener = listen("::1", 0)
        except MachineError:
            return  # this machine has no IPv6 address
        with listener:
            assert address_of(listener).startswith("http://[::1]:")
