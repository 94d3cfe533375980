"""Run a network in the middle of training as a pure function, and leave it exactly as it was."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.func import functional_call

Forward = Callable[[Tensor], Tensor]
"""Images (B, 3, H, W) -> logits (B, classes)."""

IMAGES_PER_PASS = 8
"""The backward pass needs the activations of all images in a pass, so this limits the memory."""


@contextmanager
def isolated(network: nn.Module) -> Iterator[Forward]:
    """Give the network as a function; afterwards, also after an error, the network is bit-identical to before.

    The function runs in evaluation mode and float32, uncompiled, without autocast, and with gradients even inside
    `no_grad` and `inference_mode`. It uses detached views of the weights (copies if they are not float32, because maps
    in bfloat16 would be noise) and copies of the buffers. So `requires_grad` and `.grad` of the parameters do not
    matter, no gradient of a weight is computed and no running statistic changes. Training flags and the random states
    of torch, numpy and Python are restored.
    """
    device = next(network.parameters()).device
    training = [(module, module.training) for module in network.modules()]
    with ExitStack() as stack:
        random_states = isolate_rng(include_cuda=device.type == "cuda")
        random_states.__enter__()
        stack.callback(random_states.__exit__, None, None, None)  # it restores nothing if it sees an error
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if "torch._dynamo" in sys.modules:  # if not, nothing is compiled, and the import would cost seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))  # compiled code skips the hook of Grad-CAM
        weights = {name: weight.detach().float() for name, weight in network.named_parameters()}
        buffers = {name: _float32_copy(buffer) for name, buffer in network.named_buffers()}
        try:
            for module, _ in training:
                module.training = False  # a network may override `eval()`
            yield lambda images: functional_call(network, weights | buffers, (images,))
        finally:
            for module, flag in training:
                module.training = flag


def chunks(inputs: Tensor, *others: Tensor) -> Iterator[list[Tensor]]:
    """Yield `IMAGES_PER_PASS` images at a time, and the same rows of `others`; call it inside `isolated`.

    All are copies on the device of `inputs`, in float32 if they are floating-point numbers. The images collect
    gradients.
    """
    for tensors in zip(*(tensor.split(IMAGES_PER_PASS) for tensor in (inputs, *others)), strict=True):
        images, *rest = (_float32_copy(tensor).to(inputs.device) for tensor in tensors)
        yield [images.requires_grad_(), *rest]


def _float32_copy(tensor: Tensor) -> Tensor:
    """A copy outside autograd and inference mode; integers keep their type."""
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
