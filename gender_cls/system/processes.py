"""Child processes: how they start, and that they do not outlive their parent."""

import os
import sys
import threading
import warnings
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import parent_process
from typing import Any


def end_with_parent() -> None:
    """Called in a child: end it when its parent is gone, however that ended.

    Otherwise the child of a killed process works on unseen, in the way of whoever resumes.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def forking() -> BaseContext | None:
    """What starts a DataLoader's workers at once, as copies of this process; None where the system's default is to be.

    From Python 3.14 the default is another one, which imports everything again: 3 to 7 s for each worker. A copy must
    not touch a GPU, nor take a lock that a thread held; workers that only read and change pixels do neither.
    """
    return _Forking() if sys.platform == "linux" else None


if sys.platform == "linux":
    from multiprocessing.context import ForkContext, ForkProcess

    class _QuietProcess(ForkProcess):
        @staticmethod
        def _Popen(process_obj: Any) -> Any:
            with warnings.catch_warnings():  # Python 3.12 and later warn of any thread, and torch always has some
                warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
                return ForkProcess._Popen(process_obj)

    class _Forking(ForkContext):
        Process = _QuietProcess
