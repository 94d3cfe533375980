"""What commands need of the operating system. Imports no torch, which reads its settings when it is imported."""

import os
import sys

from gender_cls.errors import require


def prepare_operating_system() -> None:
    """Refuse Windows in a sentence; on macOS, let torch compute on the CPU what Apple's GPU cannot."""
    require(
        sys.platform != "win32",
        "gender_cls runs on Linux and macOS: on Windows, install it in the Windows Subsystem for Linux (WSL).",
    )
    if sys.platform == "darwin":
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
