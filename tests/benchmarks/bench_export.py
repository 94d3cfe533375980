"""What an exported model costs to run on the CPU, next to the network that it was exported from.

Milliseconds per image, from resized pixels in memory to answers, one image at a time and in batches of 32: in torch, in
float32 and (where the processor multiplies it) in bf16, as the report's own test may have run; in ONNX Runtime; and in
OpenVINO, which reads the same `model.onnx`. All in turn, on one thread, for the custom CNN and MobileNetV2 at 256x128
with random weights.

The goal: the exported file is not slower than torch in float32. Runs for about two minutes.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from measuring import Table, in_own_process, in_turn, random_classifier, ratio, report

MODELS = ("custom_cnn", "mobilenetv2_100")
SIZE, BATCHES, ROUNDS = (256, 128), (1, 32), 15
CALLS = {1: 8, 32: 1}  # in each round


def milliseconds(name: str) -> dict[str, list[list[float]]]:
    """By what runs the network: for each of BATCHES, milliseconds per image in every round."""
    import numpy as np
    import openvino
    import torch

    sys.path.append(str(Path(__file__).parents[1]))
    from helpers.exported import example_metadata

    from gender_cls.evaluation.decisions import DecisionRule
    from gender_cls.export.graph import ExportedGraph
    from gender_cls.export.onnx_file import write_onnx
    from gender_cls.models.onnx_model import OnnxModel
    from gender_cls.system.memory import keep_freed_memory
    from gender_cls.system.resources import choose_resources, multiplies_bf16
    from gender_cls.training.predictor import Predictor

    keep_freed_memory()
    pixels = np.random.default_rng(0).integers(0, 256, (max(BATCHES), *SIZE, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        classifier, file, checkpoint = (
            random_classifier(name, SIZE),
            Path(folder) / "model.onnx",
            Path(folder) / "best.ckpt",
        )
        torch.save({"hyper_parameters": dict(classifier.hparams), "state_dict": classifier.state_dict()}, checkpoint)
        write_onnx(
            ExportedGraph(classifier, DecisionRule(1.5, 0.5, (0.4, 0.6)), native=False), example_metadata(), file
        )

        def in_torch(precision: str) -> Callable[[Any], Any]:
            predictor = Predictor(checkpoint, choose_resources("cpu", precision, 1, 0, pixels_at_hand=True).apply())
            return lambda batch: predictor.answer(torch.from_numpy(batch).permute(0, 3, 1, 2))

        precisions = ("32-true", "bf16-mixed") if multiplies_bf16() else ("32-true",)
        forms = {f"torch, {precision}": in_torch(precision) for precision in precisions}
        forms["ONNX Runtime"] = OnnxModel(file, 1).outputs
        options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        forms["OpenVINO"] = openvino.Core().compile_model(file, "CPU", options)

        def timed(call: Callable[[Any], Any], batch: int) -> float:
            began = time.perf_counter()
            for _ in range(CALLS[batch]):
                call(pixels[:batch])
            return 1000 * (time.perf_counter() - began) / (CALLS[batch] * batch)

        measured = {
            batch: in_turn(
                {form: lambda call=call, batch=batch: timed(call, batch) for form, call in forms.items()}, ROUNDS
            )
            for batch in BATCHES
        }
    return {form: [measured[batch][form] for batch in BATCHES] for form in forms}


def main() -> None:
    """Each model in its own process."""
    heads = [head.format(batch) for batch in BATCHES for head in ("ms, batch {}", "times as fast as torch, 32-true")]
    table = Table("Milliseconds per image", ["model", "run by", *heads])
    for name in MODELS:
        found = in_own_process(milliseconds, name)
        eager = found["torch, 32-true"]
        for form, measured in found.items():
            pairs = zip(eager, measured, strict=True)
            table.rows.append(
                [name, form, *(cell for one, other in pairs for cell in (median(other), ratio(one, other)))]
            )
    table.note = f"Input {SIZE[0]}x{SIZE[1]}, one thread, medians of {ROUNDS} rounds, measured in turn."
    report("export", [table])


if __name__ == "__main__":
    main()
