"""What training does differently on a GPU."""

from gender_cls.config.train import AugmentConfig, Config
from gender_cls.data.augmentation import build_augmentation, split_by_device
from gender_cls.data.datamodule import CropDataModule
from gender_cls.system.resources import Resources
from gender_cls.training.classifier import GenderClassifier


def augment_on_device(classifier: GenderClassifier, datamodule: CropDataModule) -> None:
    """Move all augmentation that works on whole batches from the data loader to the device.

    The loader's processes then do little more than hand over pixels. On a CPU nothing would be gained: one image at a
    time stays in the processor's cache.
    """
    in_loader, on_device = split_by_device(classifier.settings.augment)
    datamodule.datasets["train"].augmentation = build_augmentation(in_loader)
    classifier.augmentation = build_augmentation(on_device)


def describe_cuda(config: Config, resources: Resources) -> str:
    """Return a sentence that tells what is switched on for a GPU."""
    in_loader, _ = split_by_device(config.augment)
    before = [
        name for name, on in (("RandAugment", in_loader.rand_augment), ("JPEG compression", in_loader.jpeg)) if on
    ]
    augmentation = "no augmentation"
    if config.augment != AugmentConfig():
        augmentation = "augmentation on the GPU" + (f" after {' and '.join(before)} in the loader" if before else "")
    layout = "channels last" if config.trainer.channels_last else "channels first"
    return (
        f"On the GPU: {resources.precision}, {layout}, {augmentation}, batches copied from pinned memory, kernels of "
        f"cuDNN chosen by trial, no TF32, torch.compile {'on' if config.trainer.compile else 'off'} (trainer.compile)."
    )
