"""What `python -m gender_cls.predict` costs beyond decoding and the network, when it shows a first row, and its memory.

The first table compares images per CPU second of predict's work, from files to rows that are kept, with a bare loop
that decodes, resizes and answers the same files in the same batches and precision, in turn, for the custom CNN and
MobileNetV2 at 256x128. The second has the seconds from the start of the command until its first rows are on the disk,
and until its end. The third has the most memory of any of its processes for up to a million boxes in one picture, with
an exported model that costs next to nothing.

The goal: 0.9 of the bare loop, a first row within 8 s, a million rows in 2 GiB. Runs for about ten minutes, most of it
for the million.
"""

import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

from measuring import Table, cpu_seconds, draw_crop, draw_folders, environment, in_own_process, in_turn, ratio, report

MODELS = ("custom_cnn", "mobilenetv2")
IMAGES, ROUNDS = 512, 5
ROWS = (1_000, 100_000, 1_000_000)


def speed(run: str, images: str) -> dict[str, list[float]]:
    """Images per CPU second of predict and of the bare loop, one number per round."""
    import torch
    from torchvision.transforms.v2.functional import pil_to_tensor

    from gender_cls.config.predict import PredictConfig
    from gender_cls.data.image_files import read_image
    from gender_cls.data.resizing import resize_into
    from gender_cls.predict.answering import Answerer, answer_rows
    from gender_cls.predict.request import requested_images
    from gender_cls.predict.store import PredictionFolder
    from gender_cls.runs.run import Run
    from gender_cls.system.memory import keep_freed_memory

    keep_freed_memory()
    config = PredictConfig(run=run, images=images, threads=1, num_workers=0, progress_bar=False)
    answerer = Answerer.of(config, [Run(Path(run))])
    [model] = answerer.models
    rows = requested_images(config, answerer).rows
    form, size = model.form, model.batch_size

    trained = model.predictor.device_classifier()
    weight = next(parameter for parameter in trained.network.parameters() if parameter.dim() == 4)
    last = weight.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=model.predictor.precision == "bf16-mixed")

    def predicted() -> None:
        with tempfile.TemporaryDirectory() as folder:
            answer_rows(rows, answerer, PredictionFolder(Path(folder)), config)

    def bare() -> None:
        paths, answers = rows["path"].tolist(), []
        for start in range(0, len(paths), size):
            files = paths[start : start + size]
            pixels = torch.empty((len(files), form.height, form.width, 3), dtype=torch.uint8)
            for place, file in enumerate(files):
                resize_into(pixels[place], pil_to_tensor(read_image(Path(file), 100).image), form.mode)
            images = pixels.permute(0, 3, 1, 2).contiguous(memory_format=layout)
            with torch.inference_mode(), mixed:
                inputs = (images.float() / 255 - trained.mean) / trained.std
                answers.append(trained.network(inputs).double().softmax(dim=1))
        torch.cat(answers).numpy()

    timed = in_turn(
        {name: partial(cpu_seconds, work) for name, work in (("predict", predicted), ("bare", bare))}, ROUNDS
    )
    return {name: [len(rows) / one for one in spent] for name, spent in timed.items()}


def seconds(run: Path, images: Path) -> tuple[float, float]:
    """From the start of the command until its first rows are on the disk, and until its end."""
    began, first = time.perf_counter(), None
    with subprocess.Popen(_command(run, images), env=environment(), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if first is None and list((run / "predictions" / images.name).glob("begun/*.csv")):
                first = time.perf_counter() - began
            time.sleep(0.02)
    assert first is not None
    assert process.returncode == 0
    return first, time.perf_counter() - began


def memory(rows: int) -> tuple[float, float]:
    """Seconds of predict for so many boxes, and the MiB of its largest process."""
    import numpy as np

    sys.path.append(str(Path(__file__).parents[1]))
    from helpers.exported import example_metadata, write_mean_colour

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_crop(rng, 400, 300).save(folder / "picture.png")
        places = zip(rng.integers(0, 380, rows), rng.integers(0, 280, rows), strict=True)
        lines = (f"picture.png,{number // 50},{left},{top},8,16\n" for number, (left, top) in enumerate(places))
        with (folder / "boxes.csv").open("w") as file:
            file.write("path,track,left,top,width,height\n")
            file.writelines(lines)
        model = write_mean_colour(folder / "model.onnx", example_metadata().to_texts())
        began = time.perf_counter()
        subprocess.run(_command(model, folder / "boxes.csv"), env=environment(), stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def _command(run: Path, images: Path) -> list[str]:
    return [sys.executable, "-m", "gender_cls.predict", f"run={run}", f"images={images}", "progress_bar=false"]


def _train(folder: Path, model: str) -> Path:
    """A run that was tested, after one epoch of a frozen network with random weights."""
    asked = [
        f"data.root={folder / 'crops'}", f"model={model}", "model.pretrained=false", "recipe=linear_probe",
        "data.pattern=(?P<identity>p\\d+)_", "trainer.max_epochs=1", "trainer.progress_bar=false", "explain=off",
        "evaluation.shortcuts=false", "evaluation.resamples=100", f"name={model}", f"output_dir={folder / 'out'}",
    ]  # fmt: skip
    command = [sys.executable, "-m", "gender_cls.train", *asked]
    subprocess.run(command, check=True, env=environment(), stdout=subprocess.DEVNULL)
    return folder / "out" / "runs" / model


def main() -> None:
    """All three tables."""
    loop = Table("Images per CPU second, from files to rows", ["model", "bare loop", "predict", "ratio"])
    start = Table("Seconds of the command", ["model", "first rows", f"all {IMAGES} images"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        draw_folders(folder / "crops", IMAGES)
        for model in MODELS:
            run = _train(folder, model)
            found = in_own_process(speed, str(run), str(folder / "crops"))
            share = ratio(found["predict"], found["bare"])
            loop.rows.append([model, median(found["bare"]), median(found["predict"]), share])
            start.rows.append([model, *seconds(run, folder / "crops")])
    many = Table("Memory", ["rows", "seconds", "MiB of the largest process"])
    many.rows = [[rows, *in_own_process(memory, rows)] for rows in ROWS]
    loop.note = (
        f"{IMAGES} JPEG files of 60-90 x 150-210, input 256x128, one thread, no loader processes, {ROUNDS} rounds."
    )
    start.note = "One thread; the number of loader processes is the command's own choice."
    many.note = "Boxes of 8 x 16 pixels in one picture, tracks of 50, an exported model that looks at the mean colour."
    report("predict", [loop, start, many])


if __name__ == "__main__":
    main()
