import io
import sys

import pytest

from gender_cls.system.terminal import print_on_any_terminal


@pytest.mark.parametrize(
    ("encoding", "text", "shown"),
    [
        ("ascii", "0.61 ± 0.01, 12\u202f%, 24 × 48, ü, 人", b"0.61 +- 0.01, 12 %, 24 x 48, \\xfc, \\u4eba"),
        ("cp437", "± ü ×", b"\xf1 \x81 x"),
        ("utf-8", "± \udcff.jpg", b"\xc2\xb1 \\udcff.jpg"),
    ],
)
def test_a_terminal_shows_what_it_can(encoding: str, text: str, shown: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    print_on_any_terminal()
    for stream in (sys.stdout, sys.stderr):
        print(text, end="", file=stream, flush=True)
        assert stream.buffer.getvalue() == shown  # type: ignore[attr-defined]
