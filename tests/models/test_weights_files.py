"""Which file of a folder is a model's, and which files hold no weights."""

import stat
from pathlib import Path

import pytest
from helpers.weight_caches import put_in_hub_cache

from gender_cls.config.model import Library, ModelConfig
from gender_cls.errors import GenderClsError
from gender_cls.models.weights_files import damage_of, find_weights, require_whole


def folder(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def found(tmp_path: Path, name: str, *names: str, library: Library = Library.timm) -> str | None:
    file = find_weights(folder(tmp_path, *names), ModelConfig(library, name))
    return None if file is None else file.name


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "pt", "bin", "ckpt"])
@pytest.mark.parametrize("rest", ["", ".ra_in1k", "_imagenet", "-7ebf99e0"])
def test_a_file_is_found_by_the_name_of_the_model_with_any_end(tmp_path: Path, suffix: str, rest: str) -> None:
    name = f"mobilenetv2_100{rest}.{suffix}"
    others = ["mobilenetv2_1000.pth", "mobilenetv2_100d.pth", "mobilenetv2.pth", "x_mobilenetv2_100.pth", "notes.txt"]
    assert found(tmp_path, "mobilenetv2_100", name, *others) == name


@pytest.mark.parametrize(
    ("files", "best"),
    [
        (["resnet50.a1_in1k.pth", "resnet50.pth", "resnet50_x.pth"], "resnet50.a1_in1k.pth"),
        (["resnet50.a1_in1k-0badcafe.pth", "resnet50.pth"], "resnet50.a1_in1k-0badcafe.pth"),
        (["resnet50.pth", "resnet50_gn.pth"], "resnet50.pth"),
        (["resnet50_a1_in1k.pth", "resnet50.tv_in1k.pth", "resnet50.a1_in1k_288.txt"], "resnet50_a1_in1k.pth"),
        (["resnet50-timm.pth", "resnet50-torchvision.pth"], "resnet50-timm.pth"),
    ],
)
def test_the_name_with_its_tag_goes_before_the_plain_name(tmp_path: Path, files: list[str], best: str) -> None:
    assert found(tmp_path, "resnet50.a1_in1k", *files) == best


def test_each_library_has_its_file_of_the_same_architecture(tmp_path: Path) -> None:
    files = ["resnet152_timm.pth", "resnet152_torchvision.pth"]
    assert found(tmp_path, "resnet152", *files, library=Library.torchvision) == files[1]
    assert found(tmp_path, "resnet152.a1h_in1k", *files) == files[0]


def test_several_files_that_fit_equally_are_listed(tmp_path: Path) -> None:
    words = r"2 files for timm/resnet50: resnet50_a\.pth, resnet50_b\.pth; .*model\.weights=FILE"
    with pytest.raises(GenderClsError, match=words):
        found(tmp_path, "resnet50", "resnet50_a.pth", "resnet50_b.pth", "other.pth")


@pytest.mark.parametrize(
    ("files", "words"),
    [((), "there are none at all"), (("resnet50d.pth", "a.pth"), r"there are a\.pth, resnet50d\.pth")],
)
def test_a_folder_without_the_file_says_what_it_has(tmp_path: Path, files: tuple[str, ...], words: str) -> None:
    with pytest.raises(
        GenderClsError, match=rf"no file for timm/resnet50\.a1_in1k\. .*resnet50\.a1_in1k\.saf.*{words}"
    ):
        found(tmp_path, "resnet50.a1_in1k", *files)


def test_the_custom_cnn_needs_no_file(tmp_path: Path) -> None:
    assert found(tmp_path, "custom_cnn", "resnet50.pth", library=Library.custom) is None
    assert found(tmp_path, "custom_cnn", "custom_cnn-mine.pth", library=Library.custom) == "custom_cnn-mine.pth"


def test_a_cache_of_the_hub_is_such_a_folder(tmp_path: Path) -> None:
    put_in_hub_cache(tmp_path, "timm/test_vit.r160_in1k", b"x")
    put_in_hub_cache(tmp_path, "timm/test_vit2.r160_in1k", b"y")
    (tmp_path / "test_resnet").mkdir()
    (tmp_path / "test_resnet" / "pytorch_model.bin").write_bytes(b"z")
    file = find_weights(tmp_path, ModelConfig(Library.timm, "test_vit"))
    assert file is not None
    assert (file.suffix, file.read_bytes()) == (".safetensors", b"x")
    assert found(tmp_path, "test_resnet") == "pytorch_model.bin"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pth", b"", "empty"),
        ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "Git LFS"),
        ("a.pth", b"\n<!DOCTYPE html><html>", "web page"),
        ("a.pth", b"PK\x03\x04 and no end", "its end is missing"),
        ("a.safetensors", b"\x02\x00\x00\x00\x00\x00\x00\x00[]", "no header of tensors"),
        ("a.safetensors", b"\xff" * 40, "no header of tensors"),
        ("a.safetensors", b"\x02\x00\x00\x00\x00\x00\x00\x00{}zz", "it has 12 of 10 bytes"),
    ],
)
def test_what_holds_no_weights_is_told_by_its_first_bytes(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(GenderClsError, match=rf"{file} holds no weights, because .*{words}.*: set model\.weights to"):
        require_whole(file)


def test_an_empty_header_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    assert damage_of(tmp_path / "a.safetensors") is None


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder(tmp_path, "a.pth") / "a.pth"
    file.chmod(stat.S_IWUSR)

    def refuse(*_: object) -> None:  # root may read everything
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(GenderClsError, match=rf"{file} cannot be read \(Permission denied\): change its permissions"):
        require_whole(file)
