"""Lightning's Trainer for the devices of a run."""

import os
from inspect import signature
from typing import Any

from lightning_fabric.plugins.environments import ClusterEnvironment, LightningEnvironment, TorchElasticEnvironment
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.nn.parallel import DistributedDataParallel

from gender_cls.errors import GenderClsError
from gender_cls.training import ranks

# The option that copies buffers from rank 0 before each forward pass. It is off: a rank that has one validation batch
# more than others would wait forever, and the classifier averages the buffers that change in training.
BUFFERS = "forward_sync_buffers"
if BUFFERS not in signature(DistributedDataParallel).parameters:  # torch before 2.13
    BUFFERS = "broadcast_buffers"


def build_trainer(accelerator: str, precision: str, **options: Any) -> Trainer:
    """Return a Trainer that prints and writes nothing unless the options say so.

    It uses one device. In a process that has joined others (`ranks.joined`), it uses one device for each of them.
    Lightning detects nothing: variables of Slurm or torchrun around a training by itself do not matter.

    Raises:
        GenderClsError: there is no such accelerator, or it does not compute in this precision.
    """
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    environment: ClusterEnvironment = LightningEnvironment()
    devices: dict[str, Any] = {"devices": 1}
    if ranks.number() > 1:
        environment = TorchElasticEnvironment()
        strategy = DDPStrategy(**dict[str, Any]({BUFFERS: False}))
        here = ranks.number_here()
        devices = {"devices": here, "num_nodes": ranks.number() // here, "strategy": strategy}
        devices["use_distributed_sampler"] = False  # the loaders give each rank its images
    devices |= {"accelerator": accelerator, "precision": precision}
    plugins = [environment, *options.pop("plugins", ())]
    defaults: dict[str, Any] = dict.fromkeys(off, False)
    defaults["default_root_dir"] = os.devnull  # with Slurm's variables, Lightning would load an `hpc_ckpt_*.ckpt` there
    # Lightning has taken it from such variables, and only rank 0 writes events.
    rank_zero_only.rank = ranks.rank()  # type: ignore[attr-defined]  # an attribute of a function
    try:
        trainer = Trainer(**devices, plugins=plugins, **{**defaults, **options})
    except MisconfigurationException as error:
        given = f"accelerator={accelerator} with precision={precision}"
        raise GenderClsError(f"{given} cannot be used on this machine: {error}") from error
    # `Preemption` stops between steps. Lightning's handler of SIGTERM stops anywhere and waits for the other ranks, and
    # what it sends to them in each batch makes a GPU wait.
    # Both are private, and there is no setting for them.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]  # see above
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]  # see above
    return trainer


def expect_gradients(trainer: Trainer) -> None:
    """Let several ranks exchange the gradients of those weights that learn from now on, and of no others.

    Otherwise they would wait for gradients of a frozen backbone, or search the graph for them in every step.
    """
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy):
        strategy.model = strategy.lightning_module
        strategy.configure_ddp()
