"""MobileNetV2 of torchvision in a model file of ultralytics, with its classification training.

    python ultralytics_classify.py FOLDER EPOCHS        FOLDER holds train/ and val/, each with one folder per class

Its defaults: on a CPU no workers, float32, averaged weights, the best and the last checkpoint; figures are off. Its
classification head would add a convolution, so the model file ends as MobileNetV2 does. Of its augmentation, the flip
and the largest crop with a ratio between 3 to 4 and 4 to 3 stay. By default it leaves one CPU free; here it uses all.
"""

import os
import sys
from pathlib import Path

import torch
from stamps import Stamps
from ultralytics import YOLO

MODEL = """\
nc: 2
backbone:
  - [-1, 1, TorchVision, [1280, mobilenet_v2, null, True, 1]]
head:
  - [-1, 1, nn.AdaptiveAvgPool2d, [1]]
  - [-1, 1, nn.Flatten, []]
  - [-1, 1, nn.Dropout, [0.2]]
  - [-1, 1, nn.Linear, [1280, nc]]
"""


def main(folder: Path, epochs: int) -> None:
    stamps = Stamps()
    model_file = Path("mobilenetv2-cls.yaml")
    model_file.write_text(MODEL)
    model = YOLO(str(model_file), task="classify")
    parameters = sum(parameter.numel() for parameter in model.model.parameters())
    assert parameters == 2_226_434, f"{parameters:,} parameters are not MobileNetV2's for two classes"
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"])))
    model.add_callback("on_train_epoch_start", lambda _: stamps.epoch_begins())
    # The callback is not given the batch, whose size is the loader's but for a last one.
    model.add_callback("on_train_batch_end", lambda trainer: stamps.step_ends(trainer.batch_size))
    model.train(
        data=str(folder),
        project=str(Path.cwd()),
        epochs=epochs,
        batch=32,
        imgsz=224,
        device="cpu",
        pretrained=False,
        plots=False,
        auto_augment=None,
        scale=0.0,
        hsv_h=0.0,
        hsv_s=0.0,
        hsv_v=0.0,
        erasing=0.0,
    )
    stamps.tell()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
