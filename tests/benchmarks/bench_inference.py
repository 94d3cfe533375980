"""What prediction costs beyond the network: `Predictor.probabilities`, and the stages of `gender_cls.evaluate`.

The first table compares images/s with a bare loop over the same `CropDataset`, with the same network, batch, precision
and layout, in turn, for the custom CNN and MobileNetV2 at 256x128: of the predictor; of the answers of a test on other
data, which are kept as they come; and of answers after BatchNorm was adapted, which takes two passes. The second shows
where the seconds of `python -m gender_cls.evaluate` go, for a run on the demo crops that was trained but not evaluated.

The goal: the predictor and the test reach 0.9 of the bare loop or more, and adapted answers 0.4. Runs for about five
minutes.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from measuring import Table, draw_folders, environment, in_own_process, in_turn, random_classifier, ratio, report

MODELS = ("custom_cnn", "mobilenetv2_100")
SIZE, BATCH, IMAGES, ROUNDS = (256, 128), 32, 256, 5
CROPS = 400  # drawn for the evaluation


def speed(name: str, precision: str) -> dict[str, list[float]]:
    """Return images/s of the predictor, of a test, of adapted answers and of the bare loop, one number per round."""
    import torch

    from gender_cls.data.datamodule import CropDataset, crop_loader
    from gender_cls.data.elsewhere import given_part
    from gender_cls.reports.answers import answer_images
    from gender_cls.runs.result_folder import ResultFolder
    from gender_cls.system.memory import keep_freed_memory
    from gender_cls.system.resources import choose_resources
    from gender_cls.training.batchnorm import adapted_probabilities
    from gender_cls.training.predictor import Predictor

    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw_folders(root / "crops", IMAGES)
        data = {"root": str(root / "crops"), "batch_size": BATCH, "num_workers": 0}
        classifier = random_classifier(name, SIZE, data=data)
        content = {"hyper_parameters": dict(classifier.hparams), "state_dict": classifier.state_dict()}
        torch.save(content, root / "best.ckpt")
        resources = choose_resources("cpu", precision, "auto", 0, pixels_at_hand=False)
        predictor = Predictor(root / "best.ckpt", resources.apply())
        settings = predictor.classifier.settings.data
        part = given_part(settings, root / "cache")
        rows, images = part.table, part.images

        def tested() -> float:
            with tempfile.TemporaryDirectory() as test:
                began = time.perf_counter()
                answer_images(ResultFolder(Path(test)), rows, images, predictor)
                return IMAGES / (time.perf_counter() - began)

        def adapted() -> float:
            began = time.perf_counter()
            adapted_probabilities(predictor, rows, images)
            return IMAGES / (time.perf_counter() - began)

        def predicted() -> float:
            began = time.perf_counter()
            predictor.probabilities(rows, images)
            return IMAGES / (time.perf_counter() - began)

        def bare() -> float:
            trained = predictor.classifier
            weight = next(parameter for parameter in trained.network.parameters() if parameter.dim() == 4)
            last = weight.is_contiguous(memory_format=torch.channels_last)
            layout = torch.channels_last if last else torch.contiguous_format
            began = time.perf_counter()
            answers = []
            mixed = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed")
            with torch.inference_mode(), mixed:
                for pixels, _ in crop_loader(CropDataset(rows, images, settings), batch_size=BATCH):
                    inputs = (pixels.contiguous(memory_format=layout).float() / 255 - trained.mean) / trained.std
                    answers.append(trained.network(inputs).double().softmax(dim=1))
            torch.cat(answers).numpy()
            return IMAGES / (time.perf_counter() - began)

        return in_turn({"predictor": predicted, "test": tested, "adapted": adapted, "bare": bare}, ROUNDS)


STAGES = {
    "final_test._predictions": "validation and test answered",
    "final_test._cost": "cost measured",
    "steps.answer_variants": "test answered again, changed (shortcuts)",
    "steps._explain": "100 images explained and measured",
    "steps.draw_conclusions": "scores, calibration, slices, shift",
    "steps._measured_explanations": "scores of the explanations",
    "result_pages.report_figures": "figures",
    "result_pages.figure_png": "figures as PNG",
    "result_pages.write_events": "TensorBoard",
    "result_pages.render_report": "report",
    "result_pages.render_gallery": "gallery",
    "result_pages.render_model_card": "model card",
}
"""Functions in the room `reports`, and what they do."""


def stages(folder: str) -> dict[str, float]:
    """Return CPU seconds of each stage of an evaluation, imports first."""
    began = time.process_time()
    from gender_cls import evaluate
    from gender_cls.reports import final_test, result_pages, steps
    from gender_cls.training import predictor

    assert predictor
    spent: dict[str, float] = {"imports": time.process_time() - began}

    def timed(name: str, work: Any) -> Any:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return work(*arguments, **named)
            finally:
                spent[name] = spent.get(name, 0.0) + time.process_time() - start

        return wrapped

    modules = {"final_test": final_test, "steps": steps, "result_pages": result_pages}
    for stage, name in STAGES.items():
        module, function = stage.split(".")
        setattr(modules[module], function, timed(name, getattr(modules[module], function)))
    from gender_cls.config.evaluation import EvaluateConfig

    settings = EvaluateConfig(run=folder, output_dir=str(Path(folder).parents[1]), progress_bar=False)
    start = time.process_time()
    evaluate.evaluate(settings)
    whole = time.process_time() - start
    spent["all else"] = whole - sum(seconds for name, seconds in spent.items() if name != "imports")
    return spent


def evaluations() -> Table:
    """Seconds of an evaluation that asks the network everything, and of one that asks it nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        _python("-m", "gender_cls.demo", f"folder={folder / 'demo'}", f"images={CROPS}")
        run = _train(folder)
        first, again = in_own_process(stages, str(run)), in_own_process(stages, str(run))
        began = time.perf_counter()
        _python("-m", "gender_cls.evaluate", f"run={run}", f"output_dir={folder / 'out'}")
        command = time.perf_counter() - began
    table = Table("CPU seconds of python -m gender_cls.evaluate", ["stage", "first time", "once more"])
    table.rows = [[name, first.get(name, 0.0), again.get(name, 0.0)] for name in dict.fromkeys([*first, *again])]
    table.rows += [["together", sum(first.values()), sum(again.values())], ["the command, by the clock", "", command]]
    table.note = f"Custom CNN at 256x128 after one epoch on {CROPS} demo crops; defaults, one thread."
    return table


def _train(folder: Path) -> Path:
    """A run that is trained and not yet tested."""
    asked = [
        f"data.root={folder / 'demo'}", f"data.csv={folder / 'demo' / 'manifest.csv'}", "model=custom_cnn",
        "recipe=scratch", "trainer.max_epochs=1", "trainer.progress_bar=false", "explain=off",
        "evaluation.shortcuts=false", "evaluation.resamples=100", "name=run", f"output_dir={folder / 'out'}",
    ]  # fmt: skip
    _python("-m", "gender_cls.train", *asked)
    run = folder / "out" / "runs" / "run"
    for file in ("predictions.csv", "metrics.json"):
        (run / file).unlink()
    return run


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, env=environment(), stdout=subprocess.DEVNULL)


def main() -> None:
    """Both tables."""
    from gender_cls.system.resources import multiplies_bf16

    columns = ["model", "precision", "bare loop", "predictor", "ratio", "test elsewhere", "ratio", "adapted", "ratio"]
    table = Table("Images/s of a trained network", columns)
    for name in MODELS:
        for precision in ("32-true", "bf16-mixed") if multiplies_bf16() else ("32-true",):
            found = in_own_process(speed, name, precision)
            row: list[Any] = [name, precision, median(found["bare"])]
            for ours in ("predictor", "test", "adapted"):
                row += [median(found[ours]), ratio(found[ours], found["bare"])]
            table.rows.append(row)
    size = f"input {SIZE[0]}x{SIZE[1]}, batch {BATCH}"
    table.note = f"{IMAGES} JPEG files of 60-90 x 150-210, {size}, one thread, pixels cached, {ROUNDS} rounds."
    report("inference", [table, evaluations()])


if __name__ == "__main__":
    main()
