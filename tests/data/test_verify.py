"""Every way a prepared dataset can be wrong is found and named; a right one is counted."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from clothseg.data.manifest import DATASET_FOLDER
from clothseg.data.verify import Verify, verify
from clothseg.encoding import encode_png
from clothseg.errors import MissingInputError
from clothseg.pictures import read_mask, read_picture
from tests.data.small_mirror import prepared, write_mirror


@pytest.fixture(scope="module")
def prepared_once(tmp_path_factory):
    """A prepared dataset that tests copy, and do not change."""
    folder = tmp_path_factory.mktemp("prepared")
    write_mirror(folder / "mirror")
    prepared(folder / "mirror", folder / "data")
    return folder / "data"


@pytest.fixture
def folder(tmp_path, prepared_once):
    return shutil.copytree(prepared_once, tmp_path / "data" / DATASET_FOLDER)


def test_a_right_data_set_has_no_defect_and_its_counts_are_the_manifests(folder, capsys):
    result = verify(folder)

    assert result.defects == ()
    assert result.splits == result.manifest.splits
    assert Verify(data_path=folder.parent, num_workers=1).run() == 0
    said = capsys.readouterr()
    assert "no defect" in said.err
    assert "wholebody" in said.out
    assert "CC0" in said.out


@pytest.mark.processes
def test_several_processes_find_the_same(folder):
    (folder / "train_masks" / "train002.png").write_bytes(b"broken")

    alone, together = verify(folder), verify(folder, num_workers=2)

    assert alone == together


def spoil(folder, what):
    photo, mask = folder / "train" / "train002.jpg", folder / "train_masks" / "train002.png"
    values = read_mask(mask)
    if what == "photo gone":
        photo.unlink()
    elif what == "photo cut":
        photo.write_bytes(photo.read_bytes()[:-300])
    elif what == "photo empty":
        photo.write_bytes(b"")
    elif what == "two photos":
        shutil.copy(photo, photo.with_suffix(".png"))
    elif what == "mask gone":
        mask.unlink()
    elif what == "mask broken":
        mask.write_bytes(mask.read_bytes()[:40])
    elif what == "value":
        values[0, 0] = 200
        mask.write_bytes(encode_png(values))
    elif what == "ignored":
        values[0, 0] = 255
        mask.write_bytes(encode_png(values))
    elif what == "size":
        mask.write_bytes(encode_png(values[:-1]))
    elif what == "transposed":
        mask.write_bytes(encode_png(values.T))
    elif what == "colour":
        mask.write_bytes(encode_png(np.stack([values] * 3, axis=2)))
    elif what == "repainted":
        mask.write_bytes(encode_png((values + 1) % 13))
    elif what == "duplicate":
        shutil.copy(photo, folder / "train" / "train003.jpg")
        shutil.copy(mask, folder / "train_masks" / "train003.png")
    elif what == "leak":
        content = io.BytesIO()
        Image.fromarray(read_picture(photo).pixels).save(content, "PNG")
        (folder / "test" / "val000.jpg").write_bytes(content.getvalue())
        shutil.copy(mask, folder / "val_masks" / "val000.png")


DEFECTS = {
    "photo gone": "train 'train002': a mask without a photo",
    "photo cut": "train 'train002': photo: Photo is broken or cut off",
    "photo empty": "train 'train002': photo: Photo is empty",
    "two photos": "train 'train002': a mask and several photos: train002.jpg, train002.png",
    "mask gone": "train: 4 pairs, the manifest says 5",
    "mask broken": "train 'train002': mask: ",
    "value": "train 'train002': mask values 200; the class list has 0 to 12",
    "ignored": "train 'train002': mask values 255;",
    "size": "train 'train002': the mask is ",
    "transposed": "train 'train002': the mask is ",
    "colour": "train 'train002': mask: ",
    "repainted": "train: pixels per class differ from the manifest's",
    "duplicate": "train 'train003': the same photo as 'train002'",
    "leak": "val 'val000': the same photo as 'train002' of train: a photo must not be both in training",
}


def test_a_defect_is_named_and_the_exit_code_says_so(prepared_once, tmp_path, capsys):
    wrong = []
    for what, expected in DEFECTS.items():
        folder = shutil.copytree(prepared_once, tmp_path / what / DATASET_FOLDER)
        spoil(folder, what)

        code = Verify(data_path=folder.parent, num_workers=1).run()

        lines = capsys.readouterr().err.splitlines()
        if code != 1 or not any(line.startswith(expected) for line in lines):
            wrong.append((what, code, lines))
    assert not wrong, wrong


def test_photos_of_the_same_bytes_in_other_shapes_are_no_duplicates(folder):
    for name, shape in (("train000", (20, 30)), ("train001", (30, 20))):
        blank = np.full((*shape, 3), 7, dtype=np.uint8)
        (folder / "train" / f"{name}.jpg").write_bytes(encode_png(blank))
        (folder / "train_masks" / f"{name}.png").write_bytes(encode_png(np.zeros(shape, dtype=np.uint8)))

    assert not [defect for defect in verify(folder).defects if "same photo" in defect.what]


def test_an_absent_class_is_shown_as_absent(folder, capsys):
    for mask in (folder / "train_masks").iterdir():
        values = read_mask(mask)
        mask.write_bytes(encode_png(np.where(values == 7, 0, values).astype(np.uint8)))

    Verify(data_path=folder.parent, num_workers=1).run()

    row = next(line for line in capsys.readouterr().out.splitlines() if "decorations" in line)
    assert row.split("│")[3].strip() == "absent"


def test_no_data_set_is_an_error_that_says_how_to_make_one(tmp_path):
    with pytest.raises(MissingInputError, match=r"data_prep\.py"):
        Verify(data_path=tmp_path).run()
