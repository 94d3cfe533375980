"""The one exception whose message is written for users, and help with its wording."""

import errno
import textwrap
from collections.abc import Iterable


class GenderClsError(Exception):
    """One sentence that names the file, key or value at fault and the way out.

    Commands print it without a traceback and exit with code 1.
    """


def require(condition: bool, sentence: str) -> None:
    """Raise GenderClsError with this sentence unless the condition holds."""
    if not condition:
        raise GenderClsError(sentence)


def first_few(values: Iterable[object], most: int = 3) -> str:
    """The first few of many values, and how many more there are, for a sentence."""
    values = list(values)
    return ", ".join(map(str, values[:most])) + (f" and {len(values) - most} more" if len(values) > most else "")


def error_sentence(error: BaseException) -> str:
    """The message of our own errors; what the system's errors mean; that of others on one line, after their type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, GenderClsError) else disk_sentence(error) or f"{type(error).__name__}: {text}"


_AGAIN = "Then start the same command again; trainer.resume=true continues a training."
_FULL = {
    errno.ENOSPC: f"the disk has no room left (or takes no more files): free some. {_AGAIN}",
    errno.EDQUOT: f"your quota of the disk is used up: free some of it. {_AGAIN}",
    errno.EROFS: "the disk is read-only: choose another output_dir, or mount it for writing.",
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
        return "There is no folder for temporary files that can be written: set TMPDIR to one that has some room."
    found = disk_error(error)
    return None if found is None else f"{found.filename or 'A file'} cannot be used: {(_FULL | _OTHER)[found.errno or 0]}"


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
    return textwrap.shorten(str(message), 200, placeholder=" ...").rstrip(".") or type(message).__name__
