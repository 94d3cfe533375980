"""MobileNetV2 of timm with timm's datasets, loaders and optimizers, in a hand-written loop.

    python timm_loop.py FOLDER EPOCHS        FOLDER holds train/ and val/, each with one folder per class

`create_loader` starts one worker, its default. Its prefetcher needs a GPU. Of its augmentation, the flip and the
largest crop with a ratio between 3 to 4 and 4 to 3 stay; colour jitter is off.
"""

import sys
from pathlib import Path

import timm
import torch
from stamps import Stamps
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from torch.nn.functional import cross_entropy

BATCH_SIZE = 32
INPUT = (3, 224, 224)


def main(folder: Path, epochs: int) -> None:
    stamps = Stamps()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaders = {
        split: create_loader(
            create_dataset("", str(folder), split=split),
            INPUT,
            BATCH_SIZE,
            is_training=split == "train",
            scale=(1.0, 1.0),
            color_jitter=0.0,
            use_prefetcher=device.type == "cuda",
            device=device,
        )
        for split in ("train", "val")
    }
    model = timm.create_model("mobilenetv2_100", num_classes=2).to(device)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=5e-4, weight_decay=0.05)
    for epoch in range(epochs):
        stamps.epoch_begins()
        model.train()
        for images, labels in loaders["train"]:
            images, labels = images.to(device), labels.to(device)
            loss = cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            stamps.step_ends(len(labels))
        model.eval()
        right = seen = 0
        with torch.no_grad():
            for images, labels in loaders["val"]:
                images, labels = images.to(device), labels.to(device)
                right += int((model(images).argmax(dim=1) == labels).sum())
                seen += len(labels)
        print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {right / seen:.3f}")
        torch.save(model.state_dict(), "timm_loop.pt")
    stamps.tell()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
