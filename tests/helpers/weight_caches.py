"""Caches of published weights, laid out as their libraries do it."""

import hashlib
import io
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

COMMIT = "1234567890" * 4


def as_safetensors(network: nn.Module) -> bytes:
    return save(dict(network.state_dict()))


def as_pth(network: nn.Module, *, old_format: bool = False) -> bytes:
    torch.save(network.state_dict(), file := io.BytesIO(), _use_new_zipfile_serialization=not old_format)
    return file.getvalue()


def put_in_hub_cache(cache: Path, repository: str, content: bytes, name: str = "model.safetensors") -> Path:
    """Keep a file as huggingface_hub does; returns the blob, to which the file's name is a link."""
    folder = cache / "--".join(["models", *repository.split("/")])
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    link = folder / "snapshots" / COMMIT / name
    for file in (blob, link, folder / "refs" / "main"):
        file.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link.symlink_to(Path("..", "..", "blobs", blob.name))
    (folder / "refs" / "main").write_text(COMMIT)
    return blob


def put_in_torch_cache(home: Path, address: str, content: bytes) -> Path:
    """Keep a file under the name that it has in its address, as torch.hub does."""
    file = home / "hub" / "checkpoints" / address.rpartition("/")[2]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file
