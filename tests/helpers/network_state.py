"""Everything that explaining a network must not change."""

import pickle
import random

import numpy as np
import torch
from torch import nn


def network_state(network: nn.Module) -> list[object]:
    """Weights, gradients, flags and hooks of a network, the random states and the modes of torch, as plain values."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [
        {name: value.tolist() for name, value in network.state_dict().items()},
        [(name, id(value), value.data_ptr()) for name, value in network.named_parameters()],
        [(value.requires_grad, None if value.grad is None else value.grad.tolist()) for value in network.parameters()],
        [(name, module.training, getattr(module, "momentum", None)) for name, module in network.named_modules()],
        [len(getattr(module, hook)) for module in network.modules() for hook in hooks],
        torch.get_rng_state().tolist(),
        random.getstate(),
        pickle.dumps(np.random.get_state()),  # noqa: NPY002 - the global state
        (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
        (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark, torch.get_default_dtype()),
    ]
