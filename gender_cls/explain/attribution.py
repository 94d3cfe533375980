"""Maps that show which pixels a prediction depends on, computed by Captum, also in the middle of training.

The functions here leave the network, the random states and the autograd modes as they were; see `isolated`. A map
explains the difference of two logits, that of a class minus that of the other, because this difference alone decides
and gives the probability: what raises both logits is no evidence. Inputs are normalised, so 0, the baseline, is the
mean colour. The methods:

- Saliency: the absolute gradient at each pixel, the largest of the three channels. Simonyan, Vedaldi, Zisserman, "Deep
  Inside Convolutional Networks", 2013, arXiv:1312.6034.
- SmoothGrad: saliency of the mean gradient of `SAMPLES` noisy copies; noise in the gradient cancels. Smilkov et al.,
  "SmoothGrad: removing noise by adding noise", 2017, arXiv:1706.03825.
- Grad-CAM: the channels of the last feature map, weighted by their mean gradient and summed, enlarged bilinearly, with
  each cell at the centre of the pixels that it looks at (`models/cell_centres.py`). Selvaraju et al., "Grad-CAM: Visual
  Explanations from Deep Networks via Gradient-based Localization", ICCV 2017, arXiv:1610.02391. The ReLU, the last
  step of the paper, is left out: it hides the evidence against the class.
- Integrated Gradients: the mean gradient on the way from the baseline (Gauss-Legendre, `INTEGRATION_POINTS` points),
  times the value, summed over the channels. A map sums to the difference minus that of the baseline. Sundararajan,
  Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, arXiv:1703.01365.
- Occlusion: how far the difference drops when the baseline replaces a window of 2x2 regions of `region_grid`; the mean
  over the windows that cover a region. Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV
  2014, arXiv:1311.2901.

Guided backpropagation, guided Grad-CAM and deconvolution are not offered: their maps hardly change when the weights are
randomised (Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, arXiv:1810.03292), and in networks without
plain ReLUs (MobileNetV2, ConvNeXt, ViT) they are the plain gradient.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.errors import GenderClsError
from gender_cls.explain.isolation import IMAGES_PER_PASS, Forward, chunks, isolated
from gender_cls.explain.map_regions import region_grid, region_of_pixels
from gender_cls.models.feature_map import FeatureMap
from gender_cls.training.classifier import GenderClassifier

SAMPLES = 16  # noisy copies of an image in SmoothGrad
NOISE = 0.15  # standard deviation of the noise, as a share of the range of the image; the paper advises 0.1 to 0.2
NOISE_SEED = 0
INTEGRATION_POINTS = 32  # where Integrated Gradients computes the gradient between the baseline and the image


@dataclass(frozen=True)
class Attribution:
    """Maps of N images and the answers of the network, all on the CPU."""

    probabilities: Tensor  # (N, classes), float32; each row sums to 1
    targets: Tensor  # (N,), int64, the class that the maps explain
    # For each method (N, H, W), float32, unscaled. A `signed` method is above 0 where the image is evidence for the
    # class and below 0 where it is evidence against it; the others are at least 0.
    maps: dict[Method, Tensor]


def feature_map_for(methods: Sequence[Method], classifier: GenderClassifier) -> FeatureMap | None:
    """The layer where Grad-CAM looks; None if it is not among the methods: some networks have no such layer.

    Raises:
        GenderClsError: Grad-CAM is asked for, and there is no such layer.
    """
    return classifier.feature_map if Method.grad_cam in methods else None


def predict(network: nn.Module, inputs: Tensor) -> Tensor:
    """Class probabilities (N, classes) on the CPU, computed as the maps are: in evaluation mode and float32.

    Args:
        inputs: (N, 3, H, W), normalised.
    """
    with isolated(network) as forward, torch.no_grad():
        return torch.cat([forward(images).softmax(dim=1).cpu() for (images,) in chunks(inputs)])


def attribute(
    network: nn.Module,
    inputs: Tensor,
    methods: Sequence[Method],
    feature_map: FeatureMap | None,
    targets: Tensor | None = None,
) -> Attribution:
    """Explain by every method by how much the logit of one class of each image is above that of the other.

    Saliency, Grad-CAM and the probabilities share one forward and one backward pass; the maps, Grad-CAM's before it is
    enlarged, are bit-identical to those of Captum's `Saliency` and `LayerGradCam` of that difference. Cost of an image,
    in forward passes: about 3 for both together (little more than 1 for Grad-CAM alone), 3 * `SAMPLES` for SmoothGrad,
    3 * `INTEGRATION_POINTS` for Integrated Gradients, one for each window of Occlusion: about 100 at 256x128.

    Args:
        inputs: (N, 3, H, W), N at least 1, normalised, so that 0 is the mean colour.
        methods: may be empty.
        feature_map: the layer for Grad-CAM, and how its output becomes (N, C, h, w); only Grad-CAM needs it.
        targets: (N,), index of the class to explain; None explains the predicted class.

    Returns:
        If a probability of an image is not finite (the network diverged), its maps are all NaN.

    Raises:
        GenderClsError: the output of the layer has another grid than `feature_map` says.
    """
    parts = []
    with isolated(network) as forward:
        for images, *given in chunks(inputs, *([] if targets is None else [targets])):
            logits, classes, maps = _one_pass(network, forward, images, methods, feature_map, *given)
            for method, compute in _MORE_PASSES.items():
                if method in methods:
                    maps[method] = compute(lambda pixels: margins(forward(pixels)), images, classes)
            diverged = ~logits.isfinite().all(dim=1).view(-1, 1, 1)  # the gradient of a NaN may be a number
            maps = {method: chunk.detach().masked_fill(diverged, torch.nan).cpu() for method, chunk in maps.items()}
            parts.append(Attribution(logits.softmax(dim=1).cpu(), classes.cpu(), maps))
    return Attribution(
        torch.cat([part.probabilities for part in parts]),
        torch.cat([part.targets for part in parts]),
        {method: torch.cat([part.maps[method] for part in parts]) for method in methods},
    )


def margins(logits: Tensor) -> Tensor:
    """Logits (N, 2) -> (N, 2): by how much the logit of each class is above that of the other one."""
    return logits - logits.flip(1)


def scaled(maps: Tensor) -> Tensor:
    """Each map (H, W) divided by its own largest magnitude, so that 0 stays 0.

    Returns:
        (N, H, W), float32 in [-1, 1]. A map without evidence (all 0) stays 0. A map with any value that is not finite
        becomes NaN everywhere, so that nobody takes a part of it for a map.
    """
    maps = maps.float()
    peak = maps.abs().amax(dim=(1, 2), keepdim=True)
    result = maps / torch.where(peak > 0, peak, 1)
    finite = maps.isfinite().all(dim=2, keepdim=True).all(dim=1, keepdim=True)
    return torch.where(finite, result, torch.nan)


def _one_pass(
    network: nn.Module,
    forward: Forward,
    images: Tensor,
    methods: Sequence[Method],
    feature_map: FeatureMap | None,
    targets: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[Method, Tensor]]:
    """Logits, targets, and saliency and Grad-CAM if asked for, from one forward and at most one backward pass."""
    from captum.attr import LayerGradientXActivation  # here and below: training starts without waiting for it

    # Captum takes dimension 1 of a layer's output for channels, whatever it is. So it looks at an identity that sees
    # every layout as (B, C, h, w). Another identity sees the pixels.
    identities = {Method.saliency: nn.Identity(), Method.grad_cam: nn.Identity()}
    asked = [method for method in identities if method in methods]
    kept: dict[str, Tensor] = {}

    def target_margin(pixels: Tensor) -> Tensor:
        logits = forward(identities[Method.saliency](pixels))
        kept["logits"] = logits.detach()
        kept["targets"] = logits.argmax(dim=1) if targets is None else targets
        return margins(logits).gather(1, kept["targets"].unsqueeze(1)).squeeze(1)

    def through_identity(module: nn.Module, arguments: object, output: Tensor) -> Tensor:
        assert feature_map is not None
        kept["features"] = features = feature_map.to_nchw(output)
        if features.shape[2:] != feature_map.grid:
            raise GenderClsError(
                f"Layer {feature_map.layer} gave a map of shape {tuple(features.shape[2:])} instead of "
                f"{feature_map.grid}: name another layer with model.cam_layer."
            )
        # Captum passes on a copy of what it keeps, so an in-place ReLU behind the layer does no harm.
        return feature_map.from_nchw(identities[Method.grad_cam](features), output)

    maps: dict[Method, Tensor] = {}
    with ExitStack() as stack:
        if Method.grad_cam in asked:
            assert feature_map is not None
            layer = network.get_submodule(feature_map.layer)
            stack.enter_context(layer.register_forward_hook(through_identity))
        if asked:
            layers = [identities[method] for method in asked]
            captum = LayerGradientXActivation(target_margin, layers, multiply_by_inputs=False)
            pixels = images if Method.saliency in asked else images.detach()  # Grad-CAM needs no graph before its layer
            maps = dict(zip(asked, captum.attribute(pixels), strict=True))
        else:
            with torch.no_grad():
                target_margin(images)
    if Method.saliency in maps:
        maps[Method.saliency] = maps[Method.saliency].abs().amax(dim=1)
    if Method.grad_cam in maps:
        weights = maps[Method.grad_cam].mean(dim=(2, 3), keepdim=True)
        cells = (weights * kept["features"].detach()).sum(dim=1, keepdim=True)
        assert feature_map is not None
        maps[Method.grad_cam] = feature_map.over_image(cells, (images.shape[2], images.shape[3])).squeeze(1)
    return kept["logits"], kept["targets"], maps


def _smoothgrad(forward: Forward, images: Tensor, targets: Tensor) -> Tensor:
    from captum.attr import NoiseTunnel, Saliency

    method = NoiseTunnel(Saliency(forward))
    on_cpu = images.device.type == "cpu"
    generator = torch.default_generator if on_cpu else torch.get_device_module(images.device)
    maps = []
    for image, target in zip(images.detach().split(1), targets.split(1), strict=True):
        # The same noise for each image, whatever its place in the batch; `torch.manual_seed` would seed other devices.
        generator.manual_seed(NOISE_SEED)
        gradient = method.attribute(
            image,
            nt_samples=SAMPLES,
            nt_samples_batch_size=IMAGES_PER_PASS,
            stdevs=NOISE * (image.max() - image.min()).item(),
            target=target,
            abs=False,  # in a mean of absolute gradients noise would not cancel
        )
        maps.append(gradient.abs().amax(dim=1))
    return torch.cat(maps)


def _integrated_gradients(forward: Forward, images: Tensor, targets: Tensor) -> Tensor:
    from captum.attr import IntegratedGradients

    maps = IntegratedGradients(forward).attribute(
        images.detach(),
        baselines=0,
        target=targets,
        n_steps=INTEGRATION_POINTS,
        internal_batch_size=max(IMAGES_PER_PASS, len(images)),
    )
    return maps.sum(dim=1)


def _occlusion(forward: Forward, images: Tensor, targets: Tensor) -> Tensor:
    from captum.attr import Occlusion

    height, width = images.shape[2:]
    rows, columns = region_of_pixels((height, width))
    of_pixels = (..., torch.from_numpy(rows).to(images.device), torch.from_numpy(columns).to(images.device))

    # Captum moves its window over a mask of regions, so regions may differ by a pixel if the grid does not divide the
    # image evenly.
    regions = Occlusion(lambda shown, pixels: forward(pixels * shown[of_pixels])).attribute(
        images.new_ones(len(images), 1, *region_grid((height, width))),
        sliding_window_shapes=(1, 2, 2),
        baselines=0,
        target=targets,
        additional_forward_args=images.detach(),
        perturbations_per_eval=max(1, IMAGES_PER_PASS // len(images)),
    )
    return regions[of_pixels].squeeze(1)


_MORE_PASSES = {
    Method.smoothgrad: _smoothgrad,
    Method.integrated_gradients: _integrated_gradients,
    Method.occlusion: _occlusion,
}
