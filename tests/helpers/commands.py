"""Commands run as a user runs them, and those that the README shows."""

import os
import subprocess
import sys
from pathlib import Path

COMPARING = "python -m gender_cls.compare runs=outputs/sweeps/NAME"

EVALUATING = "python -m gender_cls.evaluate run=outputs/sweeps/NAME stress=true"
EXPLAINING = "python -m gender_cls.explain run=outputs/runs/NAME"
"""As the README has them."""


def command(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    return subprocess.run(
        [sys.executable, "-m", f"gender_cls.{name}", *arguments],
        cwd=cwd, env={**kept, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
