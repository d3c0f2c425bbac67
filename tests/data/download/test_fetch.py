"""Fetching from servers that cut, stall, lie, refuse, change their mind or send a web page."""

import io
import json
import random
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from clothseg.data.download import fetch as download
from clothseg.data.download.fetch import fetch
from clothseg.data.download.http_answers import Patience
from clothseg.errors import DataError, MachineError, MissingInputError, SettingError
from tests.data.broken_server import Answer, BrokenServer

ZIP = "images/train2020.zip"
JSON = "annotations/instances_attributes_train2020.json"
PAGE = b"<!DOCTYPE html><html><body>Please log in to the network</body></html>"
QUICK = Patience(timeout=0.3, slowest=1024, attempts=3, new_bytes=1 << 20, first_wait=0.01, longest_wait=0.05)


def packed(seed: int = 1, num_bytes: int = 200_000) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(4):
            archive.writestr(
                zipfile.ZipInfo(f"train/{number}.jpg"), random.Random(seed + number).randbytes(num_bytes // 4)
            )
    return buffer.getvalue()


CONTENT = packed()
ANNOTATIONS = json.dumps({"images": [{"file_name": 'a "quoted" \\ {name}.jpg'}], "annotations": []}).encode()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "fashionist" / "train2020.zip"


def leave_part(target: Path, server: BrokenServer) -> None:
    """Have a fetch break off, so that bytes and their note lie beside the target."""
    with pytest.raises(MachineError, match="bytes are kept"):
        fetch(server.address, ZIP, target, patience=QUICK)
    assert 0 < target.with_name("train2020.zip.part").stat().st_size < len(CONTENT)
    server.requests.clear()


def assert_whole(target: Path, content: bytes = CONTENT) -> None:
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_good_server_is_asked_once_and_never_again(target: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    with BrokenServer(Answer(CONTENT)) as server:
        assert fetch(server.address + "/", ZIP, target, progress=lambda *call: calls.append(call)) == target
        assert_whole(target)
        assert fetch(server.address, ZIP, target) == target
        assert [request.path for request in server.requests] == [f"/{ZIP}"]
    assert calls[0] == (0, len(CONTENT))
    assert calls[-1] == (len(CONTENT), len(CONTENT))


def test_progress_is_told_now_and_then_and_never_runs_backwards(target: Path) -> None:
    content = packed(num_bytes=5 << 20)
    calls: list[tuple[int, int | None]] = []
    with BrokenServer(Answer(content)) as server:
        fetch(server.address, ZIP, target, progress=lambda *call: calls.append(call))
    assert 4 <= len(calls) <= 8
    assert calls == sorted(calls)
    assert {total for _, total in calls} == {len(content)}


def test_a_cut_connection_is_resumed_where_it_broke(target: Path) -> None:
    cut = Answer(CONTENT, cut_after=60_000)
    with BrokenServer(cut, cut, Answer(CONTENT)) as server:
        fetch(server.address, ZIP, target, patience=QUICK)
        assert_whole(target)
        assert [request.range for request in server.requests] == [None, "bytes=60000-", "bytes=120000-"]
        assert server.requests[1].if_range == '"one"'


def test_a_later_run_resumes_and_counts_what_is_there(target: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    with BrokenServer(Answer(CONTENT, cut_after=30_000)) as server:
        leave_part(target, server)
        kept = target.with_name("train2020.zip.part").stat().st_size
        server.answers[:] = [Answer(CONTENT)]
        fetch(server.address, ZIP, target, progress=lambda *call: calls.append(call), patience=QUICK)
        assert [request.range for request in server.requests] == [f"bytes={kept}-"]
    assert_whole(target)
    assert calls[0] == (kept, len(CONTENT))


@pytest.mark.parametrize(
    ("now", "ranges_after"),
    [
        pytest.param([Answer(packed(2), etag='"two"')], [], id="changed: If-Range gives the whole new file"),
        pytest.param([Answer(packed(2), knows_ranges=False)], [], id="ranges ignored"),
        pytest.param(
            [Answer(packed(2), extra={"ETag": '"two"'})], [None], id="another version behind the same If-Range"
        ),
        pytest.param([Answer(packed(2), shifted_range=7), Answer(packed(2))], [None], id="another range than asked"),
        pytest.param([Answer(status=416), Answer(packed(2))], [None], id="range not satisfiable"),
        pytest.param(
            [Answer(packed(2)[:-40] + bytes(40)), Answer(packed(2))], [None], id="the same ETag, but the rest is no zip"
        ),
    ],
)
def test_bytes_of_two_versions_are_never_mixed(
    target: Path, now: Sequence[Answer], ranges_after: list[str | None]
) -> None:
    with BrokenServer(Answer(CONTENT, cut_after=30_000)) as server:
        leave_part(target, server)
        server.answers[:] = now
        fetch(server.address, ZIP, target, patience=QUICK)
        assert server.requests[0].range is not None
        assert [request.range for request in server.requests[1:]] == ranges_after
    assert_whole(target, packed(2))


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(Answer(CONTENT, cut_after=30_000, etag=None), id="no ETag and no date"),
        pytest.param(Answer(CONTENT, cut_after=30_000, etag='W/"weak"'), id="a weak ETag only"),
        pytest.param(Answer(CONTENT, cut_after=30_000, chunked=True), id="no length"),
    ],
)
def test_what_cannot_be_told_apart_is_not_resumed(target: Path, cut: Answer) -> None:
    with BrokenServer(cut, Answer(CONTENT)) as server:
        fetch(server.address, ZIP, target, patience=QUICK)
        assert [request.range for request in server.requests] == [None, None]
    assert_whole(target)


def test_a_date_serves_where_there_is_no_strong_etag(target: Path) -> None:
    date = "Wed, 21 Oct 2020 07:28:00 GMT"
    answers = [Answer(CONTENT, cut_after=end, etag='W/"weak"', last_modified=date) for end in (30_000, None)]
    with BrokenServer(*answers) as server:
        fetch(server.address, ZIP, target, patience=QUICK)
        assert (server.requests[1].range, server.requests[1].if_range) == ("bytes=30000-", date)
    assert_whole(target)


def test_a_part_of_another_address_or_with_a_damaged_note_is_fetched_anew(target: Path) -> None:
    note = target.with_name("train2020.zip.part.json")
    with BrokenServer(Answer(CONTENT, cut_after=30_000)) as server, BrokenServer(Answer(packed(2))) as other:
        leave_part(target, server)
        fetch(other.address, ZIP, target, patience=QUICK)
        assert_whole(target, packed(2))
        target.unlink()
        for damaged in (b"", b"[]", b"{", b'{"address": 1}', b"\xff"):
            leave_part(target, server)
            note.write_bytes(damaged)
            server.answers[:] = [Answer(CONTENT)]
            fetch(server.address, ZIP, target, patience=QUICK)
            assert [request.range for request in server.requests] == [None]
            assert_whole(target)
            target.unlink()
            server.answers[:] = [Answer(CONTENT, cut_after=30_000)]


def test_killed_between_the_last_byte_and_the_final_name(target: Path) -> None:
    with BrokenServer(Answer(CONTENT, cut_after=30_000)) as server:
        leave_part(target, server)
        target.with_name("train2020.zip.part").write_bytes(CONTENT)
        fetch(server.address, ZIP, target, patience=QUICK)
        assert server.requests == []
    assert_whole(target)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(Answer(silent=True), "no answer for 0.3 s", id="silent"),
        pytest.param(Answer(CONTENT, stall_after=50_000), "no answer for 0.3 s", id="stalls"),
        pytest.param(Answer(CONTENT, seconds_per_byte=0.005), "stalls", id="trickles"),
        pytest.param(Answer(status=500), "500", id="500"),
        pytest.param(Answer(status=503, extra={"Retry-After": "86400"}), "503", id="503, come back tomorrow"),
        pytest.param(Answer(CONTENT, wrong_by=+500), "broke off after", id="says more than it has"),
        pytest.param(Answer(CONTENT, cut_after=0), "broke off after 0", id="nothing but headers"),
        pytest.param(Answer(CONTENT, chunked=True, cut_after=9_000), "broke off", id="chunk cut"),
    ],
)
def test_a_server_that_stays_broken_is_given_up(target: Path, answer: Answer, message: str) -> None:
    with BrokenServer(answer) as server:
        start = time.monotonic()
        with pytest.raises(MachineError, match=message) as caught:
            fetch(server.address, ZIP, target, patience=QUICK)
        assert time.monotonic() - start < QUICK.longest
        assert len(server.requests) == QUICK.attempts
        assert f"{server.address}/{ZIP}" in str(caught.value)
        assert "--source" in str(caught.value)
        assert str(target) in str(caught.value)
    assert not target.exists()


def test_an_attempt_that_brings_enough_starts_the_count_anew(target: Path) -> None:
    generous = Patience(timeout=1, attempts=2, new_bytes=10_000, first_wait=0.001, longest_wait=0.01)
    with BrokenServer(*[Answer(CONTENT, cut_after=20_000)] * 8, Answer(CONTENT)) as server:
        fetch(server.address, ZIP, target, patience=generous)
        assert len(server.requests) == 9
    assert_whole(target)


def test_a_server_that_is_broken_for_a_moment_is_asked_again(target: Path) -> None:
    troubles = [Answer(status=503), Answer(CONTENT, stall_after=20_000), Answer(CONTENT)]
    with BrokenServer(*troubles) as server:
        fetch(server.address, ZIP, target, patience=QUICK)
        assert len(server.requests) == 3
    assert_whole(target)


def test_nobody_listens_there(target: Path) -> None:
    with BrokenServer(Answer()) as server:
        address = server.address
    with pytest.raises(MachineError, match=r"Cannot fetch .*refused \(3 attempts\)"):
        fetch(address, ZIP, target, patience=QUICK)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(Answer(status=404), "404", id="404"),
        pytest.param(Answer(status=403), "403", id="403"),
        pytest.param(Answer(status=204), "204", id="no content"),
        pytest.param(Answer(PAGE, content_type="text/html; charset=utf-8"), "a web page", id="page"),
        pytest.param(Answer(b"\r\n" + PAGE * 9), "a web page", id="page that says it is a file"),
        pytest.param(Answer(b"GIF89a" * 99), "no zip archive", id="something else"),
        pytest.param(Answer(b""), "no zip archive", id="empty"),
        pytest.param(Answer(CONTENT, wrong_by=-500), "not a whole zip archive", id="says less than it has"),
        pytest.param(Answer(CONTENT[:-30]), "not a whole zip archive", id="cut on the server"),
        pytest.param(Answer(CONTENT[:70_000] + CONTENT[80_000:]), "bytes are missing", id="a piece is missing"),
        pytest.param(Answer(CONTENT, cut_after=150_000, says_length=False), "not a whole zip", id="cut, no length"),
        pytest.param(Answer(CONTENT, extra={"Content-Encoding": "gzip"}), "encoding gzip", id="encoded"),
        pytest.param(Answer(status=302, extra={"Location": f"/{ZIP}"}), "302", id="leads to itself"),
    ],
)
def test_what_will_not_get_better_is_refused_at_once(target: Path, answer: Answer, message: str) -> None:
    with BrokenServer(answer) as server:
        with pytest.raises(MachineError, match=message) as caught:
            fetch(server.address, ZIP, target, patience=QUICK)
        assert len({request.path for request in server.requests}) == 1
        assert len(server.requests) == 1 or answer.status == 302
        assert f"{server.address}/{ZIP}" in str(caught.value)
    assert list(target.parent.iterdir()) == []


def test_a_page_in_the_way_does_not_cost_the_bytes_that_are_there(target: Path) -> None:
    with BrokenServer(Answer(CONTENT, cut_after=30_000)) as server:
        leave_part(target, server)
        kept = target.with_name("train2020.zip.part").read_bytes()
        for trouble in (Answer(PAGE, content_type="text/html"), Answer(status=404), Answer(status=500)):
            server.answers[:] = [trouble]
            with pytest.raises(MachineError):
                fetch(server.address, ZIP, target, patience=QUICK)
            assert target.with_name("train2020.zip.part").read_bytes() == kept
        server.answers[:] = [Answer(CONTENT)]
        fetch(server.address, ZIP, target, patience=QUICK)
    assert_whole(target)


def test_missing_annotations_name_the_mirror_and_the_place_for_ones_own_file(target: Path) -> None:
    annotations = target.with_name("instances_attributes_train2020.json")
    with BrokenServer(Answer(status=404)) as server:
        with pytest.raises(MachineError) as caught:
            fetch(server.address, JSON, annotations, patience=QUICK)
        assert str(caught.value) == (
            f"Cannot fetch {server.address}/{JSON}: the server answers 404 Not Found. "
            f"Pass --source with the address or folder of a mirror, or put your own file at {annotations}"
        )
        annotations.write_bytes(ANNOTATIONS)
        assert fetch(server.address, JSON, annotations) == annotations


def test_a_file_without_length_is_taken_when_its_content_is_whole(target: Path) -> None:
    annotations = target.with_name("instances.json")
    calls: list[tuple[int, int | None]] = []
    with BrokenServer(Answer(CONTENT, says_length=False), Answer(ANNOTATIONS, chunked=True)) as server:
        fetch(server.address, ZIP, target, progress=lambda *call: calls.append(call), patience=QUICK)
        assert_whole(target)
        fetch(server.address, JSON, annotations, patience=QUICK)
    assert annotations.read_bytes() == ANNOTATIONS
    assert calls[0] == (0, None)
    assert calls[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("end", [*range(1, len(ANNOTATIONS))])
def test_json_cut_anywhere_is_noticed_without_a_length(target: Path, end: int) -> None:
    path = target.with_name("cut.json")
    path.parent.mkdir(parents=True)
    path.write_bytes(ANNOTATIONS[:end])
    assert download.find_defect(path, path.name, end_to_end=True)


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_json_is_checked_right_whatever_the_blocks(target: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clothseg.data.download.file_content._BLOCK", block)
    path = target.with_name("tricky.json")
    path.parent.mkdir(parents=True)
    for text in (r'{"a": "\\", "b": "{[\"", "c": ["\\\"}"]}', '{"a": "\\u007b"}', "{}", ' {"a": {"b": [[1], []]}}\n'):
        assert json.loads(text) is not None
        path.write_text(text)
        assert download.find_defect(path, path.name, end_to_end=True) is None
        path.write_text(text.rstrip()[:-1])
        assert download.find_defect(path, path.name, end_to_end=True)


@pytest.mark.parametrize(
    "source", ["ftp://host/x", "http://", "https://host:port/", "http://u:p@host", "http://h/?a=b"]
)
def test_a_source_that_is_none_is_refused_with_what_is_allowed(target: Path, source: str) -> None:
    with pytest.raises(SettingError, match="Allowed: https://"):
        fetch(source, ZIP, target)


def test_a_local_source_is_used_in_place(target: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "images").mkdir(parents=True)
    (mirror / ZIP).write_bytes(CONTENT)
    assert fetch(str(mirror), ZIP, target) == mirror / ZIP
    assert not target.parent.exists()

    with pytest.raises(MissingInputError, match=r"is not in the folder .* put your own file at"):
        fetch(str(mirror), JSON, target.with_name("a.json"))
    target.parent.mkdir(parents=True)
    target.with_name("a.json").write_bytes(ANNOTATIONS)
    assert fetch(str(mirror), JSON, target.with_name("a.json")) == target.with_name("a.json")


@pytest.mark.parametrize("is_local", [True, False])
def test_a_half_file_that_something_else_left_is_not_taken_for_whole(
    target: Path, tmp_path: Path, is_local: bool
) -> None:
    path = tmp_path / "mirror" / ZIP if is_local else target
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:100_000])
    with pytest.raises(DataError, match=r"not a whole zip archive .*Delete it"):
        fetch(str(tmp_path / "mirror") if is_local else "http://127.0.0.1:9", ZIP, target)


def test_two_runs_at_once_do_not_get_into_each_others_way(target: Path) -> None:
    with BrokenServer(Answer(CONTENT, stall_after=50_000), Answer(CONTENT)) as server:
        slow = Patience(timeout=1.0, attempts=2, first_wait=0.01)
        first = threading.Thread(target=fetch, args=(server.address, ZIP, target), kwargs={"patience": slow})
        first.start()
        while not server.requests:
            time.sleep(0.01)
        with pytest.raises(MachineError, match="Another run is writing"):
            fetch(server.address, ZIP, target, patience=QUICK)
        first.join()
        assert [request.range for request in server.requests] == [None, "bytes=50000-"]
    assert_whole(target)


def test_a_full_disk_is_noticed_before_the_first_byte(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("."))(10**9, 10**9 - 1234, 1234)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with BrokenServer(Answer(CONTENT)) as server, pytest.raises(MachineError, match=f"{len(CONTENT):,} .*1,234 free"):
        fetch(server.address, ZIP, target, patience=QUICK)
    assert not target.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with BrokenServer(Answer(CONTENT)) as server, pytest.raises(MachineError, match="Cannot write"):
        fetch(server.address, ZIP, tmp_path / "data" / "train2020.zip", patience=QUICK)


def test_the_wait_grows_and_is_bounded() -> None:
    patience = Patience(first_wait=0.5, longest_wait=30)
    waits = [patience.seconds_before(attempt) for attempt in range(2, 12)]
    assert all(0.5 * 2**number <= wait <= 0.75 * 2**number for number, wait in enumerate(waits[:5]))
    assert waits[-1] == 30
    assert patience.seconds_before(2, asked=86_400) == 30
    assert patience.longest == 5 * 4 * 20 + 4 * 30


def test_waiting_uses_up_no_seed() -> None:
    random.seed(7)
    expected = random.Random(7).random()
    Patience().seconds_before(2)
    assert random.random() == expected


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
            fetch(server.address, ZIP, target, patience=QUICK)
        assert plain.requests == []
        with BrokenServer(to_safe) as server:
            fetch(server.address, ZIP, target, patience=QUICK)
        assert [request.path for request in safe.requests] == ["/elsewhere.zip"]
    assert_whole(target)


def test_a_certificate_nobody_vouches_for_is_refused_at_once(target: Path, certificate: Path) -> None:
    with (
        BrokenServer(Answer(CONTENT), certificate=certificate) as server,
        pytest.raises(MachineError, match=r"certificate is not trusted .*SSL_CERT_FILE"),
    ):
        fetch(server.address, ZIP, target, patience=QUICK)
    assert not target.exists()


_KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from clothseg.data.download.fetch import fetch
calls = []
def progress(done, total):
    calls.append(done)
    if done - calls[0] >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
fetch(sys.argv[1], "images/train2020.zip", Path(sys.argv[2]), progress=progress)
"""


def test_kill_9_and_again_gives_the_same_file(target: Path) -> None:
    content = packed(num_bytes=8 << 20)
    chance = random.Random(3)
    size = 0
    with BrokenServer(Answer(content)) as server:
        for round_number in range(3):
            command = [sys.executable, "-c", _KILLED_RUN, server.address, str(target)]
            killed = subprocess.run([*command, str(chance.randrange(1, 2 << 20))], capture_output=True, check=False)
            assert killed.returncode == -9
            assert not target.exists()
            assert server.requests[-1].range == (None if round_number == 0 else f"bytes={size}-")
            size = target.with_name("train2020.zip.part").stat().st_size
        fetch(server.address, ZIP, target, patience=QUICK)
        assert server.requests[-1].range == f"bytes={size}-"
    assert_whole(target, content)
