"""What the command refuses before it starts anything, and where the engines differ."""

import socket
import sys

import pytest

from clothseg import cli
from clothseg.settings import Settings


def run(*words):
    with pytest.raises(SystemExit) as ended:
        cli.start("predict", Settings(), arguments=words, program="clothseg predict")
    return ended.value.code


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"no photo")
    return str(path)


def test_addresses_are_for_ray(photo, capsys):
    assert run("s3://bucket/photos") == 2
    assert "An address, not a path: s3://bucket/photos. Pass --engine ray" in capsys.readouterr().err
    assert run(photo, "--output", "s3://bucket/results") == 2
    assert "s3://bucket/results. Pass --engine ray" in capsys.readouterr().err


@pytest.mark.parametrize("flag", [("--workers", "2"), ("--cluster", "127.0.0.1:6379")])
def test_flags_of_a_cluster_are_for_ray(photo, flag, capsys):
    assert run(photo, *flag) == 2
    assert "Pass --engine ray, or leave them out" in capsys.readouterr().err


def test_results_on_a_web_server_are_refused(photo, capsys):
    assert run(photo, "--engine", "ray", "--output", "https://example.org/results") == 2
    assert "Results cannot be at https://example.org/results" in capsys.readouterr().err


def test_without_ray_the_extra_is_named(photo, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(photo, "--engine", "ray", "--output", str(tmp_path / "out")) == 5
    assert 'pip install "clothseg[cluster]"' in capsys.readouterr().err


def test_a_cluster_that_is_not_there_is_named_at_once(photo, run_in):
    pytest.importorskip("ray.data", reason="Ray is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    # In a process of its own: this one may have joined a cluster already, and then stays with it.
    ended = run_in("-m", "clothseg.cli", "predict", photo, "--engine", "ray", "--cluster", address, timeout=120)
    assert ended.returncode == 5
    assert f"Cannot join the Ray cluster at {address}: " in ended.stderr


def test_more_workers_than_slots_are_refused(two_nodes, photos, tmp_path, capsys):
    assert run(str(photos), "--engine", "ray", "--workers", "3", "--output", str(tmp_path / "out")) == 2
    assert "--workers 3: the cluster has room for 1 to 2, one for each CPU" in capsys.readouterr().err


def test_a_missing_model_is_named(two_nodes, photos, tmp_path, capsys):
    words = ("--engine", "ray", "--ckpt", str(tmp_path / "no.onnx"), "--output", str(tmp_path / "out"))
    assert run(str(photos), *words) == 4
    assert "Model not found" in capsys.readouterr().err
