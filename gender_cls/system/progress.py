"""What is being done right now: a moving line on a terminal, a plain line now and then elsewhere and in log files."""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gender_cls.errors import count
from gender_cls.system.terminal import console, fitting

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

log = logging.getLogger(__name__)

SHORT = 0.4  # seconds of work that is over before anybody would read about it
FIRST_LINE, LONGEST_WAIT = 2.5, 300.0  # seconds until the first plain line, and between two plain lines
REFRESH = 0.2  # seconds between two pictures of the moving lines
BAR = 12  # columns


@dataclass
class Work:
    """Something that takes time; `total` is None where nobody knows how much of it there is."""

    what: str
    total: int | None = None
    unit: str = ""
    first_line: float = FIRST_LINE  # seconds until the first plain line
    done: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.began, self.next_line = time.monotonic(), self.first_line

    def advance(self, number: int = 1) -> None:
        """So many more of them are done."""
        self.done += number

    def turn_to(self, what: str, total: int | None = None, unit: str = "", first_line: float = FIRST_LINE) -> None:
        """Go on with other work in the same place."""
        self.what, self.total, self.unit, self.first_line, self.done = what, total, unit, first_line, 0
        self.__post_init__()

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.monotonic() - self.began

    @property
    def amount(self) -> str:
        """`64 of 600 images`; empty where nobody knows the total."""
        return "" if self.total is None else f"{count(self.done)} of {count(self.total)} {self.unit}".strip()

    @property
    def plain_line(self) -> str:
        """What a log file says about it."""
        amount = f": {self.amount}" if self.done else ""
        return f"{self.what}{amount} ..."


_works: list[Work] = []  # the innermost comes last
_reporter: "_Reporter | None" = None
_bars = True


def show_bars(wanted: bool) -> None:
    """Choose moving lines, where there is a terminal, or plain ones."""
    global _bars
    _bars = wanted


def lines_move() -> bool:
    """Whether there are moving lines: on a terminal, unless they are not wanted."""
    screen = console()
    return _bars and screen.is_terminal and not screen.is_dumb_terminal


@contextlib.contextmanager
def working(what: str, total: int | None = None, unit: str = "") -> Iterator[Work]:
    """Say what is being done, until it is done. It may be used inside itself; then all of it is shown.

    Args:
        what: such as "Reading images".
        total: how many; the caller calls `advance`.
        unit: of what, in the plural.
    """
    global _reporter
    work = Work(what, total, unit)
    _works.append(work)
    if _reporter is None:
        _reporter = _Reporter()
        _reporter.start()
    try:
        yield work
    finally:
        if work in _works:
            _works.remove(work)
        if not _works and _reporter is not None:
            reporter, _reporter = _reporter, None
            reporter.stop()


def _start_anew() -> None:
    """A forked process has its own work; the thread that reports is not copied."""
    global _reporter
    _works.clear()
    _reporter = None


os.register_at_fork(after_in_child=_start_anew)


class _Reporter(threading.Thread):
    """Draws the moving lines, or logs the plain ones."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="progress")
        self._over = threading.Event()
        self._live: Live | None = None

    def run(self) -> None:
        while not self._over.wait(REFRESH):
            works = [work for work in [*_works] if work.seconds > SHORT]
            if works and lines_move():
                self._draw(works)
            if works:
                self._log(works[-1])

    def stop(self) -> None:
        """Remove the moving lines."""
        self._over.set()
        self.join()
        if self._live is not None:
            self._live.stop()

    def _draw(self, works: list[Work]) -> None:
        if self._live is None:
            from rich.live import Live

            self._live = Live(
                _moving_lines(works),
                console=console(),
                auto_refresh=False,
                transient=True,
                redirect_stderr=sys.stderr.isatty(),
            )
            self._live.start()
        self._live.update(_moving_lines(works), refresh=True)

    def _log(self, work: Work) -> None:
        """The first line after a few seconds; then the waiting time doubles, so that there are not too many."""
        if work.seconds >= work.next_line:
            work.next_line = work.next_line + min(max(2 * work.next_line, 4 * FIRST_LINE), LONGEST_WAIT)
            log.info(work.plain_line, extra={"moves": True})


def _moving_lines(works: list[Work]) -> "Table":
    """One line for each, with less on it where the terminal is narrow: words and numbers are not cut."""
    from rich.measure import Measurement

    screen = console()
    unlimited = screen.options.update(max_width=1000)
    for has_bar, has_rest in ((True, True), (True, False), (False, False)):
        grid = _grid(works, has_bar, has_rest)
        if Measurement.get(screen, unlimited, grid).maximum <= screen.width:
            break
    return grid


def _grid(works: list[Work], has_bar: bool, has_rest: bool) -> "Table":
    """For each a sign that moves, what it is, a bar, how many of how many, the time, and how long the rest takes."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    signs = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if (console().encoding or "").lower().startswith("utf") else "|/-\\"
    grid = Table.grid(padding=(0, 1))
    for _ in range(5):
        grid.add_column(no_wrap=True, overflow="crop")
    for work in works:
        sign = Text(signs[int(work.seconds / REFRESH) % len(signs)], style="cyan")
        bar: ProgressBar | str = (
            "" if work.total is None or not has_bar else ProgressBar(work.total, work.done, width=BAR)
        )
        clock = _clock(work.seconds)
        if has_rest and work.total and work.done and work.seconds > FIRST_LINE:
            clock += f", {_clock(work.seconds / work.done * max(work.total - work.done, 0))} left"
        grid.add_row(sign, Text(fitting(work.what)), bar, Text(work.amount), Text(clock, style="dim"))
    return grid


def _clock(seconds: float) -> str:
    """`0:07` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
