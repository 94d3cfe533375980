"""Small exported models, made without torch."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from gender_cls.models.exported import ANSWERS, OUTPUTS, Metadata

WEIGHTS = np.array([[0.02, -0.02], [-0.01, 0.01], [0.005, 0.0]], np.float32)
BIAS = np.array([-0.5, 0.25], np.float32)


def example_metadata(**changes: Any) -> Metadata:
    values: dict[str, Any] = {
        "model": "custom/custom_cnn", "classes": ["FEMALE", "MALE"], "answers": list(ANSWERS), "image_size": [8, 4],
        "resize_mode": "stretch", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "temperature": 2.0,
        "threshold": 0.6, "band": [0.55, 0.65], "test_precision": "32-true", "weights": "float32", "native": False,
        "checkpoint_sha256": "0" * 64, "manifest_sha256": "1" * 64, "licence": None, "test": {}, "limits": "None.",
        "gender_cls": "0",
    }  # fmt: skip
    return Metadata(**{**values, **changes})


def mean_colour_logits(images: ArrayLike) -> NDArray[np.float32]:
    """(B, H, W, 3) -> (B, 2): what the graph of `write_mean_colour` computes."""
    return np.asarray(images, np.float32).mean(axis=(1, 2)) @ WEIGHTS + BIAS


def write_mean_colour(file: Path, texts: dict[str, str]) -> Path:
    """Write a model that looks at the mean colour; the calibrated probability has temperature 2, the threshold is 0.6.

    Args:
        texts: the metadata.
    """
    constants = {"weights": WEIGHTS, "bias": BIAS, "two": np.float32(2), "limit": np.float32(0.6), "first": np.int64(0)}
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "places"], ["colour"], keepdims=0),
        helper.make_node("Gemm", ["colour", "weights", "bias"], ["logits"]),
        helper.make_node("Div", ["logits", "two"], ["cooled"]),
        helper.make_node("Softmax", ["cooled"], ["both"], axis=1),
        helper.make_node("Gather", ["both", "first"], ["probability"], axis=1),
        helper.make_node("Less", ["probability", "limit"], ["below"]),
        helper.make_node("Cast", ["below"], ["answer"], to=TensorProto.INT64),
    ]
    for node in nodes:
        node.name = f"make_{node.output[0]}"
    kinds = dict(zip(OUTPUTS, (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT64), strict=True))
    shapes = dict(zip(OUTPUTS, (["B", 2], ["B"], ["B"]), strict=True))
    graph = helper.make_graph(
        nodes,
        "mean_colour",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["B", 8, 4, 3])],
        [helper.make_tensor_value_info(name, kinds[name], shapes[name]) for name in OUTPUTS],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
        + [numpy_helper.from_array(np.array([1, 2]), "places")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, texts)
    onnx.save(model, file)
    return file
