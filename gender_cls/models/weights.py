"""Loads a local weights file into a network, and refuses one that does not fit."""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import interpolate_embeddings

from gender_cls.errors import GenderClsError

StateDict = dict[str, Tensor]

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # averaged weights first, as timm does
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # second heads of GoogLeNet and Inception, which are not built here


def load_weights(network: nn.Module, path: Path, heads: Sequence[str], title: str) -> None:
    """Load .safetensors, or what `torch.save` wrote (.pth, .pt, .bin, .ckpt), into `network`; see `fit_weights`.

    Raises:
        GenderClsError: the file cannot be read as weights alone, or does not fit.
    """
    fit_weights(network, _read(path), heads, str(path), title)


def fit_weights(network: nn.Module, state: StateDict, heads: Sequence[str], source: str, title: str) -> None:
    """Load a state dict into `network`.

    A common prefix is taken off (`module.`, or `network.` of this project's own checkpoints). A head of other classes
    is left out, so that the network's own keeps its values. The format of a model's authors and position embeddings
    of another grid are converted where timm or torchvision know how. All else must match.

    Args:
        heads: names of the modules that make the logits.
        source: the file or address, for messages.
        title: the model, for messages.

    Raises:
        GenderClsError: keys are missing or left over, or shapes differ.
    """
    wanted = network.state_dict()
    state = _without_prefix(state, wanted)
    fitted = _without_other_heads(state, wanted, heads)
    if misfit := _misfit(fitted, wanted, heads):
        fitted = _without_other_heads(_convert(state, network), wanted, heads)
        if _misfit(fitted, wanted, heads):
            raise GenderClsError(
                f"{source} does not fit {title}: {misfit}; set model.name to the model it was saved from."
            )
    wanted.update(fitted)
    network.load_state_dict(wanted)


def _read(path: Path) -> StateDict:
    """The state dict in a file, unwrapped."""
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            with torch.serialization.safe_globals([argparse.Namespace]):  # timm's training checkpoints hold one
                content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise GenderClsError(f"model.weights names no file: {path}") from None
    except Exception as error:  # unpickling a foreign file may fail in any way
        if isinstance(error, UnpicklingError) and "GLOBAL" in str(error):
            raise GenderClsError(
                f"{path} holds pickled Python objects, which could run code and are not loaded: save the weights alone "
                "with torch.save(model.state_dict(), PATH)."
            ) from None
        kind = "safetensors file" if isinstance(error, SafetensorError) else "PyTorch checkpoint"
        raise GenderClsError(f"{path} is no readable {kind}: name a file of weights in model.weights.") from None
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise GenderClsError(f"{path} holds no state dict (parameter names with tensors): name one in model.weights.")
    return dict(content)


def _without_prefix(state: StateDict, wanted: Collection[str]) -> StateDict:
    """What lies under the prefix (`network.`, `module.`, `model._orig_mod.`, mostly none) that matches most keys."""
    hits: Counter[str] = Counter()
    for key in state:
        parts = key.split(".")
        hits.update(".".join([*parts[:i], ""]) for i in range(len(parts)) if ".".join(parts[i:]) in wanted)
    prefix = hits.most_common(1)[0][0] if hits else ""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _without_other_heads(state: StateDict, wanted: StateDict, heads: Sequence[str]) -> StateDict:
    """The state without those heads that have other keys or shapes than ours, and without auxiliary heads."""
    left_out = []
    for head in heads:
        prefix = f"{head}."
        theirs = {key: value.shape for key, value in state.items() if key.startswith(prefix)}
        ours = {key: value.shape for key, value in wanted.items() if key.startswith(prefix)}
        if theirs != ours:
            left_out.append(prefix)
    return {key: value for key, value in state.items() if not key.startswith((*left_out, *_AUXILIARY))}


def _misfit(state: StateDict, wanted: StateDict, heads: Sequence[str]) -> str:
    """What keeps the state from fitting, in words; empty if nothing does."""
    needed = {
        key
        for key in wanted
        if not key.startswith(tuple(f"{head}." for head in heads)) and not key.endswith(".num_batches_tracked")
    }
    problems = {
        "missing": sorted(needed - state.keys()),
        "unexpected": sorted(state.keys() - wanted.keys()),
        "of another shape": sorted(
            f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
            for key in state.keys() & wanted.keys()
            if state[key].shape != wanted[key].shape
        ),
    }
    return "; ".join(
        f"{len(keys)} {problem} ({', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''})"
        for problem, keys in problems.items()
        if keys
    )


def _convert(state: StateDict, network: nn.Module) -> StateDict:
    """The state in the network's own format and grid, as far as its library can bring it there."""
    # torchvision's published DenseNets still carry "norm.1" where their modules are called "norm1"
    state = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", key): value for key, value in state.items()}
    try:
        if isinstance(network, VisionTransformer):
            return dict(interpolate_embeddings(network.image_size, network.patch_size, state))
        # every timm family that needs it has this function beside its class
        convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        return convert(state, network) if convert is not None else state
    except Exception:  # a converter may fail in any way on the weights of another model: then nothing is converted
        return state
