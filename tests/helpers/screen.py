"""What a command prints on a terminal of some width."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path

from helpers.commands import environment

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(*arguments: str, cwd: Path, columns: int = 80, **variables: str) -> str:
    """Run `python ARGUMENTS` in a pseudo terminal, and return all that it wrote, with escape codes."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(cwd)
        kept = {key: value for key, value in environment().items() if key not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")}
        os.execve(sys.executable, [sys.executable, *arguments], {**kept, "TERM": "xterm-256color", **variables})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    parts = []
    try:
        while part := os.read(terminal, 1 << 16):
            parts.append(part)
    except OSError:  # how Linux says that the process has ended
        pass
    finally:
        os.close(terminal)
    text = b"".join(parts).decode()
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0, text
    return text


def lines_of(text: str) -> list[str]:
    """The lines that stay on the screen: a line that is drawn over again and again counts as its last picture."""
    return [line.rpartition("\r")[2].rstrip() for line in ESCAPE.sub("", text).replace("\r\n", "\n").split("\n")]
