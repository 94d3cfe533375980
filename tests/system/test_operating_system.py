import os
import sys

import pytest

from gender_cls.errors import GenderClsError
from gender_cls.system.operating_system import prepare_operating_system


def test_windows_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(GenderClsError, match="Windows Subsystem for Linux"):
        prepare_operating_system()


def test_on_macos_the_cpu_computes_what_the_gpu_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    prepare_operating_system()
    assert os.environ == {}
    monkeypatch.setattr(sys, "platform", "darwin")
    prepare_operating_system()
    assert os.environ == {"PYTORCH_ENABLE_MPS_FALLBACK": "1"}
