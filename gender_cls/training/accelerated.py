"""What training does differently on a GPU."""

from gender_cls.config.train import AugmentConfig, Config
from gender_cls.data.augmentation import build_augmentation
from gender_cls.data.datamodule import CropDataModule
from gender_cls.data.device_augmentation import DeviceAugmentation, divide
from gender_cls.system.resources import Resources
from gender_cls.training.classifier import GenderClassifier


def augment_on_device(classifier: GenderClassifier, datamodule: CropDataModule) -> None:
    """Leave to the data loader only what cannot be done to a batch; the classifier does the rest.

    The loader's processes then have little more to do than to hand over pixels. On a CPU it would gain nothing: there
    a picture at a time stays in the cache.
    """
    in_loader, on_device = divide(classifier.settings.augment)
    datamodule.datasets["train"].augmentation = build_augmentation(in_loader)
    classifier.augmentation = DeviceAugmentation(on_device)


def said_of_cuda(config: Config, resources: Resources) -> str:
    """A sentence for the terminal: what is on."""
    in_loader, _ = divide(config.augment)
    before = [
        name for name, on in (("RandAugment", in_loader.rand_augment), ("JPEG compression", in_loader.jpeg)) if on
    ]
    augmentation = "no augmentation"
    if config.augment != AugmentConfig():
        augmentation = "augmentation on the GPU" + (f" after {' and '.join(before)} in the loader" if before else "")
    return ", ".join(
        [
            f"On the GPU: {resources.precision}",
            "channels last" if config.trainer.channels_last else "channels first",
            augmentation,
            "batches copied from pinned memory",
            "kernels of cuDNN chosen by trial",
            "no TF32",
            f"torch.compile {'on' if config.trainer.compile else 'off'} (trainer.compile).",
        ]
    )
