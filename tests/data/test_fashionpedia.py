"""The published layout, compared with a mirror of it where there is one."""

import json
import zipfile
from pathlib import Path

import pytest

from clothseg.data.download import fetch
from clothseg.data.source import SPLITS, OfficialSplit, local_path
from clothseg.data.sources import FASHIONPEDIA, LICENCE, Mirror
from clothseg.data.unzip import unpack
from clothseg.settings import OFFICIAL_SOURCE

MIRROR = Path(__file__).parents[3] / "shared" / "fashionpedia-mirror"
with_mirror = pytest.mark.skipif(not MIRROR.is_dir(), reason=f"{MIRROR} is not there")


def test_no_two_files_of_the_download_share_a_place(tmp_path: Path) -> None:
    names = [name for split in SPLITS for name in split.files]
    places = {local_path(tmp_path, name) for name in names}
    assert len(places) == len(names) == 4
    assert all(place.parent == tmp_path for place in places)


def test_addresses_name_and_licence_are_the_official_ones(tmp_path: Path) -> None:
    assert Mirror(OFFICIAL_SOURCE + "/").describe(tmp_path) == (FASHIONPEDIA, LICENCE)
    addresses = [f"{OFFICIAL_SOURCE}/{name}" for split in SPLITS for name in split.files]
    assert addresses == [
        "https://s3.amazonaws.com/ifashionist-dataset/images/train2020.zip",
        "https://s3.amazonaws.com/ifashionist-dataset/annotations/instances_attributes_train2020.json",
        "https://s3.amazonaws.com/ifashionist-dataset/images/val_test2020.zip",
        "https://s3.amazonaws.com/ifashionist-dataset/annotations/instances_attributes_val2020.json",
    ]


@pytest.mark.slow
@pytest.mark.real_photos
@with_mirror
@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.name)
def test_a_mirror_is_used_in_place_and_unpacks_every_annotated_photo(split: OfficialSplit, tmp_path: Path) -> None:
    archive = fetch(str(MIRROR), split.archive, local_path(tmp_path, split.archive))
    annotations = fetch(str(MIRROR), split.annotations, local_path(tmp_path, split.annotations))
    assert archive == MIRROR / split.archive
    assert list(tmp_path.iterdir()) == []

    unpack(archive, tmp_path / split.photos, members_under=split.photos)

    names = {path.name for path in (tmp_path / split.photos).iterdir()}
    assert {image["file_name"] for image in json.loads(annotations.read_text())["images"]} <= names
    with zipfile.ZipFile(archive) as stored:
        for member in stored.infolist()[::50]:
            assert (tmp_path / member.filename).read_bytes() == stored.read(member)
