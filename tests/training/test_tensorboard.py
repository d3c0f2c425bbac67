import re

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from clothseg.training.tensorboard import draw_prediction


def read_log(folder) -> EventAccumulator:
    log = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    return log.Reload()


@pytest.fixture(scope="module")
def log(finished) -> EventAccumulator:
    return read_log(finished.settings.logs_path / "version_0")


def test_every_promised_curve_is_there(log):
    tags = set(log.Tags()["scalars"])
    expected = {"train_loss", "train_loss_step", "val_loss", "val_iou", "val_f1", "val_acc", "lr-AdamW/pg1"}
    assert expected | {f"val_iou/{name}" for name in ("background", "shirt", "trousers")} <= tags
    assert "val_iou/hat" not in tags
    assert [event.step for event in log.Scalars("val_loss")] == [2, 5, 8]
    assert [event.step for event in log.Scalars("train_loss_step")] == list(range(9))
    assert len({event.value for event in log.Scalars("lr-AdamW/pg1")}) > 5


def test_pictures_of_the_same_photos_each_epoch(log):
    assert set(log.Tags()["images"]) == {
        f"predictions/{split}_{number}" for split in ("train", "val") for number in range(4)
    }
    for tag in log.Tags()["images"]:
        pictures = log.Images(tag)
        assert len(pictures) == 3
        shown = [cv2.imdecode(np.frombuffer(one.encoded_image_string, np.uint8), cv2.IMREAD_COLOR) for one in pictures]
        assert shown[0].shape[1] > 3 * 40  # photo, truth, prediction and legend


def test_charts_of_losses_scores_and_the_iou_of_each_class(log):
    content = log.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    charts = {one.title: list(one.multiline.tag) for one in layout_pb2.Layout.FromString(content).category[0].chart}
    tags = log.Tags()["scalars"]
    shown = {
        title: {tag for tag in tags for one in patterns if re.search(one, tag)} for title, patterns in charts.items()
    }
    assert shown == {
        "losses": {"train_loss", "val_loss"},
        "scores of all classes": {"val_iou", "val_f1", "val_acc"},
        "IoU per class": {"val_iou/background", "val_iou/shirt", "val_iou/trousers"},
    }


def test_settings_as_text_and_hyperparameters(log):
    text = log.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| learning_rate | 0.002 |" in text
    metadata = log.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(metadata).session_start_info
    assert start.hparams["learning_rate"].number_value == 0.002
    assert start.hparams["encoder_weights"].string_value == "None"
    metadata = log.summary_metadata["_hparams_/experiment"].plugin_data.content
    experiment = plugin_data_pb2.HParamsPluginData.FromString(metadata).experiment
    named = {info.name.tag for info in experiment.metric_infos}
    assert named == {"val_loss", "val_iou", "val_f1", "val_acc"} <= set(log.Tags()["scalars"])


def test_draw_prediction_names_the_classes_of_both(finished):
    classes = finished.bench.classes
    truth = np.zeros((40, 30), dtype=np.uint8)
    truth[:20] = 1
    prediction = np.full((40, 30), 2, dtype=np.uint8)
    image = np.full((40, 30, 3), 200, dtype=np.uint8)
    picture = draw_prediction(image, truth, prediction, classes)
    assert picture.shape[0] >= 40
    assert picture.shape[1] > 3 * 30
    assert np.array_equal(picture[:40, :30], image)
    assert not np.array_equal(picture[:40, 38:68], picture[:40, 76:106])
    legend = {tuple(color) for color in picture[:, 106:].reshape(-1, 3).tolist()}
    assert [one.color in legend for one in classes.classes] == [False, True, True, False]
