"""Trains on one GPU, in minutes, from a single file with all photos.

    uv run python benchmarks/starter/gpu.py pack splits/fit-categories PHOTOS TAGS.json photos.zip
    python benchmarks/starter/gpu.py train photos.zip ENCODER.pth output --seconds 120 150 180

`pack` runs where the data is: it scales each photo to 640 pixels and writes WebP, with masks of categories as PNG.
`train` has all photos in the GPU's memory and augments them there, so that nothing waits for a loader. It needs
torch, timm, segmentation-models-pytorch, Pillow and NumPy, and the folder `src` on PYTHONPATH. It trains three
networks, each for the given number of seconds, with the learning rate following the clock:

1. a teacher on the fit part, which then labels the photos without masks; tags say which classes it may choose from;
2. a student on the fit part and those photos, which is scored on the tune part;
3. the same on fit and tune part, to ship.

Each is written as OUTPUT/NAME.pt, float16; scores and settings go to OUTPUT/log.json.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gpu_batches import IGNORED, Photos, batch_of
from torch import Tensor, nn
from worn import GatedNetwork, Outputs, Presence, group_of_category

SIZE = 640
ENCODER, DECODER_WIDTH = "tu-tf_efficientnet_lite2", 0.5
SEEN = {"fit": "train", "tune": "val"}
SURE, CONTRADICTS = 0.6, 0.9
"""Least probability of a label; and probability of a class that the tags exclude from which on there is no label."""


def pack(arguments: argparse.Namespace) -> None:
    """Write one ZIP file with the photos of all three parts, their masks and tags."""
    from PIL import Image

    from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
    from clothseg.pictures import read_mask, read_picture

    folder = arguments.data_path / DATASET_FOLDER
    manifest = Manifest.read(folder)
    known = set(arguments.leave_out)
    shown = [number for number, pixels in enumerate(manifest.splits["train"].pixels_per_class) if pixels]
    plane = np.full(256, IGNORED, np.uint8)
    plane[shown] = np.arange(len(shown))
    tags = json.loads(arguments.tags.read_text(encoding="utf-8"))

    def scaled(path: Path) -> tuple[bytes, tuple[int, int]]:
        picture = Image.fromarray(read_picture(path).pixels)
        factor = SIZE / max(picture.size)
        size = (round(picture.width * factor), round(picture.height * factor))
        small = picture.resize(size, Image.Resampling.LANCZOS)
        content = io.BytesIO()
        small.save(content, "WEBP", quality=arguments.quality, method=2)
        return content.getvalue(), small.size

    with zipfile.ZipFile(arguments.output, "w") as archive:
        for part, split in SEEN.items():
            for photo, mask_path in pairs(folder, manifest.splits[split]):
                known.add(photo.name)
                content, size = scaled(photo)
                archive.writestr(f"{part}/{photo.stem}.webp", content)
                mask = Image.fromarray(plane[read_mask(mask_path)]).resize(size, Image.Resampling.NEAREST)
                png = io.BytesIO()
                mask.save(png, "PNG", optimize=True)
                archive.writestr(f"{part}/{photo.stem}.png", png.getvalue())
        for name in sorted(set(tags) - known):
            archive.writestr(f"more/{Path(name).stem}.webp", scaled(arguments.photos / name)[0])
        archive.writestr("tags.json", json.dumps({Path(name).stem: tags[name] for name in sorted(set(tags) - known)}))
        archive.writestr("classes.json", json.dumps([manifest.classes.names[number] for number in shown]))


class Objective(nn.Module):
    """Dice and weighted cross-entropy of groups, cross-entropy of categories, and of what is worn in the input."""

    def __init__(self, group_pixels: Tensor, category_pixels: Tensor) -> None:
        super().__init__()
        self.group_weights, self.category_weights = (
            self.balanced(pixels) for pixels in (group_pixels, category_pixels)
        )

    @staticmethod
    def balanced(pixels: Tensor, balance: float = 0.4) -> Tensor:
        """As clothseg's `balanced_weights`."""
        share = pixels / pixels.sum()
        weight = torch.where(pixels > 0, share.clamp_min(1e-9) ** -balance, torch.zeros_like(share))
        weight = (weight / (weight * share).sum()).clamp_max(10)
        return torch.where(pixels > 0, weight, torch.ones_like(weight))

    def forward(self, categories: Tensor, groups: Tensor, worn: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Take logits, (B, K, H, W), (B, G, H, W) and (B, K), and masks, (B, 2, H, W)."""
        group_mask, category_mask = mask[:, 0].long(), mask[:, 1].long()
        log_group = groups.log_softmax(dim=1)
        counted = (group_mask != IGNORED).unsqueeze(1)
        truth = torch.zeros_like(log_group).scatter_(1, group_mask.where(counted[:, 0], 0).unsqueeze(1), 1.0) * counted
        probability = log_group.exp() * counted
        overlap, total = (probability * truth).sum((0, 2, 3)), (probability + truth).sum((0, 2, 3))
        present = truth.sum((0, 2, 3)) > 0
        dice = ((1 - 2 * overlap / total.clamp_min(1)) * present).sum() / present.sum().clamp_min(1)
        entropy = F.nll_loss(log_group, group_mask, weight=self.group_weights, ignore_index=IGNORED)
        fine = F.cross_entropy(categories, category_mask, weight=self.category_weights, ignore_index=IGNORED)
        sparse = category_mask[:, ::4, ::4].flatten(1)
        of_photo = 256 * torch.arange(len(mask), device=mask.device).view(-1, 1)
        shown = torch.bincount((sparse + of_photo).flatten(), minlength=256 * len(mask)).view(len(mask), 256)
        share = shown[:, : worn.shape[1]] / sparse.shape[1]
        known = 1 - shown[:, IGNORED] / sparse.shape[1]
        # A few pixels at the edge say neither yes nor no; where much is unknown, nothing is known to be absent.
        is_known = (share > 0.001) | ((share == 0) & (known > 0.6).unsqueeze(1))
        each = F.binary_cross_entropy_with_logits(worn, (share > 0.001).float(), reduction="none")
        gate = (each * is_known)[:, 1:].sum() / is_known[:, 1:].sum().clamp_min(1)
        return {"dice": dice, "entropy": entropy, "fine": fine, "gate": gate}


def learn(
    name: str,
    network: GatedNetwork,
    photos: Photos,
    weights: Tensor,
    objective: Objective,
    settings: Any,
    seconds: float,
) -> GatedNetwork:
    """Train for `seconds` and return the average over the steps."""
    device = photos.image.device
    network.to(device).train()
    network.to(memory_format=torch.channels_last)
    average = copy.deepcopy(network)
    encoder = {id(parameter) for parameter in network.network.network.encoder.parameters()}
    groups = []
    for is_encoder in (False, True):
        for decays in (False, True):
            chosen = [one for one in network.parameters() if (id(one) in encoder, one.ndim > 1) == (is_encoder, decays)]
            rate = settings.rate * (settings.encoder_rate if is_encoder else 1)
            groups.append(
                {"params": chosen, "lr": rate, "weight_decay": settings.weight_decay if decays else 0.0, "rate": rate}
            )
    optimizer = torch.optim.AdamW(groups, fused=device.type == "cuda")
    fill = network.fill.view(1, 3, 1, 1).to(device)
    own, averaged = list(network.state_dict().values()), list(average.state_dict().values())
    floats = [(a, b) for a, b in zip(averaged, own, strict=True) if a.is_floating_point()]
    start, step, shown = time.perf_counter(), 0, 0.0
    sums: dict[str, Any] = {}
    while True:
        if step == 1:  # the first step loads kernels, and does not count
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
        elapsed = time.perf_counter() - start
        progress = elapsed / seconds
        if progress >= 1:
            break
        factor = progress / 0.05 if progress < 0.05 else 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * max(factor, 1e-3)
        index = torch.multinomial(weights, settings.batch_size, replacement=True)
        with torch.no_grad():
            image, mask = batch_of(photos, index, fill)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.bf16):
            categories, worn = network.coarse(image.contiguous(memory_format=torch.channels_last))
        parts = objective(*network.enlarged(categories.float()), worn.float(), mask)
        loss = 0.5 * parts["dice"] + 0.5 * parts["entropy"] + 0.3 * parts["fine"] + 0.2 * parts["gate"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        decay = min(0.998, (1 + step) / (10 + step))
        torch._foreach_lerp_([a for a, _ in floats], [b.detach() for _, b in floats], 1 - decay)
        for key, value in parts.items():
            sums[key] = sums.get(key, 0) + value.detach()
        if step % 20 == 0 and elapsed - shown > seconds / 6:
            shown = elapsed
            means = " ".join(f"{key} {float(value) / step:.3f}" for key, value in sums.items())
            print(
                f"{name}: {elapsed:.0f} s, step {step}, {step * settings.batch_size / elapsed:.0f} photos/s, {means}",
                flush=True,
            )
    for a, b in zip(averaged, own, strict=True):
        if not a.is_floating_point():
            a.copy_(b)
    print(f"{name}: {step} steps of {settings.batch_size} in {time.perf_counter() - start:.0f} s", flush=True)
    average.seen = step * settings.batch_size
    return average.eval()


@torch.inference_mode()
def predicted(network: GatedNetwork, photos: Photos, *, flip: bool = False, batch_size: int = 16) -> Any:
    """Yield indices and category logits, (B, K, H, W) float32."""
    device = photos.image.device
    for index in torch.arange(len(photos), device=device).split(batch_size):
        image = photos.image[index]
        fill = network.fill.view(1, 3, 1, 1).to(device=device, dtype=torch.uint8)
        image = torch.where(photos.inside(index).unsqueeze(1), image, fill)
        logits = network.coarse(image)[0].float()
        if flip:
            logits = (logits.log_softmax(1) + network.coarse(image.flip(3))[0].float().flip(3).log_softmax(1)) / 2
        yield index, network.enlarged(logits)


def scores(network: GatedNetwork, photos: Photos) -> dict[str, Any]:
    """Return IoU by group of a part with masks, at 640 pixels."""
    count = network.num_groups
    matrix = torch.zeros(count * count, device=photos.image.device, dtype=torch.int64)
    for index, (_, groups) in predicted(network, photos):
        truth, prediction = photos.mask[index, 0].long(), groups.argmax(dim=1)
        counted = truth != IGNORED
        matrix += torch.bincount(truth[counted] * count + prediction[counted], minlength=count * count)
    matrix = matrix.view(count, count).double()
    union = matrix.sum(0) + matrix.sum(1) - matrix.diag()
    iou = {name: float(matrix[i, i] / union[i]) for i, name in enumerate(network.group_names) if matrix[i].sum() > 0}
    common = [value for name, value in iou.items() if name not in ("neck", "arms and hands")]
    return {"mean": float(np.mean(list(iou.values()))), "mean_8": float(np.mean(common)), "iou": iou}


def label(network: GatedNetwork, photos: Photos, tags: dict[str, list[str]]) -> None:
    """Fill the masks of photos without any: the likeliest class that the tags allow, where that is clear."""
    names, groups_of = network.group_names, network.groups_of
    for index, (categories, groups) in predicted(network, photos, flip=True):
        allowed = torch.zeros(len(index), len(names), dtype=torch.bool, device=index.device)
        allowed[:, 0] = True
        for row, number in enumerate(index.tolist()):
            allowed[row, [names.index(tag) for tag in tags[photos.names[number]]]] = True
        allowed = allowed[:, :, None, None]
        unlimited = groups.softmax(dim=1)
        doubt = (unlimited * ~allowed).amax(dim=1) > CONTRADICTS
        limited = groups.masked_fill(~allowed, -1e4).softmax(dim=1)
        best, chosen = limited.max(dim=1)
        chosen = torch.where(doubt | (best < SURE), IGNORED, chosen)
        fine = categories.masked_fill(~allowed[:, groups_of], -1e4).softmax(dim=1)
        best_fine, category = fine.max(dim=1)
        category = torch.where(
            (best_fine < SURE) | (chosen == IGNORED) | (groups_of[category] != chosen), IGNORED, category
        )
        inside = photos.inside(index)
        photos.mask[index, 0] = torch.where(inside, chosen, IGNORED).to(torch.uint8)
        photos.mask[index, 1] = torch.where(inside, category, IGNORED).to(torch.uint8)
    photos.has_masks = True


def sampling_weights(photos: Photos, num_groups: int) -> Tensor:
    """Return how often each photo is seen: rare groups more often (repeat factors of LVIS, t = 0.1, 4 at most)."""
    shown = torch.stack([(photos.mask[:, 0] == group).flatten(1).any(1) for group in range(num_groups)], dim=1).float()
    factor = (0.1 / shown.mean(0).clamp_min(0.1 / 16)).sqrt().clamp_min(1)
    return (shown * factor).amax(dim=1).clamp_min(1)


def train(arguments: argparse.Namespace) -> None:
    """Run the three trainings."""
    torch.manual_seed(arguments.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arguments.bf16 = device == "cuda"
    arguments.output.mkdir(parents=True, exist_ok=True)
    log: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
    }
    log["settings"] = {key: str(value) for key, value in vars(arguments).items() if key != "run"}
    start = time.perf_counter()
    with zipfile.ZipFile(arguments.photos) as archive:
        names = json.loads(archive.read("classes.json"))
        tags = json.loads(archive.read("tags.json"))
        group_names, ids = group_of_category(names)
        table = torch.full((256,), IGNORED, dtype=torch.uint8)
        table[: len(ids)] = torch.tensor(ids, dtype=torch.uint8)
        parts = {part: Photos(archive, part, table.to(device), device, arguments.count) for part in (*SEEN, "more")}
    pixels = [torch.bincount(parts["fit"].mask[:, which].flatten().long(), minlength=256).float() for which in (0, 1)]
    objective = Objective(pixels[0][: len(group_names)], pixels[1][: len(names)])
    print(f"read {[len(part) for part in parts.values()]} photos in {time.perf_counter() - start:.0f} s", flush=True)

    def fresh() -> GatedNetwork:
        return GatedNetwork.build(ENCODER, str(arguments.weights), names, decoder_width=DECODER_WIDTH)

    def finish(name: str, network: GatedNetwork) -> None:
        log[name] = {"seen": network.seen, "tune": scores(network, parts["tune"])}
        print(f"{name}: tune {json.dumps(log[name]['tune'])}", flush=True)
        state = network.state_dict().items()
        halved = {key: (value.half() if value.is_floating_point() else value).cpu() for key, value in state}
        torch.save(halved, arguments.output / f"{name}.pt")
        (arguments.output / "log.json").write_text(json.dumps(log, indent=1))

    teacher_time, student_time, last_time = arguments.seconds
    weights = sampling_weights(parts["fit"], len(group_names))
    teacher = learn("teacher", fresh(), parts["fit"], weights, objective, arguments, teacher_time)
    finish("teacher", teacher)
    label(teacher, parts["more"], tags)
    unknown = float((parts["more"].mask[:, 0] == IGNORED).float().mean())
    seconds = time.perf_counter() - start
    print(f"labelled {len(parts['more'])} photos, {unknown:.3f} of the pixels unknown, {seconds:.0f} s", flush=True)
    for name, labelled, seconds in (("student", ["fit"], student_time), ("last", ["fit", "tune"], last_time)):
        if seconds <= 0:
            continue
        photos = Photos.joined([*(parts[part] for part in labelled), parts["more"]])
        count = sum(len(parts[part]) for part in labelled)
        weights = sampling_weights(photos, len(group_names))
        # Half of what is seen has masks that people drew.
        weights[:count] *= 0.5 / weights[:count].sum()
        weights[count:] *= 0.5 / weights[count:].sum()
        finish(name, learn(name, fresh(), photos, weights, objective, arguments, seconds))
        del photos
    print(f"done in {time.perf_counter() - start:.0f} s", flush=True)


def load_network(path: Path, names: list[str]) -> GatedNetwork:
    """Return a network that `train` wrote, ready to predict."""
    network = GatedNetwork.build(ENCODER, None, names, decoder_width=DECODER_WIDTH)
    tensors = torch.load(path, weights_only=True, map_location="cpu").items()
    network.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in tensors})
    return network.eval()


def tell(arguments: argparse.Namespace) -> None:
    """Write scores into a model file, whose graph stays, and its new SHA-256 into what was measured of it."""
    import onnx

    from clothseg.pictures import write_whole
    from clothseg.prediction.runtimes.model_file import ModelFile, add_metadata

    file = ModelFile.read(arguments.model)
    graph = onnx.load_from_string(file.content)
    del graph.metadata_props[:]
    groups, categories = (scores_of(path) for path in arguments.scores)
    told = replace(file.description, scores={**groups, "categories": categories})
    content = add_metadata(graph.SerializeToString(deterministic=True), told, file.check)
    write_whole(arguments.model, content)
    for path in (*arguments.scores, *arguments.others):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(file.sha256, ModelFile.from_bytes(content).sha256), encoding="utf-8")


def scores_of(path: Path) -> dict[str, Any]:
    """Return what a model file says of an evaluation.json."""
    scores = json.loads(path.read_text(encoding="utf-8"))
    mean = scores["mean"]["with_background"]
    return {
        "scored_on": f"{scores['data']['photos']} photos that it did not learn from, at their own size",
        "val_iou": mean["iou"]["value"],
        "val_f1": mean["f1"]["value"],
        "val_acc": scores["pixel_accuracy"]["value"],
        "iou": {one["name"]: None if one["absent"] else one["iou"]["value"] for one in scores["classes"]},
    }


def export(arguments: argparse.Namespace) -> None:
    """Write a trained network as a model file with both outputs, checked against torch on the tune part."""
    from clothseg.data.manifest import DATASET_FOLDER, Manifest
    from clothseg.export.agreement import choose_photos, compare, make_portable
    from clothseg.export.portable import to_onnx
    from clothseg.labels import GROUPS
    from clothseg.model.description import ModelDescription
    from clothseg.pictures import write_whole
    from clothseg.prediction.runtimes.model_file import add_metadata
    from clothseg.prediction.runtimes.torch import TorchRuntime

    with zipfile.ZipFile(arguments.photos) as archive:
        network = load_network(arguments.network, json.loads(archive.read("classes.json")))
    gate = torch.load(arguments.presence, weights_only=True)
    network.presence = Presence(len(gate["state"]["mean"]))
    network.presence.load_state_dict(gate["state"])
    network.temperatures = tuple(gate["temperatures"])
    learnt = [Manifest.read(folder / DATASET_FOLDER).summary() for folder in arguments.learnt]
    of_categories = {key: learnt[1][key] for key in ("known_classes", "photos_per_class")}
    description = ModelDescription(
        classes=GROUPS,
        architecture="fpn",
        encoder_name=ENCODER,
        decoder_width=DECODER_WIDTH,
        image_size=SIZE,
        normalization=network.network.normalization,
        licence="Apache-2.0",
        training_data={**learnt[0], "guessed_masks": arguments.guessed, "categories": of_categories},
        categories=tuple(network.names),
        usual_score=gate["usual_score"],
    )
    graph = to_onnx(Outputs(network.eval()), outputs=("logits", "categories"))
    chosen = choose_photos((), arguments.data_path, GROUPS, count=16)
    runtimes = [TorchRuntime(description, network, torch.device("cpu"), bf16) for bf16 in (False, True)]
    model = make_portable(graph, runtimes[0], chosen)
    content = model.file.content
    if model.file.check["bf16_miou_change"] is None:
        # This CPU has no bfloat16, so that OpenVINO cannot show what rounding does; torch can, slowly.
        rounded = compare({"torch": runtimes[0], "torch bf16": runtimes[1]}, chosen)["torch bf16"]
        print(f"bf16, by torch: {rounded}")
        check = dict(model.file.check)
        check["agreement"] = {**check["agreement"], "torch bf16": rounded.to_dict()}
        check |= {"bf16_miou_change": rounded.miou_change, "bf16_share_differing": rounded.share_differing}
        content = add_metadata(graph, description, check)
    write_whole(arguments.output, content)
    for name, one in model.agreements.items():
        print(name, one)


def main() -> None:
    """Pack, train or export."""
    parser = argparse.ArgumentParser(description="Train on one GPU in minutes.")
    commands = parser.add_subparsers(required=True)
    packing = commands.add_parser("pack", help="write one file with all photos")
    packing.add_argument(
        "data_path", type=Path, help="dataset of categories: trains on the fit part, validates on tune"
    )
    packing.add_argument("photos", type=Path, help="folder of the photos without masks")
    packing.add_argument("tags", type=Path, help="JSON file: file name to the groups that the photo shows")
    packing.add_argument("output", type=Path, help="ZIP file to write")
    packing.add_argument("--leave-out", nargs="*", default=[], help="file names of PHOTOS to leave out")
    packing.add_argument("--quality", type=int, default=70, help="of WebP")
    packing.set_defaults(run=pack)
    training = commands.add_parser("train", help="train teacher, student and the last network")
    training.add_argument("photos", type=Path, help="file that pack wrote")
    training.add_argument("weights", type=Path, help="state dict of the encoder")
    training.add_argument("output", type=Path, help="folder to write to")
    training.add_argument("--seconds", type=float, nargs=3, default=(120, 150, 180), help="of the three trainings")
    training.add_argument("--batch-size", type=int, default=32)
    training.add_argument("--rate", type=float, default=1.5e-3)
    training.add_argument("--encoder-rate", type=float, default=0.3)
    training.add_argument("--weight-decay", type=float, default=0.03)
    training.add_argument("--count", type=int, help="photos of each part to take, to try the program")
    training.add_argument("--seed", type=int, default=0)
    training.set_defaults(run=train)
    exporting = commands.add_parser("export", help="write a trained network as a model file")
    exporting.add_argument("network", type=Path, help="NAME.pt of train")
    exporting.add_argument("photos", type=Path, help="file that pack wrote; it names the categories")
    exporting.add_argument("data_path", type=Path, help="dataset of groups whose validation photos check the file")
    exporting.add_argument("output", type=Path, help="file ending in .onnx")
    exporting.add_argument("--presence", type=Path, required=True, help="what presence.py wrote")
    learnt = "datasets that it learnt from, of groups and of categories"
    exporting.add_argument("--learnt", type=Path, nargs=2, required=True, help=learnt)
    exporting.add_argument("--guessed", type=int, default=0, help="photos with guessed masks that it learnt from, too")
    exporting.set_defaults(run=export)
    telling = commands.add_parser("tell", help="write scores into a model file")
    telling.add_argument("model", type=Path, help="file that export wrote")
    telling.add_argument("scores", type=Path, nargs=2, help="its evaluation.json by groups, and by categories")
    telling.add_argument("--others", type=Path, nargs="*", default=(), help="what else was measured of the same graph")
    telling.set_defaults(run=tell)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
