"""Moving lines on a terminal; plain lines, and not many, elsewhere and in log files."""

import os
import re
from itertools import pairwise
from pathlib import Path

from helpers.commands import python
from helpers.screen import ESCAPE, lines_of, on_terminal

from gender_cls.system.progress import FIRST_LINE, LONGEST_WAIT, Work, lines_move, working

SLOW = """
import sys, time
from pathlib import Path
from gender_cls.system import progress
from gender_cls.system.logs import start_logging
import logging
start_logging(Path("train.log"))
progress.show_bars(sys.argv[1] == "bars")
progress.FIRST_LINE = 0.5
log = logging.getLogger("gender_cls.x")
with progress.working("Reading [red]images[/]", 1200, "images") as work:
    work.next_line = 0.5
    for _ in range(4):
        time.sleep(0.3)
        work.advance(300)
    log.info("in between", extra={"narrow": "short"})
    log.warning("careful")
    logging.getLogger("matplotlib.font_manager").info("generated new fontManager")
print("done")
"""


def test_on_a_terminal_a_line_moves_and_then_leaves_nothing(tmp_path: Path) -> None:
    shown = on_terminal("-c", SLOW, "bars", cwd=tmp_path)
    assert "Reading [red]images[/] " in shown
    assert any(f" {done} of 1,200 images" in shown for done in (300, 600, 900))
    kept = [line for line in lines_of(shown) if line and "Reading" not in line]
    assert kept == ["in between", "Warning: careful", "done"]
    assert "\x1b[2K" in shown[shown.rindex("Reading") : shown.rindex("done")], "its last picture is erased"
    assert shown.index("\x1b[?25l") < shown.index("\x1b[?25h"), "the cursor comes back"


def test_without_a_terminal_a_slow_step_says_its_name_once_at_first(tmp_path: Path) -> None:
    piped = python("-c", SLOW, "bars", cwd=tmp_path).stdout.splitlines()
    assert piped[0] in {f"Reading [red]images[/]: {done} of 1,200 images ..." for done in ("300", "600")}
    assert piped[1:] == ["in between", "Warning: careful", "done"]
    plain = on_terminal("-c", SLOW, "lines", cwd=tmp_path, NO_COLOR="1")
    assert "\x1b" not in plain
    assert [line for line in lines_of(plain) if line][1:] == ["in between", "Warning: careful", "done"]
    written = (tmp_path / "train.log").read_text().splitlines()
    assert [line.split(maxsplit=2)[2] for line in written[1:4]] == [
        "INFO in between", "WARNING careful", written[3].split(maxsplit=2)[2],
    ]  # fmt: skip
    assert "fontManager" not in "".join(written)


def test_waiting_times_between_plain_lines_double_up_to_a_limit(monkeypatch) -> None:
    from gender_cls.system.progress import _Reporter

    now = [0.0]
    monkeypatch.setattr("gender_cls.system.progress.time.monotonic", lambda: now[0])
    work, said, reporter = Work("Long"), [], _Reporter()
    monkeypatch.setattr("gender_cls.system.progress.log.info", lambda *_, **__: said.append(now[0]))
    for second in range(3600):
        now[0] = float(second)
        reporter._log(work)
    gaps = [second - first for first, second in pairwise(said)]
    assert said[0] == round(FIRST_LINE + 0.4)
    assert gaps == sorted(gaps)
    assert max(gaps) == LONGEST_WAIT
    assert len(said) < 20


def test_a_forked_process_starts_with_no_work(capfd) -> None:
    with working("Outer"):
        if (child := os.fork()) == 0:
            with working("Inner"):
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert not lines_move(), "the output of tests is no terminal"


def test_a_narrow_terminal_shows_less_but_cuts_no_number(tmp_path: Path) -> None:
    code = SLOW.replace("FIRST_LINE = 0.5", "FIRST_LINE = 0.1")
    for columns, parts in ((80, ("\u2501", " left")), (64, ("\u2501",)), (52, ())):
        shown = on_terminal("-c", code, "bars", cwd=tmp_path, columns=columns)
        moving = [ESCAPE.sub("", line) for line in re.split(r"[\r\n]+", shown) if "[/]" in line]
        assert moving, columns
        assert all(part in "".join(moving) for part in parts)
        assert all("of 1,200 images" in line for line in moving)
        assert all(re.search(r"images +0:0\d(, 0:0\d left)?\s*$", line) for line in moving), moving
