"""Small models as other people publish them: folders of transformers, and ONNX files of other programs."""

import contextlib
import io
import warnings

import cv2
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

ATR = (
    *("Background", "Hat", "Hair", "Sunglasses", "Upper-clothes", "Skirt", "Pants", "Dress", "Belt", "Left-shoe"),
    *("Right-shoe", "Face", "Left-leg", "Right-leg", "Left-arm", "Right-arm", "Bag", "Scarf"),
)


def build(kind):
    """Return a small network of transformers with random weights, and its image processor."""
    import transformers as hf

    labels = {"id2label": dict(enumerate(ATR)), "label2id": {name: number for number, name in enumerate(ATR)}}
    small = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
    vit = {**small, "image_size": 64, "patch_size": 16, **labels}
    square = {"height": 64, "width": 64}
    torch.manual_seed(0)
    if kind == "segformer":
        sizes = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "decoder_hidden_size": 32}
        config = hf.SegformerConfig(**sizes, num_attention_heads=[1, 2, 2, 4], **labels)
        processor = hf.SegformerImageProcessor(size={"height": 96, "width": 64})
        return hf.SegformerForSemanticSegmentation(config), processor
    if kind == "segformer b2":
        sizes = {"depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768}
        config = hf.SegformerConfig(**sizes, **labels)
        return hf.SegformerForSemanticSegmentation(config), hf.SegformerImageProcessor(
            size={"height": 128, "width": 128}
        )
    if kind == "beit":
        config = hf.BeitConfig(
            **vit,
            out_indices=[1, 2, 3, 4],
            use_relative_position_bias=True,
            pool_scales=[1, 2],
            use_auxiliary_head=False,
        )
        return hf.BeitForSemanticSegmentation(config), hf.BeitImageProcessor(size=square)
    if kind == "dpt":
        config = hf.DPTConfig(
            **vit, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 16, 24, 32], fusion_hidden_size=16
        )
        return hf.DPTForSemanticSegmentation(config), hf.DPTImageProcessor(size=square)
    if kind == "mobilevit":
        necks = {"hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 16, 16, 24, 24, 32, 64]}
        config = hf.MobileViTConfig(
            **necks, image_size=64, output_stride=16, num_attention_heads=2, aspp_out_channels=16, **labels
        )
        processor = hf.MobileViTImageProcessor(size={"shortest_edge": 72}, crop_size=square)
        return hf.MobileViTForSemanticSegmentation(config), processor
    stages = {"out_features": ["stage1", "stage2", "stage3", "stage4"], "depths": [1, 1, 1, 1]}
    swin = hf.SwinConfig(image_size=64, embed_dim=8, num_heads=[1, 1, 2, 2], window_size=2, **stages)
    config = hf.UperNetConfig(
        backbone_config=swin, hidden_size=16, pool_scales=[1, 2], auxiliary_in_channels=32, **labels
    )
    return hf.UperNetForSemanticSegmentation(config), hf.SegformerImageProcessor(size=square)


def train_briefly(network, size, steps):
    """Teach the network to tell a pixel's brightness in 18 steps, so that its masks are regions, not noise."""
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    network.train()
    for _ in range(steps):
        coarse = rng.integers(0, 256, (4, 6, 5), np.uint8)
        gray = np.stack([cv2.resize(one, size[::-1], interpolation=cv2.INTER_CUBIC) for one in coarse])
        truth = torch.from_numpy(gray.astype(np.int64) * len(ATR) // 256)
        image = torch.from_numpy(gray / 127.5 - 1).float()[:, None].expand(-1, 3, -1, -1)
        logits = network(pixel_values=image).logits
        logits = torch.nn.functional.interpolate(logits, size, mode="bilinear")
        loss = torch.nn.functional.cross_entropy(logits, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()


def write_folder(kind, folder, steps=30):
    """Save a model of `build`, briefly trained, as its authors would."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        network, processor = build(kind)
        size = processor.crop_size if kind == "mobilevit" else processor.size
        train_briefly(network, (size["height"], size["width"]), steps)
        network.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder


def write_onnx(path, *, size=(96, 64), layout="nchw", classes=4, batch="batch", probabilities=False):
    """Write a network of another program: a convolution that shrinks to a quarter, two outputs, the first of use."""
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(classes, 3, 4, 4)).astype(np.float32)
    is_first = layout == "nchw"
    nodes = [] if is_first else [helper.make_node("Transpose", ["input"], ["planes"], perm=[0, 3, 1, 2])]
    nodes += [
        helper.make_node("Conv", ["input" if is_first else "planes", "weight"], ["scores"], strides=[4, 4]),
        helper.make_node("Softmax", ["scores"], ["parts"], axis=1),
        helper.make_node("Transpose", ["scores"], ["other"], perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["parts"], ["parts last"], perm=[0, 2, 3, 1]),
    ]
    output = {(True, False): "scores", (True, True): "parts", (False, False): "other", (False, True): "parts last"}
    shape = [batch, 3, *size] if is_first else [batch, *size, 3]
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("input", float32, shape)],
        [
            helper.make_tensor_value_info(output[is_first, probabilities], float32, [None] * 4),
            helper.make_tensor_value_info("scores" if probabilities else "parts", float32, [None] * 4),
        ],
        [numpy_helper.from_array(weight, "weight")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
