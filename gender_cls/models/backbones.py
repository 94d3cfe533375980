"""Build the network with two logits that a ModelConfig names: from timm, from torchvision, or the project's own."""

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision.models
from torch import Tensor, nn
from torch.nn import functional

from gender_cls.config.data import CLASSES
from gender_cls.config.model import Library, ModelConfig
from gender_cls.errors import GenderClsError, first_few, one_line, plural
from gender_cls.models.cached_tensors import forget_cached_tensors
from gender_cls.models.convolutions import run_in_layout, widen_depthwise
from gender_cls.models.custom_cnn import CustomCNN
from gender_cls.models.known_models import require_name, require_options_of_shape, require_timm_name
from gender_cls.models.published_weights import fetch_weights, unavailable
from gender_cls.models.weights import load_weights, read_weights

Triple = tuple[float, float, float]


@dataclass
class Backbone:
    """A network and what is needed to use it."""

    network: nn.Module  # (B, 3, H, W) normalised floats -> logits (B, 2), in the order of CLASSES
    heads: tuple[str, ...]  # names of the modules that make the logits; distilled models have two
    mean: Triple = timm.data.IMAGENET_DEFAULT_MEAN  # of red, green and blue in [0, 1], as in the weights' own training
    std: Triple = timm.data.IMAGENET_DEFAULT_STD  # the same
    layout: torch.memory_format = torch.contiguous_format  # of the convolutions' weights and of images to give it


def build_backbone(
    config: ModelConfig, image_size: tuple[int, int], *, load: bool = True, channels_last: bool = False
) -> Backbone:
    """Build the network that `config` names, with its weights.

    Args:
        image_size: (height, width) in pixels.
        load: False builds the architecture only and reads or downloads nothing, for a checkpoint that follows.
        channels_last: use channels_last memory where the network supports it.

    Raises:
        GenderClsError: an unknown name, options or an image size that the model does not accept, weights that cannot
            be loaded or do not fit.
    """
    require_options_of_shape(config)
    build = {Library.custom: _custom, Library.timm: _timm, Library.torchvision: _torchvision}[config.library]
    backbone = build(config, image_size, load and config.pretrained and config.weights is None)
    _initialise_heads(backbone)
    widen_depthwise(backbone.network)
    backbone.layout = _run_blank_image(backbone.network, image_size, config, channels_last)
    if load and config.weights is not None:
        state = read_weights(Path(config.weights))
        load_weights(backbone.network, state, backbone.heads, source=config.weights, title=config.title)
    return backbone


def given_backbone(
    network: nn.Module, heads: Sequence[str], image_size: tuple[int, int], *, channels_last: bool = False
) -> Backbone:
    """Somebody's own network with the weights that it has.

    Args:
        heads: names of the modules that make the logits; (): those that timm names, or else the last linear layer.
        image_size, channels_last: as for `build_backbone`.

    Raises:
        GenderClsError: it has no such module, or does not give two logits for an image of this size.
    """
    config = ModelConfig(library=Library.custom, name=type(network).__name__)
    is_timm = hasattr(network, "pretrained_cfg") and hasattr(network, "get_classifier")
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    found = tuple(heads) or (_timm_heads(network, config) if is_timm else tuple(names[-1:]))
    missing = sorted(set(found) - {name for name, _ in network.named_modules() if name})
    if missing or not found:
        what = f"no module {', '.join(missing)}" if missing else "no linear layer"
        raise GenderClsError(f"{config.title} has {what}: name the modules that make its logits with heads=[...].")
    data = timm.data.resolve_model_data_config(network) if is_timm else {}
    backbone = Backbone(network, found)
    if is_timm:
        backbone.mean, backbone.std = tuple(data["mean"]), tuple(data["std"])
    backbone.layout = _run_blank_image(network, image_size, config, channels_last)
    return backbone


def _initialise_heads(backbone: Backbone) -> None:
    """Start new heads near zero, so that the first loss is that of a guess.

    The libraries initialise for a thousand classes; with two, timm's MobileNet and EfficientNet start at a high loss
    and need epochs to come down from it.
    """
    for head in backbone.heads:
        for module in backbone.network.get_submodule(head).modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def _custom(config: ModelConfig, image_size: tuple[int, int], pretrained: bool) -> Backbone:
    """Build our own network; there are no pretrained weights for it."""
    require_name(config)
    network = _construct(CustomCNN, {"num_classes": len(CLASSES), "dropout": config.dropout}, config, image_size)
    return Backbone(network, ("head",))


def _timm(config: ModelConfig, image_size: tuple[int, int], pretrained: bool) -> Backbone:
    name = str(config.name)
    require_timm_name(config)
    source = timm.models.get_pretrained_cfg(name)
    arguments: dict[str, Any] = {"model_name": name, "pretrained": pretrained, "num_classes": len(CLASSES)}
    if source is not None and source.fixed_input_size:  # position embeddings or windows are made for one size
        arguments["img_size"] = image_size
    if config.dropout > 0:
        arguments["drop_rate"] = config.dropout
    if pretrained:
        file = fetch_weights([config])[config.title]
        arguments["pretrained_cfg_overlay"] = {"file": str(file)}  # otherwise timm asks the hub for a newer version
    with _missing_keys() as missing:
        network = _construct(timm.create_model, arguments, config, image_size)
    heads = _timm_heads(network, config)
    if lost := [key for key in missing if not key.startswith(tuple(f"{head}." for head in heads))]:
        file = arguments["pretrained_cfg_overlay"]["file"]
        raise unavailable({config.title: f"{file} (it lacks {plural(len(lost), 'tensor')}: {first_few(lost)})"})
    data = timm.data.resolve_model_data_config(network)
    return Backbone(network, heads, tuple(data["mean"]), tuple(data["std"]))


@contextlib.contextmanager
def _missing_keys() -> Iterator[list[str]]:
    """What a file lacked that timm loads inside: it only logs that, at a level that nobody sees."""
    missing: list[str] = []

    def look(record: logging.LogRecord) -> bool:
        if found := re.match(r"Missing keys \((.*?)\)", record.getMessage()):
            missing.extend(key for key in found[1].split(", ") if not key.endswith(".num_batches_tracked"))
        return record.levelno > logging.INFO

    logger = logging.getLogger("timm.models._builder")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addFilter(look)
    try:
        yield missing
    finally:
        logger.removeFilter(look)
        logger.setLevel(level)


def _timm_heads(network: Any, config: ModelConfig) -> tuple[str, ...]:
    """The names of timm's classifier and of others that timm lists (VOLO's auxiliary one makes logits too)."""
    if not hasattr(network, "get_classifier"):
        raise GenderClsError(f"{config.title} has no classifier: choose another model.name, and check model.options.")
    classifier = network.get_classifier()
    classifiers = classifier if isinstance(classifier, tuple) else (classifier,)
    heads = [name for name, module in network.named_modules() if any(module is one for one in classifiers)]
    listed = network.pretrained_cfg.get("classifier") or ()
    for name in (listed,) if isinstance(listed, str) else listed:
        if not any(f"{name}.".startswith(f"{head}.") for head in heads):
            heads.append(name)
    return tuple(heads)


def _torchvision(config: ModelConfig, image_size: tuple[int, int], pretrained: bool) -> Backbone:
    name = str(config.name)
    require_name(config)
    published: Any = torchvision.models.get_model_weights(name).DEFAULT
    arguments: dict[str, Any] = {"name": name, "weights": None, "num_classes": len(CLASSES)}
    if name in ("googlenet", "inception_v3"):  # no auxiliary logits; their weights expect rescaled inputs
        arguments |= {"aux_logits": False, "transform_input": True, "init_weights": True}
    elif name.startswith("vit_"):
        if image_size[0] != image_size[1]:
            raise GenderClsError(
                f"{config.title} accepts square images only: set data.image_size=[224,224], or use the ViT of timm "
                "with model.library=timm model.name=vit_base_patch16_224."
            )
        arguments["image_size"] = image_size[0]
    elif name.startswith("maxvit"):
        arguments["input_size"] = image_size
    network = _construct(torchvision.models.get_model, arguments, config, image_size)
    # SqueezeNet makes its logits with a convolution, all others with their last linear layer.
    kind = nn.Conv2d if name.startswith("squeezenet") else nn.Linear
    head = [module_name for module_name, module in network.named_modules() if isinstance(module, kind)][-1]
    if config.dropout > 0:
        _drop_before(network, head, config.dropout)
    if pretrained:
        file = fetch_weights([config])[config.title]
        load_weights(network, read_weights(file), (head,), source=str(file), title=config.title)
    preset = published.transforms()
    return Backbone(network, (head,), tuple(preset.mean), tuple(preset.std))


class _DroppedLinear(nn.Linear):
    """A linear layer with dropout on its input; unlike a Sequential, it keeps the keys of the state dict."""

    drop = 0.0

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(functional.dropout(features, self.drop, self.training))


def _drop_before(network: nn.Module, head: str, probability: float) -> None:
    """Set the model's own dropout before the head to this probability, or add one."""
    modules = list(network.modules())
    linear = network.get_submodule(head)
    before = modules[modules.index(linear) - 1]
    if isinstance(before, nn.Dropout):
        before.p = probability
        return
    assert isinstance(linear, nn.Linear)  # SqueezeNet, whose head is a convolution, has a dropout of its own
    dropped = _DroppedLinear(linear.in_features, linear.out_features)
    dropped.load_state_dict(linear.state_dict())
    dropped.drop = probability
    parent, _, child = head.rpartition(".")
    setattr(network.get_submodule(parent), child, dropped)


def _construct(
    constructor: Callable[..., nn.Module], arguments: dict[str, Any], config: ModelConfig, image_size: tuple[int, int]
) -> nn.Module:
    """Call a library's constructor; model.options override the arguments."""
    try:
        return constructor(**(arguments | config.options))
    except Exception as error:  # a foreign constructor may fail in any way; the arguments are what users can change
        if arguments.get("pretrained"):
            _construct(constructor, arguments | {"pretrained": False}, config, image_size)  # or say what else is wrong
            file = arguments["pretrained_cfg_overlay"]["file"]
            raise unavailable({config.title: f"{file} ({one_line(error)})"}) from error
        raise _unsuitable(image_size, config, error) from error


def _run_blank_image(
    network: Any, image_size: tuple[int, int], config: ModelConfig, channels_last: bool
) -> torch.memory_format:
    """Check with one image that the network accepts this size and gives two logits; return the layout it runs in."""
    embedding: Any = getattr(network, "patch_embed", None)
    if isinstance(embedding, timm.layers.PatchEmbed) and not embedding.dynamic_img_pad:
        rows, columns = embedding.patch_size
        fitting = (max(image_size[0] // rows, 1) * rows, max(image_size[1] // columns, 1) * columns)
        if fitting != image_size:  # timm would cut off the rest
            raise GenderClsError(
                f"{config.title} cuts images into patches of {rows}x{columns} pixels, which do not fill "
                f"data.image_size={_shown(image_size)}: set data.image_size={_shown(fitting)}."
            )
    blank = torch.zeros(1, 3, *image_size, device=next(network.parameters()).device)
    network.eval()
    try:
        with torch.no_grad():
            logits, layout = run_in_layout(network, blank, config.title, channels_last=channels_last)
    except Exception as error:  # a foreign network may fail in any way; the size is what users can change
        raise _unsuitable(image_size, config, error) from error
    forget_cached_tensors(network)
    network.train()
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    if shape != (1, len(CLASSES)):
        raise GenderClsError(
            f"{config.title} gives {shape} for one image instead of (1, {len(CLASSES)}) logits: choose a classifier, "
            "and check model.options."
        )
    return layout


def _unsuitable(image_size: tuple[int, int], config: ModelConfig, error: Exception) -> GenderClsError:
    """The error for options or an image size with which the network cannot be built or run."""
    options = f"model.options={config.options}"
    if isinstance(error, TypeError):
        dropout = f" or model.dropout={config.dropout}" if config.dropout else ""
        return GenderClsError(f"{config.title} does not accept {options}{dropout}: {one_line(error)}.")
    name, size = str(config.name), None
    if config.library is Library.timm and (source := timm.models.get_pretrained_cfg(name)) is not None:
        size = source.input_size[1:]
    elif config.library is Library.torchvision:
        size = 2 * torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size
    given = f"data.image_size={_shown(image_size)}" + (f" with {options}" if config.options else "")
    way_out = "choose another size, or check model.options"
    if size and tuple(size) != tuple(image_size):
        way_out = f"set data.image_size={_shown(size)}, which it was made for"
    return GenderClsError(f"{config.title} does not accept {given}: {way_out} ({one_line(error)}).")


def _shown(image_size: Sequence[int]) -> str:
    return f"[{image_size[0]},{image_size[1]}]"
