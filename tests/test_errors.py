import errno
import logging
import os

import pytest

from gender_cls import errors
from gender_cls.system import logs


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (errors.count, 1234567, "1,234,567"),
        (lambda number: errors.plural(number, "image"), 1, "1 image"),
        (lambda number: errors.plural(number, "image"), 1200, "1,200 images"),
        (lambda number: errors.plural(number, "person", "people"), 0, "0 people"),
        (errors.visible, "b\u00e9 c.jpg", "b\u00e9 c.jpg"),
        (errors.visible, "val ", "'val '"),
        (errors.visible, "", "''"),
        (errors.visible, "a\r\n\t\x1b[31m\x7f\x9b", r"a\r\n\t\x1b[31m\x7f\x9b"),
        (errors.visible, "a\xa0b\u200b\u202e", r"a\xa0b\u200b\u202e"),
        (errors.visible, os.fsdecode(b"caf\xe9.jpg"), r"caf\xe9.jpg"),
        (errors.first_few, ["a", "b ", "c\n", "d", 5], r"a, 'b ', c\n and 2 more"),
        (errors.harmless, "a \u202f%\r\n\tb\rc\x1b\u202e", "a \u202f%\r\n\tb\\rc\\x1b\\u202e"),
        (errors.error_sentence, errors.GenderClsError("No  file\x1b[2J\rx:\ny"), r"No file\x1b[2J\rx: y"),
        (errors.error_sentence, OSError("a\x00b\udcff"), r"OSError: a\x00b\xff"),
        (errors.one_line, "wrong\n\x1bname.", r"wrong \x1bname"),
    ],
)
def test_numbers_names_and_errors_read_well_and_control_nothing(write, value, text):  # type: ignore[no-untyped-def]
    assert write(value) == text


def test_a_name_in_a_log_controls_no_terminal() -> None:
    record = logs._HarmlessRecord("x", logging.INFO, "x.py", 1, "Read %s", ("a\x1b[2J.jpg",), None)
    assert record.getMessage() == r"Read a\x1b[2J.jpg"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "", "a.png"), "a.png cannot be used: the disk has no room left"),
        (OSError(errno.EDQUOT, ""), "A file cannot be used: your quota"),
        (OSError(errno.EFBIG, "", "a.ckpt"), "ulimit -f"),
        (OSError(errno.EROFS, "", "out"), "out cannot be used: the disk is read-only"),
        (PermissionError(errno.EACCES, "", "out"), "out cannot be used: this user has no permission"),
        (FileNotFoundError("No usable temporary directory found in ['/tmp']"), "set TMPDIR"),
        (OSError(errno.EMFILE, ""), "ulimit -n"),
    ],
)
def test_errors_of_a_disk_are_a_sentence_also_behind_those_of_libraries(error: OSError, words: str) -> None:
    assert words in errors.error_sentence(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
        library = ValueError("you tried to log 1.0, which is not supported")
        library.__cause__ = error
        assert words in errors.error_sentence(library)
    assert errors.error_sentence(ValueError("a\n b")) == "ValueError: a b"
