"""AdamW, fused into one pass over the weights where torch can do it."""

from typing import Any

import torch
from torch.optim import AdamW, Optimizer

# Where the fused step equals the plain one up to rounding; with bfloat16 weights it rounds less often.
FUSED = {"cpu": (torch.float32, torch.float64), "cuda": (torch.float32, torch.float64)}


def adamw(groups: list[dict[str, Any]], *, scaled_gradients: bool = False) -> AdamW:
    """Build AdamW: Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019, arXiv:1711.05101.

    Args:
        groups: of parameters on their device, with their `lr` and `weight_decay`.
        scaled_gradients: whether a `GradScaler` is used; a fused step would undo the scale after the clipping.
    """
    parameters = [parameter for group in groups for parameter in group["params"]]
    fused = not scaled_gradients and all(one.dtype in FUSED.get(one.device.type, ()) for one in parameters)
    optimizer = AdamW(groups, fused=fused or None)

    def fit_state(loaded: Optimizer) -> None:
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

    optimizer.register_load_state_dict_post_hook(fit_state)
    return optimizer
