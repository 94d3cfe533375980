"""Tensors that a network keeps from one pass to the next, outside its parameters and buffers."""

from functools import cache
from typing import Any

from torch import Tensor, nn

_OF_TORCH = frozenset(vars(nn.Module()))  # parameters, buffers, children and hooks


def forget_cached_tensors(network: nn.Module) -> None:
    """Let the network compute again in each pass what it has kept from the last one, in place.

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
            for name in names:
                del vars(module)[name]
            # A class, because the modules themselves put a new dict there whenever they move or change their mode.
            module.__class__ = _forgetting(type(module), tuple(names))  # type: ignore[arg-type]  # a class can be hashed


@cache
def _forgetting(kind: type[nn.Module], names: tuple[str, ...]) -> type[nn.Module]:
    """Return the subclass of a kind of module in which these attributes are dicts that keep nothing."""
    attributes = {name: _Forgetting() for name in names}
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, **attributes})


class _Forgetting:
    """An attribute that holds a `_ReadOnce`, whatever it is set to."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, module: nn.Module, owner: type) -> "_ReadOnce":
        return vars(module).setdefault(self._name, _ReadOnce())

    def __set__(self, module: nn.Module, value: object) -> None:
        vars(module)[self._name] = _ReadOnce()


class _ReadOnce(dict[Any, Any]):
    """A dict that gives each value once, to the pass that has made it."""

    def __getitem__(self, key: Any) -> Any:
        return self.pop(key)
