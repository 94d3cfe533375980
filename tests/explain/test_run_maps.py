import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from gender_cls.errors import GenderClsError
from gender_cls.explain.run_maps import RunMaps, load_run_maps, save_run_maps


def kept(maps: np.ndarray) -> RunMaps:
    return RunMaps(
        paths=["FEMALE/один два.png", "MALE/0002.png"],
        explained=["FEMALE", "MALE"],
        maps={"saliency": np.abs(maps), "grad_cam": maps},
        boxes=np.array([[0, 0, 32, 64], [-3.25, 0, 35.25, 64]]),
    )


def saved_and_loaded(file: Path, run_maps: RunMaps) -> Any:
    save_run_maps(file, run_maps)
    return load_run_maps(file)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 64, 32)).astype(np.float32)
    saved = kept(maps)
    loaded = saved_and_loaded(tmp_path / "explanations" / "maps.npz", saved)
    for name in ("paths", "explained"):
        assert getattr(loaded, name) == getattr(saved, name), name
    assert np.array_equal(loaded.boxes, saved.boxes)
    assert list(loaded.maps) == ["saliency", "grad_cam"]
    assert loaded.maps["grad_cam"].dtype == np.float32
    np.testing.assert_allclose(loaded.maps["grad_cam"], maps, rtol=2**-11, atol=2**-24)  # half of float16's last place
    assert [file.name for file in (tmp_path / "explanations").iterdir()] == ["maps.npz"]


def test_maps_that_half_precision_cannot_hold(tmp_path: Path) -> None:
    maps = np.zeros((2, 64, 32), np.float32)
    maps[0, 0, 0], maps[1] = 1e6, np.nan
    loaded = saved_and_loaded(tmp_path / "maps.npz", kept(maps))
    assert loaded.maps["grad_cam"][0].max() == 65504
    assert np.isnan(loaded.maps["grad_cam"][1]).all()


def test_a_run_may_have_no_maps(tmp_path: Path) -> None:
    assert load_run_maps(tmp_path / "maps.npz") is None


def test_a_run_may_have_maps_of_no_image(tmp_path: Path) -> None:
    nothing = RunMaps([], [], {"saliency": np.zeros((0, 64, 32), np.float32)}, np.zeros((0, 4)))
    loaded = saved_and_loaded(tmp_path / "maps.npz", nothing)
    assert (loaded.paths, loaded.maps["saliency"].shape, loaded.boxes.shape) == ([], (0, 64, 32), (0, 4))


DAMAGES: dict[str, Callable[[BinaryIO], object]] = {
    "empty": lambda stream: stream.truncate(0),
    "cut": lambda stream: stream.truncate(9000),
    "flipped": lambda stream: (stream.seek(9000), stream.write(bytes(64))),
    "part": lambda stream: (stream.truncate(0), np.savez(stream, paths=np.array(["a", "b"]))),
    "array": lambda stream: (stream.truncate(0), np.save(stream, np.zeros(3))),
    "object": lambda stream: (stream.truncate(0), np.savez(stream, methods=np.array([{}], dtype=object))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "maps.npz"
    save_run_maps(file, kept(np.random.default_rng(0).normal(size=(2, 64, 32)).astype(np.float32)))
    with file.open("r+b") as stream:
        DAMAGES[damage](stream)
    with pytest.raises(GenderClsError, match=re.escape(str(file))):
        load_run_maps(file)
