"""The optimizer of a recipe: torch's AdamW, fused where that is right, or one of timm's by its name."""

import logging
from typing import Any

import torch
from timm.optim import create_optimizer_v2, get_optimizer_info
from torch import nn
from torch.optim import AdamW, Optimizer

from gender_cls.config.optimizers import DEFAULT
from gender_cls.config.train import RecipeConfig
from gender_cls.errors import GenderClsError, one_line

log = logging.getLogger(__name__)

# Where the fused step equals the plain one up to rounding; with bfloat16 weights it rounds less often.
FUSED = {"cpu": (torch.float32, torch.float64), "cuda": (torch.float32, torch.float64)}


def build_optimizer(groups: list[dict[str, Any]], recipe: RecipeConfig, *, scaled_gradients: bool = False) -> Optimizer:
    """Build `recipe.optimizer`, with timm's default options unless `recipe.optimizer_options` has others.

    Args:
        groups: of parameters on their device, with their `lr` and `weight_decay`.
        scaled_gradients: whether a `GradScaler` is used.

    Raises:
        GenderClsError: the optimizer has no such option, or not with this value.
    """
    options: dict[str, Any] = {**recipe.optimizer_options}
    try:
        if recipe.optimizer == DEFAULT:
            return adamw(groups, scaled_gradients=scaled_gradients, **options)
        if recipe.momentum is not None and get_optimizer_info(recipe.optimizer).has_momentum:
            options["momentum"] = recipe.momentum
        return create_optimizer_v2(groups, recipe.optimizer, recipe.lr, recipe.weight_decay, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        given = ", ".join(f"{name}={value}" for name, value in options.items()) or "none"
        raise GenderClsError(
            f"recipe.optimizer={recipe.optimizer} does not take recipe.optimizer_options ({given}): {one_line(error)}."
        ) from error


def check_optimizer(recipe: RecipeConfig) -> None:
    """Raise GenderClsError for options that the optimizer does not take; warn if a setting has no effect on it."""
    parameter = nn.Parameter(torch.zeros(2, 2))
    build_optimizer([{"params": [parameter], "lr": recipe.lr, "weight_decay": recipe.weight_decay}], recipe)
    if recipe.momentum is not None and not get_optimizer_info(recipe.optimizer).has_momentum:
        log.warning(f"recipe.momentum={recipe.momentum} has no effect: recipe.optimizer={recipe.optimizer} has none.")


def adamw(groups: list[dict[str, Any]], *, scaled_gradients: bool = False, **options: Any) -> AdamW:
    """Build AdamW: Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019, arXiv:1711.05101.

    Args:
        groups: of parameters on their device, with their `lr` and `weight_decay`.
        scaled_gradients: whether a `GradScaler` is used; a fused step would undo the scale after the clipping.
        options: of torch's AdamW.
    """
    parameters = [parameter for group in groups for parameter in group["params"]]
    fused = not scaled_gradients and all(one.dtype in FUSED.get(one.device.type, ()) for one in parameters)
    optimizer = AdamW(groups, fused=fused or None, **options)

    def adapt_state(loaded: Optimizer) -> None:
        """Adapt the state of a checkpoint to this optimizer: fused or plain, and in the layout of the weights.

        The fused step reads weights and moments in memory order, so it would silently mix up moments of another layout.
        """
        for group in loaded.param_groups:
            group["fused"] = fused or None
            for parameter in group["params"]:
                state = loaded.state.get(parameter, {})
                for key, value in state.items():
                    if key == "step":
                        state[key] = value.to(parameter.device if fused else "cpu", torch.float32)
                    else:
                        state[key] = torch.empty_like(parameter).copy_(value)

    optimizer.register_load_state_dict_post_hook(adapt_state)
    return optimizer
