"""Weights for a network: read files, and load only what fits."""

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
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import interpolate_embeddings

from gender_cls.errors import GenderClsError, first_few
from gender_cls.models.weights_files import require_whole

StateDict = dict[str, Tensor]

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # averaged weights first, as in timm
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # second heads of GoogLeNet and Inception, which we do not build


def read_weights(path: Path) -> StateDict:
    """Read a state dict from a .safetensors file or from what `torch.save` wrote (.pth, .pt, .bin, .ckpt).

    Raises:
        GenderClsError: the file is missing, damaged, holds no state dict, or holds Python objects.
    """
    content = read_plain(path, "set model.weights to a file that holds the weights alone")
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise GenderClsError(f"{path} holds no tensors by parameter name: set model.weights to another file.")
    return dict(content)


def read_plain(path: Path, way_out: str) -> Any:
    """Read tensors and plain containers from a file of weights or a checkpoint, on the CPU; no code in it is run.

    Args:
        way_out: what the user can do, to end a message.

    Raises:
        GenderClsError: the file is missing or damaged, or holds Python objects.
    """
    require_whole(path, way_out)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # timm's training checkpoints hold one
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling a foreign file may fail in any way; torch advises to switch the check off
        if isinstance(error, UnpicklingError) and "GLOBAL" in str(error):
            raise GenderClsError(
                f"{path} holds pickled Python objects, which could run code and are not loaded: {way_out}."
            ) from None
        raise GenderClsError(f"{path} cannot be read: it is damaged, or no file of weights; {way_out}.") from None


def load_weights(network: nn.Module, state: StateDict, heads: Sequence[str], *, source: str, title: str) -> None:
    """Load a state dict into `network`.

    A common prefix of the keys is removed (`module.`, or `network.` in this project's own checkpoints). A head with
    other classes is left out, so the network keeps its own. The formats of a model's authors and position embeddings of
    another grid are converted where timm or torchvision can do it. Everything else must match.

    Args:
        heads: names of the modules that make the logits.
        source: the file or address, for messages, as is the model's `title`.

    Raises:
        GenderClsError: keys are missing or unexpected, or shapes differ. Nothing is loaded then.
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
    wanted.update(fitted)  # in place: it also carries the versions of the modules
    network.load_state_dict(wanted)


def _without_prefix(state: StateDict, wanted: Collection[str]) -> StateDict:
    """The entries under the prefix (`network.`, `module.`, `model._orig_mod.`, mostly none) that matches most keys."""
    hits: Counter[str] = Counter()
    for key in state:
        parts = key.split(".")
        hits.update(".".join([*parts[:i], ""]) for i in range(len(parts)) if ".".join(parts[i:]) in wanted)
    prefix = hits.most_common(1)[0][0] if hits else ""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _without_other_heads(state: StateDict, wanted: StateDict, heads: Sequence[str]) -> StateDict:
    """The state without auxiliary heads and without those heads whose keys or shapes differ from ours."""

    def shapes(of: StateDict, head: str) -> dict[str, torch.Size]:
        return {key: value.shape for key, value in of.items() if key.startswith(f"{head}.")}

    left_out = (*_AUXILIARY, *(f"{head}." for head in heads if shapes(state, head) != shapes(wanted, head)))
    return {key: value for key, value in state.items() if not key.startswith(left_out)}


def _misfit(state: StateDict, wanted: StateDict, heads: Sequence[str]) -> str:
    """Describe the keys that do not fit; empty if all do."""
    missing = [key for key in wanted.keys() - state.keys() if not key.endswith(".num_batches_tracked")]
    problems = {
        "missing": [key for key in missing if not key.startswith(tuple(f"{head}." for head in heads))],
        "unexpected": state.keys() - wanted.keys(),
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
            for key in state.keys() & wanted.keys()
            if state[key].shape != wanted[key].shape
        ],
    }
    return "; ".join(
        f"{len(keys)} {problem} ({first_few(sorted(keys), 5)})" for problem, keys in problems.items() if keys
    )


def _convert(state: StateDict, network: nn.Module) -> StateDict:
    """The state in the network's own format and grid, as far as its library can convert it."""
    # torchvision's published DenseNets still carry "norm.1" where their modules are called "norm1"
    state = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", key): value for key, value in state.items()}
    try:
        if isinstance(network, VisionTransformer):
            return dict(interpolate_embeddings(network.image_size, network.patch_size, state))
        # each timm family that needs a conversion has this function in the module of its class
        convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        return convert(state, network) if convert is not None else state
    except Exception:  # a converter may fail in any way on the weights of another model: then nothing is converted
        return state
