"""One backbone through everything that a run does with it, from building to explaining."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from helpers.classifiers import config_of, random_images, trainer_for
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

from gender_cls.config.explain import Method
from gender_cls.config.parsing import to_plain
from gender_cls.explain.attribution import attribute
from gender_cls.explain.randomisation import randomisation_check
from gender_cls.models.cost import count_flops
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.load_checkpoint import load_classifier

METHODS = (Method.saliency, Method.grad_cam)
STEPS = ("build", "average", "train", "load", "predict", "flops", "maps", "randomise")
IMAGES = 2  # fewer have no variance in BatchNorm behind global pooling


def walk(
    library: str, name: str, size: tuple[int, int], folder: Path, **options: Any
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The steps in their order, to be called one after the other; each raises an error if its result is wrong."""
    state: dict[str, Any] = {}
    images, labels = random_images(IMAGES, size), torch.arange(IMAGES) % 2

    def build() -> None:
        torch.manual_seed(0)
        model = {"library": library, "name": name, "pretrained": False, "options": options}
        settings = config_of(data={"image_size": list(size)}, model=model, recipe={"warmup_epochs": 0.0, "lr": 1e-3})
        state["classifier"] = GenderClassifier(to_plain(settings))
        _ = state["classifier"].feature_map  # training finds it before its first step; its gradients must not stay

    def average() -> None:
        AveragedModel(state["classifier"])  # as EMAWeightAveraging does before the first step

    def train() -> None:
        """Two epochs of one step, each with a validation."""
        classifier, kept = state["classifier"], []
        loader = DataLoader(TensorDataset(images, labels), batch_size=IMAGES)
        trainer = trainer_for(log_every_n_steps=1)
        with classifier.network.register_forward_hook(lambda _, __, logits: kept.append(logits.detach())):
            trainer.fit(classifier, loader, loader)
        state["validated"] = kept[-1]
        trainer.save_checkpoint(folder / "best.ckpt", weights_only=True)

    def load() -> None:
        """What is tested later answers as what was validated."""
        state["loaded"] = loaded = load_classifier(folder / "best.ckpt")
        with torch.no_grad():
            torch.testing.assert_close(loaded(images), state["validated"], rtol=1e-3, atol=1e-3)

    def predict() -> None:
        [batch] = trainer_for().predict(state["loaded"], DataLoader(TensorDataset(images, labels), batch_size=IMAGES))
        assert batch.shape == (IMAGES, 2)
        torch.testing.assert_close(batch.sum(dim=1), torch.ones(IMAGES, dtype=torch.float64))

    def count() -> None:
        flops = count_flops(state["loaded"].network, size, name)
        assert flops is None or flops > 0

    def explained() -> tuple[Any, ...]:
        loaded = state["loaded"]
        return loaded.network, loaded.normalise(images), loaded.heads, loaded.feature_map

    def maps() -> None:
        network, inputs, _, feature_map = explained()
        found = attribute(network, inputs, METHODS, feature_map).maps
        assert all(one.shape == (IMAGES, *size) and one.isfinite().all() for one in found.values())

    def randomise() -> None:
        network, inputs, heads, feature_map = explained()
        stages = randomisation_check(network, inputs, labels, heads, METHODS, feature_map)
        assert stages[-1].share == 1
        assert any(np.isfinite(one).all() for one in stages[-1].similarity.values())

    steps = (build, average, train, load, predict, count, maps, randomise)
    yield from zip(STEPS, steps, strict=True)
    state.clear()
