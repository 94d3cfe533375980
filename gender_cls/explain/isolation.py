"""A network in the middle of training as a function to explain, put back as it was afterwards."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.func import functional_call

IMAGES_PER_PASS = 8
"""Images in one pass. The activations of a chunk are held for the backward pass, so this bounds the memory."""


@contextmanager
def isolated(network: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
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


def chunks(inputs: Tensor, *others: Tensor) -> Iterator[list[Tensor]]:
    """`IMAGES_PER_PASS` images at a time, as leaves that collect gradients, with their rows of `others`.

    Yields:
        Copies on the device of `inputs`, floating-point ones in float32; to be called inside `isolated`.
    """
    for start in range(0, len(inputs), IMAGES_PER_PASS):
        images, *rest = (
            _float32_copy(tensor[start : start + IMAGES_PER_PASS]).to(inputs.device) for tensor in (inputs, *others)
        )
        yield [images.requires_grad_(), *rest]


def in_chunks(function: Callable[..., Tensor], inputs: Tensor, *others: Tensor) -> Tensor:
    """`function` applied to `IMAGES_PER_PASS` images at a time; the results joined, float32 on the CPU."""
    return torch.cat([function(*chunk).detach().float().cpu() for chunk in chunks(inputs, *others)])


def _float32_copy(tensor: Tensor) -> Tensor:
    """A copy outside autograd and inference mode; counters and index tables keep their type."""
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
