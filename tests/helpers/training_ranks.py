"""Several ranks in processes forked from the test, which have torch already."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore

from gender_cls.system.processes import fork_context
from gender_cls.training import ranks


def on_ranks(number: int, work: Callable[[], Any], folder: Path) -> list[Any]:
    """Call a function on each of several ranks on the CPU; return what it returned on each (plain values, tensors)."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun's agent does
    processes = [
        fork_context().Process(target=_rank, args=(rank, number, store.port, work, folder)) for rank in range(number)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * number
    return [torch.load(folder / f"{rank}.pt") for rank in range(number)]


def _rank(rank: int, number: int, port: int, work: Callable[[], Any], folder: Path) -> None:
    os.environ.update(
        {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
        | {"WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number), "MASTER_PORT": str(port)}
        | {"TORCHELASTIC_USE_AGENT_STORE": "True"}
    )
    torch.set_num_threads(1)
    with ranks.joined("cpu"):
        torch.save(work(), folder / f"{rank}.pt")
