"""MATLAB files that end the process that reads them."""

import io
import os
import signal
from pathlib import Path

import pytest
from helpers.importing import cell
from scipy.io import savemat

from gender_cls.data.importers import matlab
from gender_cls.data.importers.matlab import MatFile
from gender_cls.errors import GenderClsError


@pytest.mark.parametrize("change", [(284, 0), (284, 15), (224, 12), (368, 255)])  # each was a segmentation fault
def test_a_crafted_file_ends_in_a_sentence(tmp_path: Path, change: tuple[int, int]) -> None:
    content = io.BytesIO()
    savemat(content, {"peta": {"attribute": cell(["a.png", "b.png", "c.png"])}})
    place, value = change
    (tmp_path / "a.mat").write_bytes(
        content.getvalue()[:place] + bytes([value, 0, 0, 0]) + content.getvalue()[place + 4 :]
    )
    with pytest.raises(GenderClsError, match=r"a\.mat cannot be read as a MATLAB file"):
        MatFile(tmp_path / "a.mat")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the patch does not reach a spawned process")
def test_whatever_ends_the_reading_process_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matlab, "loadmat", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(GenderClsError, match="ended the reading process"):
        MatFile(tmp_path / "a.mat")
