"""A process that is asked to stop stops, whatever it is doing."""

import os
import signal
import sys
import threading
import time

import pytest

from gender_cls.system import signals
from gender_cls.system.signals import STOPS, Stopped, noting_stops, stop_behind, stopping_on_signals, unless_stopped


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_is_raised_and_the_handlers_come_back(number: int) -> None:
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(Stopped) as stopped, stopping_on_signals():
            signal.raise_signal(number)
        assert stopped.value.signal == number
        assert signal.getsignal(number) is signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)
        with stopping_on_signals():
            signal.raise_signal(number)  # as nohup wants it
    finally:
        signal.signal(number, before)


def test_a_stop_that_python_drops_is_raised_again() -> None:
    class Finalised:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def work() -> None:
        Finalised()
        time.sleep(5)

    with pytest.raises(Stopped), stopping_on_signals():
        work()


def test_a_stop_that_left_a_lock_held_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_PATIENCE", 0.05)
    held, closed = threading.Condition(threading.Lock()), []

    def work() -> None:
        try:
            held.acquire()  # whose release the stop prevents
            signal.raise_signal(signal.SIGTERM)
        finally:
            time.sleep(0.15)  # work that takes long is not disturbed
            closed.append("half")
            with held:
                closed.append("whole")

    with pytest.raises(Stopped) as stopped, stopping_on_signals():
        work()
    assert (stopped.value.signal, closed) == (signal.SIGTERM, ["half"])


def test_signals_at_one_moment_are_one_request() -> None:
    cleaned = []
    with stopping_on_signals():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Stopped:
            signal.raise_signal(signal.SIGTERM)
            cleaned.append("whole")
    assert cleaned == ["whole"]


@pytest.mark.parametrize(("number", "ending"), [(signal.SIGINT, 7 << 8), (signal.SIGTERM, signal.SIGTERM)])
def test_forked_children_leave_ctrl_c_to_their_parent_and_die_of_the_others(number: int, ending: int) -> None:
    before = signal.signal(number, signal.default_int_handler)
    try:
        with stopping_on_signals():
            child = os.fork()
            if child == 0:
                signal.raise_signal(number)
                os._exit(7)
            assert os.waitpid(child, 0)[1] == ending
    finally:
        signal.signal(number, before)


def test_noted_stops_leave_only_work_that_may_be_left() -> None:
    done: list[str] = []

    def work() -> None:
        done.append("began")
        signal.raise_signal(signal.SIGUSR1)
        done.append("ended")

    with stopping_on_signals(), noting_stops() as noted:
        unless_stopped(work)
        unless_stopped(work)
        signal.raise_signal(signal.SIGTERM)
        done.append("whole")
    assert (done, noted.signal) == (["began", "whole"], signal.SIGUSR1)
    with pytest.raises(Stopped), stopping_on_signals():
        unless_stopped(work)  # outside, stops are raised


def test_the_stop_behind_another_exception_is_found() -> None:
    def lightning() -> None:
        try:
            raise Stopped(signal.SIGTERM)
        except Stopped:
            sys.exit(1)

    with pytest.raises(SystemExit) as caught:
        lightning()
    found = stop_behind(caught.value)
    assert isinstance(found, Stopped)
    assert found.signal == signal.SIGTERM
    assert stop_behind(found) is found
    assert isinstance(stop_behind(SystemExit(1)), KeyboardInterrupt)
    assert stop_behind(ValueError()) is None
