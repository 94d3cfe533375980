"""How the process of a device ends."""

import subprocess
import sys

SCRIPT = """
import atexit, time
from multiprocessing import get_context
from gender_cls.cli.rank import end_at_once

get_context("fork").Process(target=time.sleep, args=(60,), daemon=True).start()
atexit.register(time.sleep, 60)
print("said")
end_at_once(143)
"""


def test_a_rank_that_fails_ends_at_once_and_ends_its_loader_processes() -> None:
    """The command below waits for all processes that can write to its output."""
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "said\n", "")
