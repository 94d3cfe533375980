"""The processes that train one model together (ranks), one for each device. Alone, a process is rank 0 of 1."""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as group
from torch import Tensor

# A rank may wait while rank 0 draws explanations. A rank that dies closes its connections, which ends the others.
PATIENCE = timedelta(days=1)


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the ranks that torchrun started this process with; leave them at the end, unless there is an error."""
    # This warning comes for gradients of one row, such as a class token's, whose strides mean nothing.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    # Numbers on the CPU go over gloo also between GPUs: reading them does not wait for the device.
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    group.init_process_group(backend, timeout=PATIENCE)
    failed = False
    try:
        yield
    except Exception:
        failed = True
        raise
    finally:
        if not failed:  # NCCL waits here for the others, and after an error they wait for this one
            group.destroy_process_group()


def number() -> int:
    """How many ranks train together, on all machines."""
    return group.get_world_size() if group.is_initialized() else 1


def number_here() -> int:
    """How many of them are on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if number() > 1 else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return group.get_rank() if group.is_initialized() else 0


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of a tensor over all ranks; each of them must call it."""
    if number() == 1:
        return values
    total = values.clone()
    group.all_reduce(total)
    return total


def gather_rows(rows: Tensor) -> Tensor:
    """All rows of a table, on every rank. Each rank gives the rows `rank`, `rank + number`, ... of the table.

    Args:
        rows: (rows of this rank, ...), at least one; each rank must call it.
    """
    if number() == 1:
        return rows
    total = int(sum_over_ranks(torch.tensor(len(rows))))
    most = -(-total // number())
    padded = torch.cat([rows, rows[:1]]) if len(rows) < most else rows
    parts = [torch.empty_like(padded) for _ in range(number())]
    group.all_gather(parts, padded.contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)[:total]


def mean_over_ranks(value: Tensor, weight: Tensor | float) -> Tensor:
    """The mean over all ranks of a value (a scalar), each with its weight; it is on the value's device."""
    if number() == 1:
        return value
    total, weights = sum_over_ranks(torch.stack([value * weight, torch.ones_like(value) * weight]))
    return total / weights


def average_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over all ranks; one exchange for all of them."""
    if number() == 1 or not tensors:
        return
    mean = sum_over_ranks(torch.cat([tensor.flatten() for tensor in tensors])) / number()
    for tensor, part in zip(tensors, mean.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
