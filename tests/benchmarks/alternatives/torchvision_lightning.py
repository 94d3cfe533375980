"""MobileNetV2 of torchvision in a LightningModule, as in Lightning's image tutorials.

    python torchvision_lightning.py FOLDER EPOCHS        FOLDER holds train/ and val/, each with one folder per class

A DataLoader gets half as many workers as there are CPUs, as in those tutorials; the Trainer has its defaults.
"""

import os
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from stamps import Stamps
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchmetrics.functional import accuracy
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import mobilenet_v2

BATCH_SIZE = 32
NUM_WORKERS = os.cpu_count() // 2
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class MobileNet(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = mobilenet_v2(num_classes=2)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = cross_entropy(self.network(images), labels)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        logits = self.network(images)
        self.log("val_loss", cross_entropy(logits, labels), prog_bar=True)
        self.log("val_acc", accuracy(logits.argmax(dim=1), labels, task="multiclass", num_classes=2), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Stamping(pl.Callback):
    def __init__(self, stamps: Stamps) -> None:
        self.stamps = stamps

    def on_train_epoch_start(self, trainer, module):
        self.stamps.epoch_begins()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.stamps.step_ends(len(batch[1]))


def main(folder: Path, epochs: int) -> None:
    stamps = Stamps()
    to_input = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    training = transforms.Compose([transforms.Resize((224, 224)), transforms.RandomHorizontalFlip(), *to_input])
    validation = transforms.Compose([transforms.Resize((224, 224)), *to_input])
    train_set = ImageFolder(str(folder / "train"), training)
    val_set = ImageFolder(str(folder / "val"), validation)
    train_loader = DataLoader(train_set, batch_size=BATCH_SIZE, shuffle=True, num_workers=NUM_WORKERS)
    val_loader = DataLoader(val_set, batch_size=BATCH_SIZE, num_workers=NUM_WORKERS)
    trainer = pl.Trainer(max_epochs=epochs, callbacks=[Stamping(stamps)])
    trainer.fit(MobileNet(), train_loader, val_loader)
    stamps.tell()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
