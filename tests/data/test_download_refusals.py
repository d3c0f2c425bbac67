"""What a fetch gives up or refuses: servers that stay broken, web pages, bad sources, full disks, certificates."""

import itertools
import random
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from clothseg.data import http_client
from clothseg.data.download import fetch
from clothseg.data.http_client import RetryPolicy
from clothseg.errors import MachineError, SettingError
from tests.data.broken_server import (
    ANNOTATIONS,
    CONTENT,
    IMPATIENT,
    JSON,
    PAGE,
    QUICK,
    ZIP,
    Answer,
    BrokenServer,
    assert_whole,
    leave_part,
)


def test_a_server_that_stays_broken_is_given_up(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {
        "silent": (Answer(silent=True), IMPATIENT, "no response for 0.1 s"),
        "stalls": (Answer(CONTENT, stall_after=50_000), IMPATIENT, "no response for 0.1 s"),
        "500": (Answer(status=500), QUICK, "500"),
        "503, asks for a day": (Answer(status=503, extra={"Retry-After": "86400"}), QUICK, "503"),
        "says more than it has": (Answer(CONTENT, wrong_by=+500), QUICK, "broke off after"),
        "nothing but headers": (Answer(CONTENT, cut_after=0), QUICK, "broke off after 0"),
        "chunk cut": (Answer(CONTENT, chunked=True, cut_after=9_000), QUICK, "broke off"),
    }
    wrong = []
    for name, (answer, retries, message) in broken.items():
        waits: list[float] = []  # between the attempts: noted, not waited for
        monkeypatch.setattr("clothseg.data.download.time", SimpleNamespace(sleep=waits.append))
        place = target.with_name(name) / target.name
        with BrokenServer(answer) as server:
            with pytest.raises(MachineError) as caught:
                fetch(server.address, ZIP, place, retries=retries)
            while len(server.requests) < retries.attempts:  # the last one may still be on its way
                time.sleep(0.01)
            parts = (message, f"{server.address}/{ZIP}", "--source", str(place))
            if not all(part in str(caught.value) for part in parts):
                wrong.append((name, str(caught.value)))
            if len(server.requests) != retries.attempts or place.exists():
                wrong.append((name, server.requests))
            if len(waits) != retries.attempts - 1 or max(waits) > retries.longest_wait:
                wrong.append((name, waits))
    assert not wrong, wrong


def test_a_server_stalls_below_the_slowest_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    retries = RetryPolicy(timeout=20, slowest=10)
    for size, is_stalled in ((299, True), (300, False)):  # of a block in 30 seconds
        monkeypatch.setattr(http_client, "time", SimpleNamespace(monotonic=itertools.count(step=30).__next__))
        blocks = [b"x" * size] * 3
        left = iter([*blocks, b""])
        answer = SimpleNamespace(read1=lambda _, left=left: next(left))
        if is_stalled:
            with pytest.raises(http_client.RetryableError, match="stalls"):
                list(http_client.read_blocks(answer, retries))
        else:
            assert list(http_client.read_blocks(answer, retries)) == blocks


def test_what_will_not_get_better_is_refused_at_once(target: Path) -> None:
    hopeless = {
        "404": (Answer(status=404), "404"),
        "403": (Answer(status=403), "403"),
        "no content": (Answer(status=204), "204"),
        "page": (Answer(PAGE, content_type="text/html; charset=utf-8"), "a web page"),
        "page that says it is a file": (Answer(b"\r\n" + PAGE * 9), "a web page"),
        "something else": (Answer(b"GIF89a" * 99), "no zip archive"),
        "empty": (Answer(b""), "no zip archive"),
        "says less than it has": (Answer(CONTENT, wrong_by=-500), "not a whole zip archive"),
        "cut on the server": (Answer(CONTENT[:-30]), "not a whole zip archive"),
        "a piece is missing": (Answer(CONTENT[:70_000] + CONTENT[80_000:]), "bytes are missing"),
        "cut, no length": (Answer(CONTENT, cut_after=150_000, says_length=False), "not a whole zip"),
        "encoded": (Answer(CONTENT, extra={"Content-Encoding": "gzip"}), "encoding gzip"),
        "leads to itself": (Answer(status=302, extra={"Location": f"/{ZIP}"}), "302"),
    }
    wrong = []
    for name, (answer, message) in hopeless.items():
        with BrokenServer(answer) as server:
            with pytest.raises(MachineError) as caught:
                fetch(server.address, ZIP, target, retries=QUICK)
            if message not in str(caught.value) or f"{server.address}/{ZIP}" not in str(caught.value):
                wrong.append((name, str(caught.value)))
            paths = {request.path for request in server.requests}
            if len(paths) != 1 or (len(server.requests) != 1 and answer.status != 302):
                wrong.append((name, server.requests))
            if list(target.parent.iterdir()):
                wrong.append((name, list(target.parent.iterdir())))
    assert not wrong, wrong


def test_a_page_in_the_way_does_not_cost_the_bytes_that_are_there(target: Path) -> None:
    with BrokenServer(Answer(CONTENT, cut_after=30_000)) as server:
        leave_part(target, server)
        kept = target.with_name("train2020.zip.part").read_bytes()
        for trouble in (Answer(PAGE, content_type="text/html"), Answer(status=404), Answer(status=500)):
            server.answers[:] = [trouble]
            with pytest.raises(MachineError):
                fetch(server.address, ZIP, target, retries=QUICK)
            assert target.with_name("train2020.zip.part").read_bytes() == kept
        server.answers[:] = [Answer(CONTENT)]
        fetch(server.address, ZIP, target, retries=QUICK)
    assert_whole(target)


def test_missing_annotations_name_the_mirror_and_the_path_for_a_local_file(target: Path) -> None:
    annotations = target.with_name("instances_attributes_train2020.json")
    with BrokenServer(Answer(status=404)) as server:
        with pytest.raises(MachineError) as caught:
            fetch(server.address, JSON, annotations, retries=QUICK)
        assert str(caught.value) == (
            f"Cannot fetch {server.address}/{JSON}: the server answers 404 Not Found. "
            f"Pass --source with the address or folder of a mirror, or put your own file at {annotations}"
        )
        annotations.write_bytes(ANNOTATIONS)
        assert fetch(server.address, JSON, annotations) == annotations


def test_a_source_that_is_none_is_refused_with_what_is_allowed(target: Path) -> None:
    for source in ("ftp://host/x", "http://", "https://host:port/", "http://u:p@host", "http://h/?a=b"):
        with pytest.raises(SettingError, match="Allowed: https://"):
            fetch(source, ZIP, target)


def test_a_full_disk_is_noticed_before_the_first_byte(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("."))(10**9, 10**9 - 1234, 1234)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with BrokenServer(Answer(CONTENT)) as server, pytest.raises(MachineError, match=f"{len(CONTENT):,} .*1,234 free"):
        fetch(server.address, ZIP, target, retries=QUICK)
    assert not target.exists()


def test_a_folder_that_cannot_be_made_and_a_server_that_is_not_there_are_named(target: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with BrokenServer(Answer(CONTENT)) as server, pytest.raises(MachineError, match="Cannot write"):
        fetch(server.address, ZIP, tmp_path / "file" / "train2020.zip", retries=QUICK)
    with pytest.raises(MachineError, match=r"Cannot fetch .*refused \(3 attempts\)"):
        fetch(server.address, ZIP, target, retries=QUICK)
    assert list(target.parent.iterdir()) == []


def test_the_wait_grows_and_is_bounded() -> None:
    retries = RetryPolicy(first_wait=0.5, longest_wait=30)
    waits = [retries.seconds_before(attempt) for attempt in range(2, 12)]
    assert all(0.5 * 2**number <= wait <= 0.75 * 2**number for number, wait in enumerate(waits[:5]))
    assert waits[-1] == 30
    assert retries.seconds_before(2, requested=86_400) == 30
    random.seed(7)
    expected = random.Random(7).random()
    retries.seconds_before(2)
    assert random.random() == expected, "a caller's seed gives other numbers after a wait"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed, so there is no certificate to test https with")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    made = [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, "-keyout", str(path), "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def test_https_is_kept_to(target: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with BrokenServer(Answer(CONTENT)) as plain, BrokenServer(Answer(CONTENT), certificate=certificate) as safe:
        to_plain = Answer(status=302, extra={"Location": f"{plain.address}/elsewhere.zip"})
        to_safe = Answer(status=302, extra={"Location": f"{safe.address}/elsewhere.zip"})
        with (
            BrokenServer(to_plain, certificate=certificate) as server,
            pytest.raises(MachineError, match="which is not encrypted"),
        ):
            fetch(server.address, ZIP, target, retries=QUICK)
        assert plain.requests == []
        with BrokenServer(to_safe) as server:
            fetch(server.address, ZIP, target, retries=QUICK)
        assert [request.path for request in safe.requests] == ["/elsewhere.zip"]
    assert_whole(target)


def test_a_certificate_nobody_vouches_for_is_refused_at_once(target: Path, certificate: Path) -> None:
    with (
        BrokenServer(Answer(CONTENT), certificate=certificate) as server,
        pytest.raises(MachineError, match=r"certificate is not trusted .*SSL_CERT_FILE"),
    ):
        fetch(server.address, ZIP, target, retries=QUICK)
    assert not target.exists()
