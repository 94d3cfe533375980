"""A training nobody keeps: real steps of a network with random weights, to see how much memory they take."""

from contextlib import AbstractContextManager
from itertools import chain

import torch
from pytorch_lightning import Trainer
from torch.nn.functional import cross_entropy

from gender_cls.config.parsing import to_plain
from gender_cls.config.train import Config
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.gradient_checkpointing import still_statistics, switch_checkpointing
from gender_cls.training.optimizer import adamw
from gender_cls.training.recipe import parameter_groups, set_trainable


class TrialTraining:
    """A classifier and its optimizer as `config` wants them, on the device and of the precision that training uses.

    It is of its own: no weight, statistic or random number of another one is touched.

    Args:
        precision: one of Lightning's.
        device: cpu, cuda or mps.
    """

    def __init__(self, config: Config, precision: str, device: str) -> None:
        trainer = Trainer(
            accelerator=device,
            devices=1,
            precision=precision,  # type: ignore[arg-type]  # a str that the schema has checked
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        self._plugin = trainer.precision_plugin
        self._device = torch.device(device)
        recipe = config.recipe
        with self._random_numbers_kept():
            classifier = GenderClassifier(to_plain(config), load=False)
            self._plugin.convert_module(classifier)
            self._classifier = classifier.to(self._device)
        network = classifier.network
        set_trainable(network, classifier.heads, classifier.trainable, backbone=recipe.frozen_epochs is not None)
        if recipe.grad_checkpointing:
            switch_checkpointing(network, True, config.model.title)
        if recipe.ema_decay is not None:
            self._average = [parameter.detach().clone() for parameter in network.parameters()]
        groups = parameter_groups(network, classifier.heads, recipe)
        self._optimizer = adamw(groups, scaled_gradients=trainer.scaler is not None)

    def step(self, images: int, accumulate: int = 1) -> None:
        """Forward and backward passes of so many random images, so many times, and one step of the optimizer."""
        classifier, device = self._classifier, self._device
        shape = (images, 3, *classifier.image_size)
        labels = torch.arange(images, device=device) % 2
        with self._random_numbers_kept():
            for _ in range(accumulate):
                pixels = torch.randint(0, 256, shape, dtype=torch.uint8).to(device)
                with self._plugin.train_step_context():
                    loss = cross_entropy(classifier(pixels), labels) / accumulate
                with still_statistics(classifier.network):
                    loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    @property
    def held_bytes(self) -> int:
        """Of weights and of what the optimizer keeps, between two steps."""
        groups = self._optimizer.param_groups
        parameters = list(chain.from_iterable(group["params"] for group in groups))
        states = chain.from_iterable(self._optimizer.state[parameter].values() for parameter in parameters)
        return sum(tensor.nbytes for tensor in (*parameters, *states) if isinstance(tensor, torch.Tensor))

    def _random_numbers_kept(self) -> AbstractContextManager[None]:
        on_gpu = self._device.type == "cuda"
        return torch.random.fork_rng(devices=range(torch.cuda.device_count()) if on_gpu else [])
