"""Log messages: plain sentences on the screen, with time stamps in a file."""

import logging
import warnings
from pathlib import Path
from typing import Any

from gender_cls.errors import harmless, unbroken
from gender_cls.system.terminal import console, wrapped

FILE_FORMAT = "%(asctime)s %(levelname)s %(message)s"

_MARKS = {logging.WARNING: ("Warning: ", "yellow"), logging.ERROR: ("Error: ", "bold red")}
_OURS = ("gender_cls", "hydra_plugins")  # sweepers tell their results; launchers tell each job's long command


class _HarmlessRecord(logging.LogRecord):
    """A record whose text, such as the name of a file, cannot control the terminal that shows it."""

    def getMessage(self) -> str:
        return harmless(super().getMessage())


class ScreenHandler(logging.Handler):
    """Shows a message as a sentence.

    A message may have further fields: `narrow`, a shorter text for a narrow terminal; `style`, rich's; `moves`, which
    says that a moving line shows the same on a terminal; and `in_file`, which says that it is for the file only.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print it above the moving lines, if there are any."""
        try:
            from rich.text import Text

            from gender_cls.system.progress import lines_move

            screen = console()
            if getattr(record, "in_file", False) or (getattr(record, "moves", False) and lines_move()):
                return
            mark, style = _MARKS.get(min(record.levelno, logging.ERROR), ("", ""))
            text, narrow = record.getMessage(), getattr(record, "narrow", None)
            if narrow and screen.is_terminal and len(text) > screen.width:
                text = narrow
            line = Text(wrapped(mark + text), style=getattr(record, "style", ""))
            line.stylize(style, 0, len(mark))
            screen.print(line, soft_wrap=True)
        except Exception:  # as every handler of logging does: a message that cannot be shown ends no training
            self.handleError(record)


def start_logging(file: Path | None = None) -> None:
    """Send the messages of this process to the screen, and to a file if one is named.

    A later call replaces an earlier one. Of other packages only warnings and errors are shown, unless `hydra.verbose`
    asks for all.
    """
    logging.setLogRecordFactory(_HarmlessRecord)
    root = logging.getLogger()
    for earlier in [handler for handler in root.handlers if getattr(handler, "of_gender_cls", False)]:
        root.removeHandler(earlier)
        earlier.close()
    handlers: list[Any] = [ScreenHandler()]
    if file is not None:
        handlers.append(logging.FileHandler(file, encoding="utf-8"))
        handlers[-1].setFormatter(logging.Formatter(FILE_FORMAT))
    for handler in handlers:
        handler.of_gender_cls = True
        handler.addFilter(_is_for_users)
        root.addHandler(handler)
    root.setLevel(min(root.level, logging.INFO))
    warnings.showwarning = _log_warning


def _is_for_users(record: logging.LogRecord) -> bool:
    ours = record.name.startswith(_OURS) and "_launcher" not in record.name
    return ours or record.levelno >= logging.WARNING or logging.getLogger().level <= logging.DEBUG


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    """Show a warning of Python like other warnings."""
    logging.getLogger("py.warnings").warning(f"{unbroken(message)} ({category.__name__}, {filename}:{lineno})")
