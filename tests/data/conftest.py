"""Fixtures of the tests that scan images."""

import pytest

from gender_cls.data import scan as scanning


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that scans in this process decode."""
    names: list[str] = []
    original = scanning.read_image
    monkeypatch.setattr(scanning, "read_image", lambda path, limit: (names.append(path.name), original(path, limit))[1])
    return names


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding a file because of its pixels fails."""
    monkeypatch.setattr("gender_cls.data.image_store.read_image", lambda path: pytest.fail(f"decoded {path}"))
