import dataclasses
import json
import re
import shutil
import sys

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from clothseg.cluster.predict_command import Predict
from clothseg.data.manifest import Manifest, Split
from clothseg.encoding import encode_jpeg, encode_png
from clothseg.errors import ClothsegError, MachineError, MissingExtraError, MissingModelError, ModelError, SettingError
from clothseg.evaluation.compare import Compare
from clothseg.evaluation.evaluate import Evaluate
from clothseg.export import foreign_checkpoint
from clothseg.export.foreign_checkpoint import SEGFORMER_LICENCE, fetch_folder, open_folder
from clothseg.export.import_command import Import
from clothseg.export.original import SourceDescription
from clothseg.export.portable import smp_files
from clothseg.labels import GROUPS
from clothseg.model.encoders import normalization_of
from clothseg.pictures import read_picture
from clothseg.prediction.predictor import load
from clothseg.prediction.runtimes.model_file import ModelFile
from clothseg.prediction.test_time_augmentation import TestTimeAugmentation
from clothseg.settings import ModelOptions
from clothseg.transforms import IMAGENET
from tests.conftest import needs, unpacked
from tests.export.foreign_models import ATR, write_folder, write_onnx
from tests.export.small_model import DESCRIPTION, photo_of, small_network


@pytest.fixture(scope="module")
def hf():
    return pytest.importorskip("transformers", reason="install it with: uv sync --extra import")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, size in enumerate([(300, 200), (150, 400), (40, 30)]):
        (folder / f"{number}.jpg").write_bytes(encode_jpeg(photo_of(*size)))
    return folder


@pytest.fixture(scope="module")
def segformer(hf, tmp_path_factory):
    folder = write_folder("segformer", tmp_path_factory.mktemp("hub") / "owner-clothes")
    (folder / "README.md").write_text("---\nlicense: mit\ntags: [vision]\n---\n# Clothes\n")
    return folder


@pytest.fixture(scope="module")
def imported(segformer, photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("imported") / "clothes.onnx"
    assert Import(str(segformer), path, photos=(photos,)).run() == 0
    return path


def own_masks(folder, photos, **options):
    """Yield the pixels of each photo and the mask of transformers' own program at its size."""
    import transformers

    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    network = transformers.AutoModelForSemanticSegmentation.from_pretrained(folder).eval()
    for path in sorted(photos.iterdir()):
        pixels = read_picture(path).pixels
        inputs = processor(Image.fromarray(pixels), return_tensors="pt", **options)
        with torch.inference_mode():
            logits = network(**inputs).logits
        whole = torch.nn.functional.interpolate(logits, pixels.shape[:2], mode="bilinear", align_corners=False)
        yield pixels, whole.argmax(dim=1)[0].numpy()


def agrees(folder, model_path, photos, **options):
    predictor = load(model_path)
    same, seen, total = 0, set(), 0
    for pixels, expected in own_masks(folder, photos, **options):
        mask = predictor.predict(pixels).mask
        same, total = same + (mask == expected).sum(), total + mask.size
        seen |= set(np.unique(expected))
    assert len(seen) >= 3, "masks of one class show nothing"
    return same >= 0.995 * total


def test_a_segformer_gives_the_masks_of_its_own_program(imported, segformer, photos):
    assert agrees(segformer, imported, photos)
    file = ModelFile.read(imported)
    description = file.description
    assert description.classes.names == ATR
    assert (description.input_size, description.image_size, description.interpolation) == ((96, 64), 96, "bilinear")
    assert description.architecture == "SegformerForSemanticSegmentation"
    assert description.source == "owner-clothes"
    assert description.licence == f"Its card states: mit. {SEGFORMER_LICENCE}"
    assert file.check["photos"].startswith("3 photos of photos")
    assert file.check["bf16_miou_change"] is None or "openvino bf16" in file.check["agreement"]


def test_a_photo_shows_garments_body_parts_and_scores(imported, tmp_path):
    segmentation = load(imported).predict(photo_of(300, 200))
    assert segmentation.mask.shape == (300, 200)
    assert segmentation.logits.shape[1:] == (24, 16)
    assert all(0 < label.score <= 1 for label in segmentation.labels)
    bodies = [number for number, one in enumerate(segmentation.classes.classes) if one.is_body_part]
    assert len(bodies) == 6
    assert np.isin(segmentation.mask, bodies).any()
    np.testing.assert_array_equal(segmentation.inside(), ~np.isin(segmentation.mask, [0, *bodies]))
    flipped = load(imported, augmentation=TestTimeAugmentation(flip=True)).predict(photo_of(300, 200))
    assert (flipped.mask == segmentation.mask).mean() > 0.5
    with pytest.raises(SettingError, match="takes photos of 64 x 96 pixels only, without tiles and other scales"):
        load(imported, augmentation=TestTimeAugmentation(tiles=2))
    other = load(imported, runtime="onnxruntime").predict(photo_of(300, 200))
    assert (other.mask == segmentation.mask).mean() > 0.999


def test_an_imported_model_gives_groups_and_is_compared_on_them(imported, photos, tmp_path, capsys):
    segmentation = load(imported, classes="groups").predict(photos / "0.jpg")
    assert (segmentation.classes, segmentation.model["class_list"]) == (GROUPS, "groups")
    assert segmentation.mask.any()
    with pytest.raises(SettingError, match="none contains its class 'Upper-clothes'"):
        load(imported, classes="categories")
    folder = tmp_path / "fashionist"
    (folder / "masks").mkdir(parents=True)
    (folder / "photos").mkdir()
    shutil.copy(photos / "0.jpg", folder / "photos")
    (folder / "masks" / "0.png").write_bytes(encode_png(segmentation.mask))
    zeros = (0,) * len(GROUPS)
    Manifest("Own", "test", None, GROUPS, {"val": Split("photos", "masks", 1, zeros, zeros)}).write(folder)
    assert Compare(imported, imported, tmp_path, output=tmp_path / "out").run() == 0
    assert "its classes count as those of the dataset: Background → background, Hat → head" in capsys.readouterr().err
    assert Evaluate(imported, tmp_path, output=tmp_path, model_options=ModelOptions(classes="groups")).run() == 0
    assert json.loads((tmp_path / "evaluation.json").read_text())["pixel_accuracy"]["value"] == 1


@pytest.mark.cluster
@pytest.mark.full
def test_copies_on_a_cluster_give_the_same_masks(imported, photos, tmp_path):
    needs("ray.data")
    for engine in ("local", "ray"):
        assert (
            Predict((str(photos),), output=str(tmp_path / engine), engine=engine, checkpoint_path=imported).run() == 0
        )
    for path in (tmp_path / "local").glob("*_mask.png"):
        assert unpacked((tmp_path / "ray" / path.name).read_bytes()) == unpacked(path.read_bytes())


@pytest.mark.slow
def test_prediction_needs_neither_torch_nor_transformers(imported, photos, run_in, tmp_path):
    code = (
        "import sys, clothseg\n"
        f"print(clothseg.load({str(imported)!r}).predict({str(photos / '0.jpg')!r}).mask.shape)\n"
        "assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)\n"
    )
    ended = run_in("-c", code)
    assert ended.stdout == "(300, 200)\n", ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["segformer b2", "beit", "dpt", "upernet", "mobilevit"])
def test_other_architectures(kind, hf, photos, tmp_path):
    folder = write_folder(kind, tmp_path / "folder", steps={"segformer b2": 3, "mobilevit": 150}.get(kind, 30))
    assert Import(str(folder), tmp_path / "model.onnx", photos=(photos,)).run() == 0
    whole = {"do_center_crop": False, "size": {"height": 64, "width": 64}} if kind == "mobilevit" else {}
    assert agrees(folder, tmp_path / "model.onnx", photos, **whole)


def test_a_folder_of_smp_with_our_description_and_with_anothers(photos, tmp_path, small_graph, monkeypatch):
    monkeypatch.setattr(foreign_checkpoint, "to_onnx", lambda network, size: small_graph)
    folder = tmp_path / "saved"
    folder.mkdir()
    for name, content in smp_files(DESCRIPTION, small_network()).items():
        (folder / name).write_bytes(content)
    assert Import(str(folder), tmp_path / "model.onnx", photos=(photos,), licence="ours").run() == 0
    written = ModelFile.read(tmp_path / "model.onnx").description
    assert written == dataclasses.replace(DESCRIPTION, source="saved", licence="ours")
    (folder / "clothseg.json").unlink()
    with pytest.raises(SettingError, match="names no classes and no size"):
        Import(str(folder), tmp_path / "model.onnx", photos=(photos,)).run()
    yaml = tmp_path / "form.yaml"
    yaml.write_text(f"classes: [{', '.join(GROUPS.names)}]\nsize: [64, 64]\nresize: letterbox\ninterpolation: area\n")
    usual = open_folder(folder, SourceDescription.read(yaml)).reference.description.normalization
    assert usual == normalization_of(DESCRIPTION.encoder_name) != IMAGENET
    yaml.write_text(f"{yaml.read_text()}mean: {list(IMAGENET.mean)}\nstd: {list(IMAGENET.std)}\n")
    assert Import(str(folder), tmp_path / "other.onnx", str(yaml), photos=(photos,)).run() == 0
    first, second = load(tmp_path / "model.onnx"), load(tmp_path / "other.onnx")
    np.testing.assert_array_equal(first.predict(photo_of(80, 50)).mask, second.predict(photo_of(80, 50)).mask)


FORM = "classes: [background, upper body, lower body, full body]\nsize: [96, 64]\nmean: [0.4, 0.5, 0.6]\n"


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        ("", {}),
        ("std: [0.2, 0.3, 0.4]\nchannels: bgr\ninterpolation: bicubic\n", {"batch": 1}),
        ("layout: nhwc\nscale: 1\nmean: [90, 100, 110]\nstd: [50, 60, 70]\n", {"layout": "nhwc"}),
        ("gives: probabilities\n", {"probabilities": True}),
        ("gives: probabilities\nlayout: nhwc\n", {"probabilities": True, "layout": "nhwc"}),
        ("", {"size": ("height", "width")}),
    ],
)
def test_an_onnx_file_with_a_description(lines, options, photos, tmp_path):
    path = write_onnx(tmp_path / "net.onnx", **options)
    form = {line.split(": ")[0]: line.split(": ")[1] for line in (FORM + lines).splitlines()}
    (tmp_path / "net.yaml").write_text("".join(f"{key}: {value}\n" for key, value in form.items()))
    assert Import(str(path), tmp_path / "model.onnx", photos=(photos,)).run() == 0
    pixels = photo_of(300, 200)
    wanted = Image.Resampling[form.get("interpolation", "bilinear").upper()]
    small = np.asarray(Image.fromarray(pixels).resize((64, 96), wanted)).astype(np.float64)
    numbers = {key: np.array(json.loads(form[key])) for key in ("mean", "std") if key in form}
    values = (small * float(form.get("scale", 1 / 255)) - numbers["mean"]) / numbers.get("std", 1)
    values = values[..., ::-1] if "channels" in form else values
    is_last = form.get("layout") == "nhwc"
    batch = (values if is_last else values.transpose(2, 0, 1))[None].astype(np.float32)
    session = onnxruntime.InferenceSession(path)
    output = session.run([session.get_outputs()[0].name], {"input": batch})[0][0]
    planes = output if is_last else output.transpose(1, 2, 0)
    if "gives" in form:
        planes = np.log(np.maximum(planes, 1e-12))
    expected = cv2.resize(planes, (200, 300), interpolation=cv2.INTER_LINEAR).argmax(axis=2)
    segmentation = load(tmp_path / "model.onnx").predict(pixels)
    assert (segmentation.mask == expected).mean() > 0.999
    assert segmentation.classes.names[1:] == ("upper body", "lower body", "full body")
    assert [one.group for one in segmentation.classes.classes] == ["", "upperbody", "lowerbody", "wholebody"]


def test_ready_descriptions_fit_rembgs_network_and_exports_of_segformer(photos, tmp_path, capsys):
    cloth = write_onnx(tmp_path / "u2net_cloth_seg.onnx", size=(768, 768))
    assert Import(str(cloth), tmp_path / "cloth.onnx", "u2net_cloth_seg", photos=(photos,)).run() == 0
    description = ModelFile.read(tmp_path / "cloth.onnx").description
    assert (description.input_size, description.interpolation) == ((768, 768), "lanczos")
    assert "rembg" in description.source
    exported = write_onnx(tmp_path / "model.onnx", size=("height", "width"), classes=18)
    content = exported.read_bytes().replace(b"scores", b"logits")
    exported.write_bytes(content)
    (tmp_path / "config.json").write_text(json.dumps({"id2label": dict(enumerate(ATR))}))
    assert Import(str(exported), tmp_path / "clothes.onnx", "segformer", photos=(photos,)).run() == 0
    assert ModelFile.read(tmp_path / "clothes.onnx").description.classes.names == ATR
    assert "Warning, not for commercial use: NVIDIA" in capsys.readouterr().err


def changed(folder, tmp_path, name, **values):
    """Return a copy of a folder with other values in one of its JSON files; None removes one."""
    copy = shutil.copytree(folder, tmp_path / "changed", dirs_exist_ok=True)
    content = json.loads((copy / name).read_text()) | values
    (copy / name).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return copy


def test_bad_folders_are_named(segformer, tmp_path):
    """A table of what is wrong with a folder, and of the error."""
    few = {"0": "Background", "1": "Hat"}
    wrong = []
    for name, values, kind, message in [
        ("config.json", {"id2label": None}, ModelError, r"id2label in config.json is None"),
        ("config.json", {"id2label": {"1": "Hat"}}, ModelError, "must name each class, from id 0 on"),
        ("config.json", {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, ModelError, "has no names"),
        ("config.json", {"id2label": few}, ModelError, "transformers cannot load"),
        ("config.json", {"id2label": {"0": "wall", "1": "hat"}}, ClothsegError, "transformers cannot load|background"),
        ("config.json", {"architectures": ["MaskFormerForInstanceSegmentation"]}, ModelError, "Instance and panoptic"),
        ("config.json", {"architectures": ["OneFormerForUniversalSegmentation"]}, ModelError, "Instance and panopt"),
        ("config.json", {"auto_map": {"AutoModel": "m.M"}}, ModelError, "needs code of its authors"),
        ("config.json", {"decoder_hidden_size": 64}, ModelError, "transformers cannot load|lack"),
        ("preprocessor_config.json", {"size": {"height": 90, "width": 64}}, SettingError, "multiples of 32"),
        ("preprocessor_config.json", {"do_resize": False}, ModelError, "gives no size of the input"),
    ]:
        folder = changed(segformer, tmp_path, name, **values)
        with pytest.raises(kind) as raised:
            Import(str(folder), tmp_path / "model.onnx").run()
        if not re.search(message, str(raised.value)):
            wrong.append(str(raised.value))
        shutil.rmtree(folder)
    assert not wrong
    assert not (tmp_path / "model.onnx").exists()


def test_bad_files_are_named(segformer, tmp_path, monkeypatch):
    folder = shutil.copytree(segformer, tmp_path / "folder")
    run = Import(str(folder), tmp_path / "model.onnx").run
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        run()
    weights.unlink()
    with pytest.raises(MissingModelError, match=r"Weights not found: .*model\.safetensors"):
        run()
    torch.save({"weight": torch.nn.ReLU()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"names Python code .*, which is never run"):
        run()
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        run()
    (folder / "config.json").unlink()
    with pytest.raises(MissingModelError, match=r"config\.json not found in"):
        run()
    (tmp_path / "a.jpg").write_bytes(b"")
    for source, message in (
        (folder.parent / "a.jpg", "Model is a file, not a folder"),
        ("nosuch", "Model not found: nosuch. Pass a f"),
    ):
        with pytest.raises(ModelError, match=message):
            Import(str(source), tmp_path / "model.onnx").run()
    with pytest.raises(SettingError, match=r"Allowed: a file that ends in \.onnx"):
        Import(str(folder), tmp_path / "model.pt").run()
    with pytest.raises(MachineError, match="Cannot write"):
        Import("nosuch", tmp_path / "a.jpg" / "model.onnx").run()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"transformers is not installed\. Install it with: .*import"):
        Import(str(segformer), tmp_path / "model.onnx").run()


def test_bad_onnx_files_and_descriptions_are_named(imported, photos, tmp_path):
    net, bare = write_onnx(tmp_path / "net.onnx"), tmp_path / "bare.onnx"
    bare.write_bytes(b"no model")
    wrong = []
    for path, form, message in [
        (net, FORM.replace("96", "128"), r"size \[128, 64\], the network's input is \[96, 64\]"),
        (net, FORM + "resize: letterbox\n", "write resize: squash"),
        (net, FORM + "layout: nhwc\n", "not nhwc with three colours"),
        (net, FORM + "output: mask\n", "the output that the description names"),
        (net, FORM.replace(", full body", ""), r"shape \[1, 4, 24, 16\] for 3 named classes"),
        (net, FORM + "gives: numbers\n", r"Invalid enum value 'numbers' - at `\$\.gives`"),
        (net, FORM + "colour: rgb\n", "unknown field `colour`"),
        (net, FORM + "std: [1, 1]\n", r"Expected `array` of length 3"),
        (net, "size: [96, 64]\n", "config.json not found"),
        (bare, FORM, "is damaged or no ONNX file"),
        (imported, FORM, "is a model of clothseg already"),
    ]:
        (tmp_path / "form.yaml").write_text(form)
        with pytest.raises(ClothsegError) as raised:
            Import(str(path), tmp_path / "model.onnx", str(tmp_path / "form.yaml"), photos=(photos,)).run()
        if not re.search(message, str(raised.value)):
            wrong.append(str(raised.value))
    assert not wrong
    with pytest.raises(SettingError, match="is a model of clothseg already"):
        Import(str(imported), tmp_path / "model.onnx").run()
    with pytest.raises(ClothsegError, match=r"Description not found.*u2net_cloth_seg"):
        SourceDescription.read("nothing.yaml")


def test_a_repository_of_the_hub(segformer, hub):
    start = "/owner/clothes/resolve/main/"
    hub.files |= {start + path.name: path.read_bytes() for path in segformer.iterdir()}
    folder, origin = fetch_folder("hf://owner/clothes")
    assert origin == f"hf://owner/clothes@{'a' * 40}"
    for name in ("config.json", "preprocessor_config.json", "model.safetensors", "README.md"):
        assert (folder / name).read_bytes() == (segformer / name).read_bytes()


def test_what_the_hub_refuses_is_named(segformer, hub):
    hub.refusals |= {"/owner/gated": (403, "GatedRepo"), "/owner/gone": (404, "RepoNotFound")}
    for name in ("gated", "gone"):
        with pytest.raises(MachineError, match=rf"The files of owner/{name} cannot be downloaded .*hf auth login"):
            fetch_folder(f"hf://owner/{name}")
    with pytest.raises(ModelError, match="has none of the files of a model"):
        fetch_folder("hf://owner/empty")
    with pytest.raises(SettingError, match="Write it as: hf://OWNER/NAME"):
        fetch_folder("hf://owner")
    start = "/owner/cut/resolve/main/"
    hub.files |= {start + name: (segformer / name).read_bytes() for name in ("config.json", "model.safetensors")}
    hub.cut.add(f"{start}model.safetensors")
    with pytest.raises(MachineError, match="The files of owner/cut cannot be downloaded"):
        fetch_folder("hf://owner/cut")
