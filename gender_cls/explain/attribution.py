"""Which pixels a prediction rests on: maps computed by Captum on a network in the middle of training.

Every function here leaves the network, the random states and the autograd modes as it found them; see `isolated`.
What is explained is a logit. Inputs are normalised, so that 0, the baseline, is the mean colour. The methods:

- Saliency: absolute gradient at each pixel, the largest of the three channels. Simonyan, Vedaldi, Zisserman, "Deep
  Inside Convolutional Networks", 2013, arXiv:1312.6034.
- SmoothGrad: the same of the mean gradient of `SAMPLES` noisy copies, in which what flickers cancels. Smilkov et al.,
  "SmoothGrad: removing noise by adding noise", 2017, arXiv:1706.03825.
- Grad-CAM: channels of the last feature map, weighted by their mean gradient and summed, enlarged bilinearly. Selvaraju
  et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
  arXiv:1610.02391. The paper's last step, a ReLU, is left to the reader, for it hides the evidence against the class.
- Integrated Gradients: the gradient, averaged on the way from the baseline (Gauss-Legendre, `STEPS` points), times the
  value, summed over the channels. A map sums to the logit less the baseline's. Sundararajan, Taly, Yan, "Axiomatic
  Attribution for Deep Networks", ICML 2017, arXiv:1703.01365.
- Occlusion: how far the logit drops when a window of 2x2 regions of `region_grid` is blanked with the baseline; the
  mean of the windows that cover a region. Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV
  2014, arXiv:1311.2901.

Guided backpropagation, guided Grad-CAM and deconvolution are not offered: their maps hardly change when the weights are
randomised (Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, arXiv:1810.03292), and without plain ReLUs
(MobileNetV2, ConvNeXt, ViT) they are the plain gradient.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from gender_cls.config.explain import Method
from gender_cls.errors import GenderClsError
from gender_cls.explain.isolation import IMAGES_PER_PASS, chunks, in_chunks, isolated
from gender_cls.explain.map_regions import region_grid
from gender_cls.models.feature_map import FeatureMap

SAMPLES = 16
"""Noisy copies of an image that SmoothGrad averages over."""

NOISE = 0.15
"""Standard deviation of SmoothGrad's noise, as a share of the image's range; the paper advises 0.1 to 0.2."""

STEPS = 32
"""Points at which Integrated Gradients reads the gradient between the baseline and the image."""

NOISE_SEED = 0

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Attribution:
    """Maps of N images, and what the network answered, all on the CPU.

    Args:
        probabilities: (N, classes), float32; each row sums to 1.
        targets: (N,), int64, the class whose logit the maps explain.
        maps: for each method (N, H, W), float32, unscaled. Those of a `signed` method are above 0 where the image
            speaks for the class and below 0 where it speaks against it; the others are at least 0.
    """

    probabilities: Tensor
    targets: Tensor
    maps: dict[Method, Tensor]


def predict(network: nn.Module, inputs: Tensor) -> Tensor:
    """Class probabilities, computed as the maps are: in evaluation mode and float32.

    Args:
        inputs: (N, 3, H, W), normalised.

    Returns:
        (N, classes), float32 on the CPU; each row sums to 1.
    """
    with isolated(network) as forward, torch.no_grad():
        return in_chunks(lambda images: forward(images).softmax(dim=1), inputs)


def attribute(
    network: nn.Module,
    inputs: Tensor,
    methods: Sequence[Method],
    feature_map: FeatureMap,
    targets: Tensor | None = None,
) -> Attribution:
    """Explain one logit of each image by every method asked for.

    Saliency, Grad-CAM and the probabilities come from one forward and one backward pass, whose maps equal bit for bit
    those of a call of Captum's `Saliency` and one of its `LayerGradCam`. In units of a forward pass of an image they
    cost about 3 together (Grad-CAM alone little more than 1), SmoothGrad 3 * `SAMPLES`, Integrated Gradients
    3 * `STEPS`, Occlusion one for each window: about 100 at 256x128.

    Args:
        inputs: (N, 3, H, W), N at least 1, normalised, so that 0 is the mean colour.
        methods: at least one.
        feature_map: the layer that Grad-CAM looks at, and how its output becomes (N, C, h, w).
        targets: (N,), class index of the logit to explain; None explains the predicted class.

    Returns:
        The maps of an image with a probability that is not finite, as a diverged network gives, are NaN throughout.

    Raises:
        GenderClsError: the layer's map has another grid than `feature_map` says.
    """
    parts = []
    with isolated(network) as forward:
        for images, *given in chunks(inputs, *([] if targets is None else [targets])):
            parts.append(_explain_chunk(network, forward, images, methods, feature_map, *given))
    return Attribution(
        torch.cat([part.probabilities for part in parts]),
        torch.cat([part.targets for part in parts]),
        {method: torch.cat([part.maps[method] for part in parts]) for method in methods},
    )


def grad_cam_cells(network: nn.Module, inputs: Tensor, feature_map: FeatureMap, targets: Tensor) -> Tensor:
    """Grad-CAM on the grid of the feature map: with `.relu()` the map as published, before it is enlarged.

    Args:
        inputs: (N, 3, H, W), normalised.
        targets: (N,), class index of the logit to explain.

    Returns:
        (N, h, w), float32 on the CPU, signed, unscaled.

    Raises:
        GenderClsError: the layer's map has another grid than `feature_map` says.
    """

    def cells(images: Tensor, classes: Tensor) -> Tensor:
        return _one_pass(network, forward, images, [Method.grad_cam], feature_map, classes)[2][Method.grad_cam]

    with isolated(network) as forward:
        return in_chunks(cells, inputs, targets)


def scaled(maps: Tensor) -> Tensor:
    """Each map divided by its own largest magnitude, so that 0 stays 0.

    Args:
        maps: (N, H, W).

    Returns:
        (N, H, W), float32 in [-1, 1]. A map without any evidence (all 0) stays 0. A map with a value that is not
        finite, as a diverged network gives, becomes NaN throughout, so that no part of it passes for a map.
    """
    maps = maps.float()
    peak = maps.abs().amax(dim=(1, 2), keepdim=True)
    result = maps / torch.where(peak > 0, peak, 1)
    finite = maps.isfinite().all(dim=2, keepdim=True).all(dim=1, keepdim=True)
    return torch.where(finite, result, torch.nan)


def _explain_chunk(
    network: nn.Module,
    forward: Forward,
    images: Tensor,
    methods: Sequence[Method],
    feature_map: FeatureMap,
    targets: Tensor | None = None,
) -> Attribution:
    logits, targets, maps = _one_pass(network, forward, images, methods, feature_map, targets)
    if Method.grad_cam in maps:
        cells = maps[Method.grad_cam].unsqueeze(1)
        maps[Method.grad_cam] = interpolate(cells, images.shape[2:], mode="bilinear", align_corners=False).squeeze(1)
    if Method.smoothgrad in methods:
        maps[Method.smoothgrad] = _smoothgrad(forward, images, targets)
    if Method.integrated_gradients in methods:
        maps[Method.integrated_gradients] = _integrated_gradients(forward, images, targets)
    if Method.occlusion in methods:
        maps[Method.occlusion] = _occlusion(forward, images, targets)
    diverged = ~logits.isfinite().all(dim=1).view(-1, 1, 1)  # where a NaN's gradient may still be a number
    maps = {method: chunk.detach().masked_fill(diverged, torch.nan).cpu() for method, chunk in maps.items()}
    return Attribution(logits.softmax(dim=1).cpu(), targets.cpu(), maps)


def _one_pass(
    network: nn.Module,
    forward: Forward,
    images: Tensor,
    methods: Sequence[Method],
    feature_map: FeatureMap,
    targets: Tensor | None,
) -> tuple[Tensor, Tensor, dict[Method, Tensor]]:
    """What one forward pass and, if a method needs it, one backward pass of B images give.

    Returns:
        Logits (B, classes) and targets (B,); of the methods asked for, saliency (B, H, W) and Grad-CAM (B, h, w).
    """
    from captum.attr import LayerGradientXActivation  # here and below: training begins before it is needed

    # Captum reads dimension 1 of a layer's output as channels and is silent when it is not. It therefore looks at an
    # identity, which sees every layout as (B, C, h, w). Another identity sees the pixels.
    seen_by = {Method.saliency: nn.Identity(), Method.grad_cam: nn.Identity()}
    asked = [method for method in seen_by if method in methods]
    kept: dict[str, Tensor] = {}

    def target_logit(pixels: Tensor) -> Tensor:
        logits = forward(seen_by[Method.saliency](pixels))
        kept["logits"] = logits.detach()
        kept["targets"] = logits.argmax(dim=1) if targets is None else targets
        return logits.gather(1, kept["targets"].unsqueeze(1)).squeeze(1)

    def through_identity(module: nn.Module, arguments: object, output: Tensor) -> Tensor:
        kept["features"] = features = feature_map.to_nchw(output)
        if features.shape[2:] != feature_map.grid:
            raise GenderClsError(
                f"Layer {feature_map.layer} gave a map of shape {tuple(features.shape[2:])} where "
                f"{feature_map.grid} was expected: name another layer with model.cam_layer."
            )
        # Captum passes on a copy of what it keeps, so a following in-place ReLU does no harm.
        return feature_map.from_nchw(seen_by[Method.grad_cam](features), output)

    with ExitStack() as stack:
        if Method.grad_cam in asked:
            layer = network.get_submodule(feature_map.layer)
            stack.enter_context(layer.register_forward_hook(through_identity))
        if asked:
            captum = LayerGradientXActivation(target_logit, [seen_by[one] for one in asked], multiply_by_inputs=False)
            pixels = images if Method.saliency in asked else images.detach()  # Grad-CAM needs no graph before its layer
            gradients = dict(zip(asked, captum.attribute(pixels), strict=True))
        else:
            with torch.no_grad():
                target_logit(images)
            gradients = {}

    maps = {}
    if Method.saliency in asked:
        maps[Method.saliency] = gradients[Method.saliency].abs().amax(dim=1)
    if Method.grad_cam in asked:
        weights = gradients[Method.grad_cam].mean(dim=(2, 3), keepdim=True)
        maps[Method.grad_cam] = (weights * kept["features"]).sum(dim=1).detach()
    return kept["logits"], kept["targets"], maps


def _smoothgrad(forward: Forward, images: Tensor, targets: Tensor) -> Tensor:
    from captum.attr import NoiseTunnel, Saliency

    method = NoiseTunnel(Saliency(forward))
    maps = []
    for image, target in zip(images.detach().split(1), targets.split(1), strict=True):
        _seed(image.device)  # each image meets the same noise, wherever in the batch it stands
        gradient = method.attribute(
            image,
            nt_samples=SAMPLES,
            nt_samples_batch_size=IMAGES_PER_PASS,
            stdevs=NOISE * (image.max() - image.min()).item(),
            target=target,
            abs=False,  # else the average were one of absolute gradients, in which noise does not cancel
        )
        maps.append(gradient.abs().amax(dim=1))
    return torch.cat(maps)


def _seed(device: torch.device) -> None:
    """Seed the one generator that `device` draws from; `torch.manual_seed` would reach those of other devices too."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(NOISE_SEED)
    else:
        torch.get_device_module(device).manual_seed(NOISE_SEED)


def _integrated_gradients(forward: Forward, images: Tensor, targets: Tensor) -> Tensor:
    from captum.attr import IntegratedGradients

    maps = IntegratedGradients(forward).attribute(
        images.detach(),
        baselines=0,
        target=targets,
        n_steps=STEPS,
        internal_batch_size=max(IMAGES_PER_PASS, len(images)),
    )
    return maps.sum(dim=1)


def _occlusion(forward: Forward, images: Tensor, targets: Tensor) -> Tensor:
    from captum.attr import Occlusion

    height, width = images.shape[2:]
    rows, columns = region_grid((height, width))
    row = torch.arange(height, device=images.device) * rows // height  # as `region_means` divides the image
    column = torch.arange(width, device=images.device) * columns // width

    def on_pixels(regions: Tensor) -> Tensor:
        return regions[..., row.unsqueeze(1), column]

    # Captum covers regions of a mask, so that they may differ by a pixel where the grid does not divide the image.
    regions = Occlusion(lambda shown, pixels: forward(pixels * on_pixels(shown))).attribute(
        images.new_ones(len(images), 1, rows, columns),
        sliding_window_shapes=(1, 2, 2),
        baselines=0,
        target=targets,
        additional_forward_args=images.detach(),
        perturbations_per_eval=max(1, IMAGES_PER_PASS // len(images)),
    )
    return on_pixels(regions).squeeze(1)
