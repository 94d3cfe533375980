"""Child processes that do not outlive their parent."""

import os
import threading
from multiprocessing.connection import wait
from multiprocessing.process import parent_process


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
