"""Whole files from servers that cut, stall, lie or change their file; interrupted downloads resume."""

import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from clothseg.data.download import fetch, find_defect
from clothseg.errors import DataError, MissingInputError
from tests.data.broken_server import (
    ANNOTATIONS,
    CONTENT,
    IMPATIENT,
    JSON,
    QUICK,
    ZIP,
    Answer,
    BrokenServer,
    assert_whole,
    leave_part,
    packed,
)


def test_a_good_server_is_asked_once_and_progress_never_runs_backwards(target: Path) -> None:
    content = packed(num_bytes=5 << 20)
    calls: list[tuple[int, int | None]] = []
    with BrokenServer(Answer(content)) as server:
        assert fetch(server.address + "/", ZIP, target, progress=lambda *call: calls.append(call)) == target
        assert_whole(target, content)
        assert fetch(server.address, ZIP, target) == target
        assert [request.path for request in server.requests] == [f"/{ZIP}"]
    assert 4 <= len(calls) <= 8
    assert calls == sorted(calls)
    assert {total for _, total in calls} == {len(content)}
    assert (calls[0][0], calls[-1][0]) == (0, len(content))


def test_a_cut_connection_is_resumed_where_it_broke(target: Path) -> None:
    cut = Answer(CONTENT, cut_after=60_000)
    with BrokenServer(cut, cut, Answer(CONTENT)) as server:
        fetch(server.address, ZIP, target, retries=QUICK)
        assert_whole(target)
        assert [request.range for request in server.requests] == [None, "bytes=60000-", "bytes=120000-"]
        assert server.requests[1].if_range == '"one"'


def test_a_later_run_resumes_and_counts_what_is_there(target: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    with BrokenServer(Answer(CONTENT, cut_after=30_000)) as server:
        leave_part(target, server)
        kept = target.with_name("train2020.zip.part").stat().st_size
        server.answers[:] = [Answer(CONTENT)]
        fetch(server.address, ZIP, target, progress=lambda *call: calls.append(call), retries=QUICK)
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
        pytest.param([Answer(packed(2, 300_000))], [None], id="another length behind the same ETag"),
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
        fetch(server.address, ZIP, target, retries=QUICK)
        assert server.requests[0].range is not None
        assert [request.range for request in server.requests[1:]] == ranges_after
    assert_whole(target, now[-1].content)


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(Answer(CONTENT, cut_after=30_000, etag=None), id="no ETag and no date"),
        pytest.param(Answer(CONTENT, cut_after=30_000, etag='W/"weak"'), id="a weak ETag only"),
        pytest.param(Answer(CONTENT, cut_after=30_000, chunked=True), id="no length"),
    ],
)
def test_photos_that_cannot_be_distinguished_are_not_resumed(target: Path, cut: Answer) -> None:
    with BrokenServer(cut, Answer(CONTENT)) as server:
        fetch(server.address, ZIP, target, retries=QUICK)
        assert [request.range for request in server.requests] == [None, None]
    assert_whole(target)


def test_a_date_serves_where_there_is_no_strong_etag(target: Path) -> None:
    date = "Wed, 21 Oct 2020 07:28:00 GMT"
    answers = [Answer(CONTENT, cut_after=end, etag='W/"weak"', last_modified=date) for end in (30_000, None)]
    with BrokenServer(*answers) as server:
        fetch(server.address, ZIP, target, retries=QUICK)
        assert (server.requests[1].range, server.requests[1].if_range) == ("bytes=30000-", date)
    assert_whole(target)


def test_a_part_of_another_address_or_with_a_damaged_note_is_fetched_anew(target: Path) -> None:
    note = target.with_name("train2020.zip.part.json")
    with BrokenServer(Answer(CONTENT, cut_after=30_000)) as server, BrokenServer(Answer(packed(2))) as other:
        leave_part(target, server)
        fetch(other.address, ZIP, target, retries=QUICK)
        assert_whole(target, packed(2))
        target.unlink()
        for damaged in (b"", b"[]", b"{", b'{"address": 1}', b"\xff"):
            leave_part(target, server)
            note.write_bytes(damaged)
            server.answers[:] = [Answer(CONTENT)]
            fetch(server.address, ZIP, target, retries=QUICK)
            assert [request.range for request in server.requests] == [None]
            assert_whole(target)
            target.unlink()
            server.answers[:] = [Answer(CONTENT, cut_after=30_000)]


def test_killed_between_the_last_byte_and_the_final_name(target: Path) -> None:
    with BrokenServer(Answer(CONTENT, cut_after=30_000)) as server:
        leave_part(target, server)
        target.with_name("train2020.zip.part").write_bytes(CONTENT)
        fetch(server.address, ZIP, target, retries=QUICK)
        assert server.requests == []
    assert_whole(target)


def test_an_attempt_that_brings_enough_starts_the_count_anew(target: Path) -> None:
    generous = replace(QUICK, attempts=2, new_bytes=10_000)
    with BrokenServer(*[Answer(CONTENT, cut_after=20_000)] * 8, Answer(CONTENT)) as server:
        fetch(server.address, ZIP, target, retries=generous)
        assert len(server.requests) == 9
    assert_whole(target)


def test_a_server_that_is_broken_for_a_moment_is_asked_again(target: Path) -> None:
    troubles = [Answer(status=503), Answer(CONTENT, stall_after=20_000), Answer(CONTENT)]
    with BrokenServer(*troubles) as server:  # a busy machine may need more attempts than three
        fetch(server.address, ZIP, target, retries=replace(IMPATIENT, timeout=0.3, attempts=10**6))
        assert len(server.requests) >= 3
    assert_whole(target)


def test_a_file_without_length_is_taken_when_its_content_is_whole(target: Path) -> None:
    annotations = target.with_name("instances.json")
    calls: list[tuple[int, int | None]] = []
    with BrokenServer(Answer(CONTENT, says_length=False), Answer(ANNOTATIONS, chunked=True)) as server:
        fetch(server.address, ZIP, target, progress=lambda *call: calls.append(call), retries=QUICK)
        assert_whole(target)
        fetch(server.address, JSON, annotations, retries=QUICK)
    assert annotations.read_bytes() == ANNOTATIONS
    assert calls[0] == (0, None)
    assert calls[-1] == (len(CONTENT), len(CONTENT))


def test_json_cut_anywhere_is_noticed_without_a_length(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    unnoticed = []
    for end in range(1, len(ANNOTATIONS)):
        path.write_bytes(ANNOTATIONS[:end])
        if not find_defect(path, path.name, whole=True):
            unnoticed.append(end)
    assert not unnoticed
    path.write_bytes(b'{"area": NaN}')  # whatever else is wrong with it is found when it is read
    assert find_defect(path, path.name, whole=True) is None


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


def test_a_partial_file_of_another_program_is_not_used_as_complete(target: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    for path, source in ((mirror / ZIP, str(mirror)), (target, "http://127.0.0.1:9")):
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT[:100_000])
        with pytest.raises(DataError, match=r"not a whole zip archive .*Delete it"):
            fetch(source, ZIP, target)


_KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from clothseg.data.download import fetch
calls = []
def progress(done, total):
    calls.append(done)
    if done - calls[0] >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
fetch(sys.argv[1], "images/train2020.zip", Path(sys.argv[2]), progress=progress)
"""


@pytest.mark.processes
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
        fetch(server.address, ZIP, target, retries=QUICK)
        assert server.requests[-1].range == f"bytes={size}-"
    assert_whole(target, content)
