"""A classifier by itself, for a Trainer that is not ours: from the name of a backbone or from any network."""

import os
from collections.abc import Sequence
from typing import Any

from torch import nn

from gender_cls.config.parsing import to_plain
from gender_cls.config.presets import learning_settings, model_settings
from gender_cls.models.backbones import given_backbone
from gender_cls.training.classifier import GenderClassifier


def build_classifier(
    backbone: str | nn.Module,
    *,
    image_size: tuple[int, int] = (256, 128),
    pretrained: bool = True,
    weights: str | os.PathLike[str] | None = None,
    heads: Sequence[str] = (),
    recipe: str | None = None,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    class_weights: Sequence[float] | None = None,
    seed: int = 0,
    **recipe_keys: Any,
) -> GenderClassifier:
    """Make a LightningModule for a Trainer of your own.

    It freezes, warms up, lowers the learning rate and clips as its recipe says. The first weights of what is not
    pretrained are random: call `pytorch_lightning.seed_everything` before, to have the same ones again. A checkpoint of
    a named backbone is read by `GenderClassifier.load_from_checkpoint(file, load=False)`.

    Args:
        backbone: a file in `conf/model/`, such as "mobilenetv2" or "custom_cnn"; any model of timm, or
            "torchvision/NAME"; or your own network: images (B, 3, H, W) float, normalised with timm's mean and std for
            it, or else ImageNet's -> logits (B, 2), FEMALE first.
        image_size: (height, width) in pixels of the images that it will get.
        pretrained: whether a named backbone starts with published weights, which are downloaded once.
        weights: a local file with weights for a named backbone, instead of published ones.
        heads: names of the modules of your own network that make the logits; () finds the last linear layer.
        recipe: a file in `conf/recipe/`; None: finetune if there are weights or the network is your own, else scratch.
        mixup, cutmix: alpha of each, at least 0; 0 switches it off.
        class_weights: weights of the loss for FEMALE and MALE, such as `CropDataModule.class_weights`.
        seed: of dropout, mixup and cutmix.
        recipe_keys: keys of the recipe with other values, such as `lr=3e-4` or `frozen_epochs=1`. `ema_decay`,
            `patience`, `monitor`, `views` and `grad_checkpointing` do nothing: they are callbacks of our own Trainer.

    Raises:
        GenderClsError: a name, a key or a value is wrong; weights cannot be loaded; the network does not give two
            logits for an image of this size.
    """
    given = None
    if isinstance(backbone, nn.Module):
        given = given_backbone(backbone, heads, image_size, channels_last=True)
        model: dict[str, Any] = {"library": "custom", "name": type(backbone).__name__, "pretrained": False}
    else:
        model = model_settings(backbone, pretrained=pretrained, weights=None if weights is None else str(weights))
    has_weights = given is not None or model["pretrained"] or weights is not None
    recipe = recipe or ("finetune" if has_weights else "scratch")
    mixing = {"mixup": mixup, "cutmix": cutmix}
    settings = learning_settings(model, recipe, recipe_keys, image_size, seed=seed, augment=mixing)
    loss_weights = None if class_weights is None else [float(weight) for weight in class_weights]
    return GenderClassifier(to_plain(settings), loss_weights, backbone=given)
