import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
from helpers.classifiers import settings
from torch import nn

from gender_cls.errors import GenderClsError
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.load_checkpoint import load_classifier


def content_of(**model: Any) -> dict[str, Any]:
    """A checkpoint of the custom CNN; `model` changes the model that its settings name."""
    classifier = GenderClassifier(settings())
    saved = dict(classifier.hparams)
    saved["config"] = {**saved["config"], "model": {**saved["config"]["model"], **model}}
    return {"hyper_parameters": saved, "state_dict": classifier.state_dict()}


def without(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in keys}


def cut(file: Path) -> None:
    torch.save(content_of(), file)
    file.write_bytes(file.read_bytes()[:-500])


def zipped(file: Path) -> None:
    with ZipFile(file, "w") as other:
        other.writestr("a.txt", "no tensors")


class Code:
    """Unpickling it makes a file."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.made),)


FOREIGN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda file: None, "does not exist"),
    "a folder": (lambda file: file.mkdir(), "is not a file"),
    "a pipe": (lambda file: os.mkfifo(file), "is not a file"),
    "empty": (lambda file: file.touch(), "is empty"),
    "text": (lambda file: file.write_text("weights", encoding="utf-8"), "damaged"),
    "cut": (cut, "end is missing"),
    "zip of other things": (zipped, "damaged"),
    "code": (lambda file: torch.save({"state_dict": Code(file.parent / "made")}, file), "could run code"),
    "plain pickle": (lambda file: file.write_bytes(pickle.dumps(Code(file.parent / "made"))), "damaged|could run code"),
    "a state dict": (lambda file: torch.save(content_of()["state_dict"], file), "no checkpoint"),
    "a number": (lambda file: torch.save(3, file), "no checkpoint"),
    "no settings": (lambda file: torch.save(without(content_of(), "hyper_parameters"), file), "no checkpoint"),
    "no classes": (
        lambda file: torch.save({**content_of(), "hyper_parameters": {"config": {}}}, file),
        "no checkpoint",
    ),
    "other weights": (
        lambda file: torch.save({**content_of(), "state_dict": nn.Linear(2, 2).state_dict()}, file),
        "fit",
    ),
    "nonsense for settings": (lambda file: torch.save(content_of(options={"widths": "x"}), file), "no model"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_checkpoint_that_is_none_is_refused_in_a_sentence(kind: str, tmp_path: Path) -> None:
    write, words = FOREIGN[kind]
    write(tmp_path / "best.ckpt")
    with pytest.raises(GenderClsError, match=words) as caught:
        load_classifier(tmp_path / "best.ckpt")
    sentence = str(caught.value)
    assert "best.ckpt" in sentence
    assert "weights_only" not in sentence, "torch's advice to switch the check off"
    assert not (tmp_path / "made").exists(), "code of the file has run"


@pytest.mark.parametrize(
    "model",
    [
        {"options": {"checkpoint_path": "evil.pth"}},
        {"options": {"pretrained_cfg_overlay": {"url": "http://127.0.0.1/evil.pth"}}},
        {"options": {"pretrained_cfg_overlay": {"file": "evil.pth"}}},
        {"options": {"pretrained_cfg": "resnet18"}},
        {"options": {"pretrained": True}},
        {"options": {"cache_dir": "evil"}},
        {"options": {"act_layer": "hf-hub:evil/one"}},
        {"options": {"act_layer": ["../evil"]}},
        {"name": "hf-hub:evil/one"},
        {"name": "local-dir:evil"},
        {"library": "torchvision", "name": "resnet18", "options": {"weights": "DEFAULT"}},
        {"library": "torchvision", "name": "resnet18", "options": {"weights_backbone": "DEFAULT"}},
    ],
    ids=lambda model: str(model.get("options", model)),
)
def test_a_checkpoint_chooses_no_file_and_no_address(model: dict[str, Any], tmp_path: Path, monkeypatch) -> None:
    def reach(*_: Any, **__: Any) -> None:
        pytest.fail("a file was loaded or an address asked")

    content = content_of(**{"library": "timm", "name": "test_resnet", **model})
    torch.save(content, tmp_path / "best.ckpt")
    torch.save({}, tmp_path / "evil.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.socket.connect", reach)
    for loader in ("timm.models._factory.load_checkpoint", "timm.models._builder.load_pretrained"):
        monkeypatch.setattr(loader, reach)
    with pytest.raises(GenderClsError, match=r"options|is no model"):
        load_classifier(tmp_path / "best.ckpt")
