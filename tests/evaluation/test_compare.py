import json
import os
from pathlib import Path

import numpy as np
import pytest

from clothseg.errors import DataError, MissingInputError, MissingModelError, SettingError
from clothseg.evaluation.compare import Compare
from clothseg.evaluation.evaluate import Evaluate
from clothseg.labels import GROUPS
from tests.evaluation.conftest import read_json, shifted, truth_of
from tests.export.small_model import write_checkpoint

TRUTH = {str(seed): truth_of(seed) for seed in range(12)}
GOOD = {stem: shifted(mask, 1 + int(stem) % 2) for stem, mask in TRUTH.items()}
BAD = {stem: shifted(mask, 3 + int(stem) % 3) for stem, mask in TRUTH.items()}


@pytest.fixture
def compare(make_data, write_masks, tmp_path):
    def run(first=BAD, second=GOOD, **options):
        masks = write_masks(first, "first"), write_masks(second, "second")
        return Compare(*masks, data_path=make_data(TRUTH), output=tmp_path / "out", **options).run()

    return run


def comparison_of(folder):
    return read_json(folder, "compare.json")


def test_a_better_model_is_significantly_better_and_the_other_worse(compare, tmp_path, capsys):
    assert compare() == 0
    forward = comparison_of(tmp_path / "out")
    dress = forward["classes"][1]["iou"]
    assert dress["verdict"] == "better"
    assert dress["change"] == pytest.approx(dress["second"] - dress["first"])
    assert 0 < dress["low"] < dress["change"] < dress["high"]
    assert forward["classes"][3]["iou"] is None
    assert forward["classes"][3]["absent"]
    assert forward["photos"] == 12
    printed = capsys.readouterr().out
    assert "second is significantly better" in printed
    assert str(tmp_path / "out" / "compare.html") in printed
    compare(first=GOOD, second=BAD)
    backward = comparison_of(tmp_path / "out")["classes"][1]["iou"]
    assert backward["verdict"] == "worse"
    mirrored = (-dress["change"], -dress["high"], -dress["low"])
    assert (backward["change"], backward["low"], backward["high"]) == pytest.approx(mirrored)


def test_the_same_masks_do_not_differ(compare, tmp_path, capsys):
    compare(first=GOOD, second=GOOD)
    for one in comparison_of(tmp_path / "out")["classes"][:3]:
        assert (one["iou"]["change"], one["iou"]["low"], one["iou"]["high"]) == (0, 0, 0)
        assert one["iou"]["verdict"] == "unclear"
    assert "No class's IoU differs significantly." in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused_before_scoring(compare, write_masks, make_data, tmp_path, capsys):
    with pytest.raises(SettingError, match="No class covers 'hood'"):
        compare(leave_out=("hood",))
    with pytest.raises(MissingModelError, match=r"none\.onnx"):
        Compare(write_masks(GOOD, "good"), Path("none.onnx"), data_path=make_data(TRUTH), output=tmp_path / "out").run()
    assert "Scoring" not in capsys.readouterr().err


def test_intervals_are_paired(compare, tmp_path):
    """Photos differ far more than the two models do, so that only a paired interval sees the difference."""
    rng = np.random.default_rng(0)
    shifts = {stem: int(rng.integers(0, 12)) for stem in TRUTH}
    first = {stem: shifted(TRUTH[stem], by + 1) for stem, by in shifts.items()}
    second = {stem: shifted(TRUTH[stem], by) for stem, by in shifts.items()}
    compare(first=first, second=second)
    dress = comparison_of(tmp_path / "out")["classes"][1]["iou"]
    assert dress["verdict"] == "better"
    apart = {}
    for name in ("first", "second"):
        folder = tmp_path / f"{name}-alone"
        Evaluate(data_path=tmp_path / "data", predictions=tmp_path / name, output=folder).run()
        apart[name] = read_json(folder)["classes"][1]["iou"]
    assert apart["second"]["low"] < apart["first"]["high"], "unpaired, the intervals overlap"


def test_two_earlier_evaluations_give_the_same_comparison(compare, tmp_path):
    compare()
    direct = comparison_of(tmp_path / "out")
    paths = []
    for name in ("first", "second"):
        folder = tmp_path / f"of-{name}"
        Evaluate(data_path=tmp_path / "data", predictions=tmp_path / name, output=folder).run()
        paths.append(folder / "evaluation.json")
    assert Compare(*paths, data_path=Path("nowhere"), output=tmp_path / "later").run() == 0
    later = comparison_of(tmp_path / "later")
    for values in (direct, later):
        del values["date"]
    assert later == direct


def test_photos_that_only_one_has_are_left_out_and_named(compare, tmp_path, capsys):
    partial = {stem: mask for stem, mask in GOOD.items() if stem != "7"}
    assert compare(second=partial) == 1
    assert "No mask of 7.jpg" in capsys.readouterr().err
    values = comparison_of(tmp_path / "out")
    assert values["left_out"] == ["7.jpg"]
    assert values["photos"] == 11


def test_two_real_models_compare(tmp_path, make_data):
    truth = {str(seed): np.array([0, 12, 4], np.uint8)[truth_of(seed)] for seed in range(5)}
    model = write_checkpoint(tmp_path / "small.ckpt")
    data = make_data(truth, classes=GROUPS)
    assert Compare(model, model, data_path=data, output=tmp_path / "out", count=5).run() == 0
    values = comparison_of(tmp_path / "out")
    assert values["first"]["sha256"] == values["second"]["sha256"]
    assert values["pixel_accuracy"]["change"] == 0
    assert "small.ckpt (B) against small.ckpt (A)" in (tmp_path / "out" / "compare.html").read_text()


def test_evaluations_with_other_truth_or_other_photos_are_refused(tmp_path, make_data, write_masks):
    others = {f"b{stem}": mask for stem, mask in TRUTH.items()}
    for name, truth in (("first", TRUTH), ("changed", TRUTH | {"4": TRUTH["5"]}), ("others", others)):
        masks = write_masks(truth, f"masks-{name}")
        Evaluate(data_path=make_data(truth, name=f"data-{name}"), predictions=masks, output=tmp_path / name).run()
    first, changed, others = (tmp_path / name / "evaluation.json" for name in ("first", "changed", "others"))
    with pytest.raises(DataError, match=r"The truth of 4\.jpg is not the same in both"):
        Compare(first, changed, output=tmp_path / "out").run()
    with pytest.raises(DataError, match="they have no photo in common"):
        Compare(first, others, output=tmp_path / "out").run()


def test_a_file_that_is_not_an_evaluation_is_named(make_data, write_masks, tmp_path):
    Evaluate(data_path=make_data(TRUTH), predictions=write_masks(GOOD), output=tmp_path).run()
    path, whole = tmp_path / "damaged.json", (tmp_path / "evaluation.json").read_text()

    def refusal():
        with pytest.raises(DataError) as raised:
            Compare(path, path, output=tmp_path / "out").run()
        return str(raised.value)

    with pytest.raises(MissingInputError, match="Evaluation not found"):
        Compare(path, path, output=tmp_path / "out").run()
    os.mkfifo(path)
    assert "Evaluation is a pipe" in refusal()
    path.unlink()
    path.write_text("[]")
    refusals = [refusal()]
    for damage in [
        lambda values: values.update(version=2),
        lambda values: values.update(version=0),
        lambda values: values.pop("per_photo"),
        lambda values: values["per_photo"][0]["counts"].update({"0": [1, 2]}),
        lambda values: values["per_photo"][0]["counts"].update({"9": [1, 2, 3, 4, 5]}),
        lambda values: values["per_photo"][0]["counts"].update({"0": [2**40] * 5}),
        lambda values: values["per_photo"][0].update(truth_crc32="none"),
        lambda values: values["data"].update(classes=[]),
        lambda values: values["predictions"].pop("name"),
    ]:
        values = json.loads(whole)
        damage(values)
        path.write_text(json.dumps(values))
        refusals.append(refusal())
    expected = "damaged.json is not the evaluation.json of an evaluation"
    assert [one for one in refusals if expected not in one] == []
