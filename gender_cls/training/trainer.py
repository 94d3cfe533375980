"""Lightning's Trainer for the devices of a run."""

import os
from typing import Any

from lightning_fabric.plugins.environments import ClusterEnvironment, LightningEnvironment, TorchElasticEnvironment
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from gender_cls.errors import GenderClsError
from gender_cls.training import ranks


def build_trainer(accelerator: str, precision: str, *, freezes: bool = False, **options: Any) -> Trainer:
    """Return a Trainer that prints and writes nothing unless the options say so.

    It uses one device. In a process that has joined others (`ranks.joined`), it uses one device for each of them.
    Lightning detects nothing: variables of Slurm or torchrun around a training by itself do not matter.

    Args:
        freezes: whether some weights get no gradients in some epochs.

    Raises:
        GenderClsError: there is no such accelerator, or it does not compute in this precision.
    """
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    environment: ClusterEnvironment = LightningEnvironment()
    devices: dict[str, Any] = {"devices": 1}
    if ranks.number() > 1:
        environment = TorchElasticEnvironment()
        # The buffers of a rank that still validates must not wait for another one: GenderClassifier averages them.
        strategy = DDPStrategy(find_unused_parameters=freezes, broadcast_buffers=False)
        here = ranks.number_here()
        devices = {"devices": here, "num_nodes": ranks.number() // here, "strategy": strategy}
        devices["use_distributed_sampler"] = False  # the loaders give each rank its images
    devices |= {"accelerator": accelerator, "precision": precision}
    plugins = [environment, *options.pop("plugins", ())]
    defaults: dict[str, Any] = dict.fromkeys(off, False)
    defaults["default_root_dir"] = os.devnull  # with Slurm's variables, Lightning would load an `hpc_ckpt_*.ckpt` there
    try:
        trainer = Trainer(**devices, plugins=plugins, **{**defaults, **options})
    except MisconfigurationException as error:
        given = f"accelerator={accelerator} with precision={precision}"
        raise GenderClsError(f"{given} cannot be used on this machine: {error}") from error
    # `Preemption` stops between steps. Lightning's handler of SIGTERM stops anywhere and waits for the other ranks, and
    # what it sends to them in each batch makes a GPU wait.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
    return trainer
