"""Tensors that a network keeps from one pass to the next, outside its parameters and buffers."""

from functools import partial

from torch import Tensor, nn

_OF_TORCH = frozenset(vars(nn.Module()))  # parameters, buffers, children and hooks


def forget_cached_tensors(network: nn.Module) -> None:
    """Clear the tensors that modules of the network have cached, now and after each later pass.

    Some of timm's attention layers (LeViT, TinyViT, EfficientFormer and others) keep their biases in a dict while they
    are in evaluation mode. A tensor that was made from a parameter cannot be copied with the network, and a copy with
    other weights would go on with the old biases. Call it after a pass in evaluation mode, which has filled the dicts.
    """
    for module in network.modules():
        names = [
            name
            for name, value in vars(module).items()
            if name not in _OF_TORCH
            and isinstance(value, dict)
            and any(isinstance(one, Tensor) for one in value.values())
        ]
        if names:
            _clear(names, module)
            module.register_forward_hook(partial(_clear, names))  # it finds the dicts of a copied module too


def _clear(names: list[str], module: nn.Module, *_: object) -> None:
    for name in names:
        getattr(module, name).clear()
