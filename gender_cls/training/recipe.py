"""What trains when, and how fast: freeze schedule, parameter groups, learning-rate schedule.

Schedules are pure functions of the recipe and of the epoch or step, so a resumed run goes on as if uninterrupted.
"""

import math
from collections.abc import Callable, Collection
from typing import Any

from timm.optim import param_groups_layer_decay
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gender_cls.config.train import RecipeConfig
from gender_cls.errors import require


def trains_backbone(recipe: RecipeConfig, epoch: int) -> bool:
    """Whether the backbone learns in this epoch (counted from 0), or only the head."""
    return recipe.frozen_epochs is not None and epoch >= recipe.frozen_epochs


def set_trainable(network: nn.Module, heads: Collection[str], trainable: Collection[str], backbone: bool) -> None:
    """Put the network in training mode for an epoch in which the backbone learns, or only the head.

    A frozen backbone needs no gradients and stays in eval mode, so that its BatchNorm statistics do not change.

    Args:
        heads: names of the modules inside that belong to the head.
        trainable: names of the parameters that may learn at all (some architectures fix a few).
    """
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in trainable and (backbone or _in_head(name, heads)))
    network.train(backbone)
    for head in heads:
        network.get_submodule(head).train()


def learning_statistics(network: nn.Module) -> list[Tensor]:
    """The running statistics that change in training, and that each rank has its own of."""
    return [
        statistic
        for module in network.modules()
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm) and module.training
        for statistic in (module.running_mean, module.running_var)
        if statistic is not None
    ]


def _in_head(parameter: str, heads: Collection[str]) -> bool:
    return any(parameter.startswith(f"{head}.") for head in heads)


def parameter_groups(network: Any, heads: Collection[str], recipe: RecipeConfig) -> list[dict[str, Any]]:
    """Return groups for an optimizer: with their learning rate and weight decay, and `backbone` or `head` as `part`.

    timm decides which parameters get no weight decay (norms, biases, position embeddings) and, for
    `recipe.layer_decay`, the depth of each layer. It only notes a scale that no scheduler reads, so the rates are
    multiplied here.
    """
    no_decay = network.no_weight_decay() if hasattr(network, "no_weight_decay") else ()
    if not hasattr(network, "group_matcher"):  # not timm's: it then counts the depth in parameters below the head
        network.pretrained_cfg = {"classifier": list(heads)}
    head_parameters = {id(parameter) for name, parameter in network.named_parameters() if _in_head(name, heads)}
    groups: dict[tuple[str, float, float], dict[str, Any]] = {}
    for layer in param_groups_layer_decay(
        network, weight_decay=recipe.weight_decay, no_weight_decay_list=no_decay, layer_decay=recipe.layer_decay
    ):
        for parameter in layer["params"]:
            in_head, decay = id(parameter) in head_parameters, layer["weight_decay"]
            part = "head" if in_head else "backbone"
            rate = recipe.lr * (1.0 if in_head else layer["lr_scale"] * recipe.backbone_lr_factor)
            group = {"params": [], "lr": rate, "weight_decay": decay, "part": part}
            groups.setdefault((part, rate, decay), group)["params"].append(parameter)
    return list(groups.values())


def rate_factors(recipe: RecipeConfig, steps: float, per_epoch: float) -> dict[str, Callable[[int], float]]:
    """For `head` and `backbone`: step -> factor of the learning rate, see `lr_factor`.

    Those of the backbone begin when it starts to learn.

    Args:
        steps: of the whole training.
        per_epoch: steps of an epoch, a whole number.

    Raises:
        GenderClsError: one of them is not known.
    """
    known = math.isfinite(steps) and math.isfinite(per_epoch)
    require(known, "The learning rate falls until the end of the training: give the Trainer max_epochs.")
    total, per_epoch = int(steps), int(per_epoch)
    warmup = round(recipe.warmup_epochs * per_epoch)
    frozen = total if recipe.frozen_epochs is None else recipe.frozen_epochs * per_epoch

    def factor(first_step: int) -> Callable[[int], float]:
        return lambda step: lr_factor(step, first_step, warmup, total)

    return {"head": factor(0), "backbone": factor(frozen)}


def lr_factor(step: int, first_step: int, warmup_steps: int, total_steps: int) -> float:
    """Linear warm-up from `first_step`, then a cosine to zero at `total_steps`; zero before `first_step`."""
    if step < first_step:
        return 0.0
    step, total_steps = step - first_step, total_steps - first_step
    warmup_steps = min(warmup_steps, total_steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
