"""What the command refuses before it starts anything, and where the engines differ."""

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


def test_flags_of_a_cluster_are_for_ray(photo, capsys):
    for flag in (("--workers", "2"), ("--cluster", "127.0.0.1:6379")):
        assert run(photo, *flag) == 2
        assert "Pass --engine ray, or leave them out" in capsys.readouterr().err


def test_results_on_a_web_server_are_refused(photo, capsys):
    assert run(photo, "--engine", "ray", "--output", "https://example.org/results") == 2
    assert "Results cannot be at https://example.org/results" in capsys.readouterr().err


def test_without_ray_the_extra_is_named(photo, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(photo, "--engine", "ray", "--output", str(tmp_path / "out")) == 5
    assert "uv sync --extra cluster" in capsys.readouterr().err
