"""How this process stops when it is asked to: by Ctrl-C, by a closed terminal (SIGHUP), by a scheduler."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

_AGAIN = 0.02  # seconds until a stop is raised again that Python could not raise
_PATIENCE = 5.0  # seconds that the program may wait for a lock after a stop
_ONE_REQUEST = 1.0  # seconds; signals within them come from one request, as when a whole process group gets one


def _existing(*names: str) -> tuple[int, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


FROM_SCHEDULERS = _existing("SIGTERM", "SIGUSR1", "SIGUSR2")
"""The signals that schedulers send some time before they kill a process."""

STOPS = (*_existing("SIGINT", "SIGHUP"), *FROM_SCHEDULERS)


class Stopped(KeyboardInterrupt):
    """Raised wherever the program is when a signal asks it to stop; `signal` is its number."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.signal = number


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Raise Stopped in the main thread of this process on Ctrl-C, SIGHUP and FROM_SCHEDULERS, unless they are ignored.

    Python drops an exception that a signal raises inside a finaliser or while a process is forked; it is raised again
    a moment later. An exception at the wrong moment leaves a lock held, such as that of TensorBoard's writer: where the
    program then waits for it, it is raised again. Children that are forked inside, such as those of data loaders, leave
    Ctrl-C to their parent and end on the other signals.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    owner, last = os.getpid(), -_ONE_REQUEST

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal last
        if os.getpid() != owner:
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
        elif time.monotonic() - last > _ONE_REQUEST:
            last = time.monotonic()
            watch_for_locks(number)
            raise Stopped(number)

    with handling(STOPS, stop), _raising_stops_again() as watch_for_locks:
        yield


@contextlib.contextmanager
def handling(numbers: Iterable[int], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Inside, the handler gets these signals, except those that are ignored (as SIGHUP is with nohup).

    Only the main thread may set handlers: in another one, nothing changes.
    """
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers if main}
    try:
        for number, earlier in before.items():
            if earlier is not signal.SIG_IGN:
                signal.signal(number, handler)
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)


@contextlib.contextmanager
def holding_stops() -> Iterator[None]:
    """Inside, stops wait. A child that starts inside begins in this state, see `stopping_child_on_signals`."""
    _hold(True)
    try:
        yield
    finally:
        _hold(False)


@contextlib.contextmanager
def stopping_child_on_signals() -> Iterator[None]:
    """As `stopping_on_signals`, in a child that started inside `holding_stops`: no handler of the parent ever runs."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    with stopping_on_signals():
        _hold(False)
        try:
            yield
        finally:
            _hold(True)  # the process ends, with its own exit code


def _hold(on: bool) -> None:
    if hasattr(signal, "pthread_sigmask"):  # a POSIX system
        signal.pthread_sigmask(signal.SIG_BLOCK if on else signal.SIG_UNBLOCK, STOPS)


class NotedStop:
    """`signal` is the number of the first signal that was noted; None before."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def note(self, number: int, _: FrameType | None = None) -> None:
        """Note a signal; later ones do not count."""
        self.signal = self.signal or number


_noted: NotedStop | None = None  # while `noting_stops` is active


@contextlib.contextmanager
def noting_stops() -> Iterator[NotedStop]:
    """Inside, FROM_SCHEDULERS are only noted: the program stops itself when it has kept its work."""
    global _noted
    _noted = noted = NotedStop()
    try:
        with handling(FROM_SCHEDULERS, noted.note):
            yield noted
    finally:
        _noted = None


class _Left(BaseException):
    """Ends work in `unless_stopped`."""


def unless_stopped(work: Callable[[], None]) -> None:
    """Do work that may be left at any moment: a stop that is noted meanwhile ends it; after one, it does not begin."""
    noted = _noted
    if noted is None:
        work()
    elif noted.signal is None:

        def leave(number: int, _: FrameType | None) -> None:
            if noted.signal is None:
                noted.note(number)
                raise _Left

        with contextlib.suppress(_Left), handling(FROM_SCHEDULERS, leave):
            work()


@contextlib.contextmanager
def _raising_stops_again() -> Iterator[Callable[[int], None]]:
    """Inside, dropped stops are raised again. Call what it yields with the signal before raising Stopped."""
    if not hasattr(signal, "setitimer"):  # not a POSIX system
        yield lambda _: None
        return
    dropped: list[int] = []
    asked: list[int] = []
    hook, handler = sys.unraisablehook, signal.getsignal(signal.SIGALRM)

    def note(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, Stopped):
            dropped.append(unraisable.exc_value.signal)
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        else:
            hook(unraisable)

    def raise_again(_: int, frame: FrameType | None) -> None:
        if dropped:
            number = dropped.pop()
            wait(number)
            raise Stopped(number)
        if asked:
            wait(asked[-1])
            if frame is not None and frame.f_code.co_filename == threading.__file__:
                raise Stopped(asked[-1])

    def wait(number: int) -> None:
        asked.append(number)
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE)

    sys.unraisablehook = note
    signal.signal(signal.SIGALRM, raise_again)
    try:
        yield wait
    finally:
        sys.unraisablehook = hook
        signal.setitimer(signal.ITIMER_REAL, 0)  # a late one would end the process
        signal.signal(signal.SIGALRM, handler)


def stop_behind(error: BaseException) -> KeyboardInterrupt | None:
    """The stop that this exception is or came from, as Lightning makes SystemExit of it; None if it is a real error."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause or (Stopped() if isinstance(error, SystemExit) else None)
