"""Which pixels a prediction rests on: saliency and Grad-CAM, computed by Captum on a network in the middle of training.

Every function here leaves the network, the random states and the autograd modes as it found them; see `untouched`.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from captum.attr import LayerGradCam, Saliency
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import interpolate

from gender_cls.errors import GenderClsError
from gender_cls.models.feature_map import FeatureMap

CHUNK = 8
"""Images explained at once. The activations of a chunk are held for the backward pass, so this bounds the memory."""


def predict(network: nn.Module, inputs: Tensor) -> Tensor:
    """Class probabilities, computed as the maps are: in evaluation mode and float32.

    Args:
        inputs: (N, 3, H, W), normalised.

    Returns:
        (N, classes), float32 on the CPU; each row sums to 1.
    """
    with untouched(network) as forward, torch.no_grad():
        return _in_chunks(lambda images: forward(images).softmax(dim=1), inputs)


def saliency(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """How strongly each pixel moves the target logit: its absolute gradient, the largest of the three channels.

    Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", 2013, arXiv:1312.6034.

    Args:
        inputs: (N, 3, H, W), normalised.
        targets: (N,), class index of the logit to explain.

    Returns:
        (N, H, W), float32 on the CPU, at least 0, unscaled.
    """
    with untouched(network) as forward:
        method = Saliency(forward)
        return _in_chunks(lambda images, classes: method.attribute(images, classes).amax(dim=1), inputs, targets)


def grad_cam(network: nn.Module, inputs: Tensor, targets: Tensor, feature_map: FeatureMap) -> Tensor:
    """Where the last feature map speaks for the target class, enlarged bilinearly to the input.

    Channels are weighted by their mean gradient and summed, negative values cut. Selvaraju et al., "Grad-CAM: Visual
    Explanations from Deep Networks via Gradient-based Localization", ICCV 2017, arXiv:1610.02391.

    Args:
        inputs: (N, 3, H, W), normalised.
        targets: (N,), class index of the logit to explain.
        feature_map: the layer to look at, and how its output becomes (N, C, h, w).

    Returns:
        (N, H, W), float32 on the CPU, at least 0, unscaled.

    Raises:
        GenderClsError: the layer's map has another grid than `feature_map` says.
    """
    layer = network.get_submodule(feature_map.layer)
    # Captum reads dimension 1 of a layer's output as channels and is silent when it is not. It therefore looks at this
    # identity, which sees every layout as (N, C, h, w).
    probe = nn.Identity()

    def through_probe(module: nn.Module, arguments: object, output: Tensor) -> Tensor:
        # Captum passes on a copy of what it keeps, so a following in-place ReLU does no harm.
        return feature_map.from_nchw(probe(feature_map.to_nchw(output)), output)

    def attribute(images: Tensor, classes: Tensor) -> Tensor:
        cam = method.attribute(images, classes, relu_attributions=True)
        if cam.shape != (len(images), 1, *feature_map.grid):
            raise GenderClsError(
                f"Layer {feature_map.layer} gave a map of shape {tuple(cam.shape[1:])} where "
                f"{(1, *feature_map.grid)} was expected: name another layer with model.cam_layer."
            )
        return interpolate(cam, size=images.shape[2:], mode="bilinear", align_corners=False).squeeze(1)

    with untouched(network) as forward, layer.register_forward_hook(through_probe):
        method = LayerGradCam(forward, probe)
        return _in_chunks(attribute, inputs, targets)


def scaled(maps: Tensor) -> Tensor:
    """Each map divided by its own maximum.

    Args:
        maps: (N, H, W), at least 0.

    Returns:
        (N, H, W), float32 in [0, 1]. A map without any evidence (all 0) stays 0. A map with a value that is not finite,
        as a diverged network gives, becomes NaN throughout, so that no part of it passes for a map.
    """
    maps = maps.float()
    peak = maps.amax(dim=(1, 2), keepdim=True)
    result = maps / torch.where(peak > 0, peak, 1)
    finite = maps.isfinite().all(dim=2, keepdim=True).all(dim=1, keepdim=True)
    return torch.where(finite, result, torch.nan)


@contextmanager
def untouched(network: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """The network as a function to explain; afterwards, also after an error, the network is bit-identical to before.

    The function maps (B, 3, H, W) to logits (B, classes): in evaluation mode, uncompiled, without autocast, and with
    gradients even inside `no_grad` and `inference_mode`. It runs on detached float32 views of the weights (copies if
    they are of another type: bfloat16 maps would be noise) and on copies of the buffers. So no parameter's
    `requires_grad` or `.grad` plays a part, no weight gradient is computed and no running statistic moves. Training
    flags and the random states of torch, numpy and Python are put back.
    """
    device = next(network.parameters()).device
    training = [(module, module.training) for module in network.modules()]
    with ExitStack() as stack:
        random_states = isolate_rng(include_cuda=device.type == "cuda")
        random_states.__enter__()
        stack.callback(random_states.__exit__, None, None, None)  # told of an error, it would put nothing back
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if "torch._dynamo" in sys.modules:  # else nothing is compiled, and importing it would cost seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))  # compiled code skips the hook of Grad-CAM
        weights = {name: weight.detach().float() for name, weight in network.named_parameters()}
        buffers = {name: _float32_copy(buffer) for name, buffer in network.named_buffers()}
        try:
            for module, _ in training:
                module.training = False  # not `eval()`, which a network may override
            yield lambda images: functional_call(network, weights | buffers, (images,))
        finally:
            for module, flag in training:
                module.training = flag


def _float32_copy(tensor: Tensor) -> Tensor:
    """A copy outside autograd and inference mode; counters and index tables keep their type."""
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)


def _in_chunks(function: Callable[..., Tensor], inputs: Tensor, *others: Tensor) -> Tensor:
    """`function` applied to `CHUNK` images at a time; the results joined, float32 on the CPU."""
    results = []
    for start in range(0, len(inputs), CHUNK):
        images, *rest = (_float32_copy(tensor[start : start + CHUNK]).to(inputs.device) for tensor in (inputs, *others))
        results.append(function(images.requires_grad_(), *rest).detach().float().cpu())
    return torch.cat(results)
