"""The one exception whose message is written for users, and how numbers, lists and names read in a sentence."""

import contextlib
import errno
import logging
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator

log = logging.getLogger(__name__)


class GenderClsError(Exception):
    """One sentence that names the file, key or value at fault and the way out.

    Commands print it without a traceback and exit with code 1.
    """

    def __init__(self, sentence: str = "") -> None:
        from_loader = _FROM_LOADER.fullmatch(sentence)
        super().__init__(from_loader[1] if from_loader else sentence)


_FROM_LOADER = re.compile(r"Caught \w+ in DataLoader worker process \d+\.\n.*\n[\w.]+: (.*)\n", re.DOTALL)
"""How torch words the error of a loader process when it raises it again: a traceback, then the sentence."""


def require(condition: bool, sentence: str) -> None:
    """Raise GenderClsError with this sentence unless the condition holds."""
    if not condition:
        raise GenderClsError(sentence)


def count(number: float) -> str:
    """A whole number with commas: `1,200`."""
    return f"{number:,.0f}"


def plural(number: int, one: str, many: str = "") -> str:
    """`1 image`, `1,200 images`; give `many` where adding an s is not enough."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def of_people(number: int, one: str, people: int) -> str:
    """`818 images of 206 people`; `818 images` where nobody is known."""
    return plural(number, one) + (f" of {plural(people, 'person', 'people')}" if people else "")


def first_few(values: Iterable[object], most: int = 3) -> str:
    """The first few of many values, each `visible`, and how many more there are, for a sentence."""
    values = list(values)
    return ", ".join(map(visible, values[:most])) + (f" and {len(values) - most} more" if len(values) > most else "")


def visible(value: object) -> str:
    """A name or value from the data as text in which everything can be seen.

    Characters that show nothing or control a terminal, and bytes that are not UTF-8, become escapes such as `\\xa0`.
    Quotes show blanks at an end, and an empty text.
    """
    text = "".join(letter if letter.isprintable() else _escape(letter) for letter in str(value))
    return text if text and text == text.strip() else f"'{text}'"


def has_odd_letters(text: str) -> bool:
    """Whether tables cannot keep the text: it holds a control character, such as a new line, or is not UTF-8."""
    return not text.isprintable() and any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)


def harmless(text: str) -> str:
    """The same lines, with escapes for what controls a terminal and for bytes that are not UTF-8."""
    return _CONTROL.sub(lambda found: _escape(found[0]), text)


CONTROLS = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""For a pattern: what controls a terminal or the direction of text besides ASCII's controls, and bytes not in UTF-8."""

_CONTROL = re.compile(rf"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f{CONTROLS}]")


def _escape(letter: str) -> str:
    is_byte = "\udc80" <= letter <= "\udcff"  # of a name that is not UTF-8, as Python keeps it
    return f"\\x{ord(letter) - 0xDC00:02x}" if is_byte else letter.encode("unicode_escape").decode()


def error_sentence(error: BaseException) -> str:
    """The message of our own errors; what the system's errors mean; that of others on one line, after their type."""
    text = unbroken(error)
    return text if isinstance(error, GenderClsError) else disk_sentence(error) or f"{type(error).__name__}: {text}"


NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors that say that there is no room: no bytes, no inodes or no quota."""

_AGAIN = "Then start the same command again."
_FULL = {
    errno.ENOSPC: f"the disk has no room left (or takes no more files): free some. {_AGAIN}",
    errno.EDQUOT: f"your quota of the disk is used up: free some of it. {_AGAIN}",
    errno.EFBIG: f"it may not become so large: raise the limit (ulimit -f), or choose another disk. {_AGAIN}",
    errno.EROFS: "the disk is read-only: choose another output_dir, make it writable, or copy the run elsewhere.",
}
_OTHER = {
    errno.EACCES: "this user has no permission: change the permissions, or choose another place.",
    errno.EPERM: "this user has no permission: change the permissions, or choose another place.",
    errno.EIO: f"the disk reports an error: check it. {_AGAIN}",
    errno.ESTALE: f"the network drive has lost it: mount it again. {_AGAIN}",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one.",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n), or lower data.num_workers.",
}


def disk_sentence(error: BaseException) -> str | None:
    """What an error of the system about a file means and what to do, in one sentence; None for other errors."""
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):
        return "Temporary files cannot be written anywhere: set TMPDIR to a folder with room."
    found = disk_error(error)
    if found is None:
        return None
    return unbroken(f"{found.filename or 'A file'} cannot be used: {(_FULL | _OTHER)[found.errno or 0]}")


def disk_error(error: BaseException) -> OSError | None:
    """The error of the system about a file that this error is, or that led to it; None if there is none.

    Libraries raise errors of their own when the disk is full.
    """
    if isinstance(error, OSError) and error.errno in _OTHER:
        return error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def one_line(message: object) -> str:
    """An error's message as part of a sentence: one line, shortened, without a final full stop."""
    return textwrap.shorten(harmless(str(message)), 200, placeholder=" ...").rstrip(".") or type(message).__name__


def unbroken(message: object) -> str:
    """A message on one line, harmless for a terminal."""
    return " ".join(harmless(str(message)).split())


@contextlib.contextmanager
def noting_failure(problems: dict[str, str], part: str) -> Iterator[None]:
    """Log why a part failed and note it in `problems`, instead of raising: the other parts do not need it.

    The error of a full disk is raised, because the other parts would fail too.
    """
    try:
        yield
    except Exception as error:  # of any kind: hours of work must not be lost for one part
        if (full := disk_error(error)) is not None and full.errno in _FULL:
            raise
        problems[part] = error_sentence(error)
        log.warning(f"Not made: {part}. {problems[part]}")
        log.debug("The traceback:", exc_info=True)
