import os
import subprocess
from pathlib import Path

import pytest

from gender_cls.runs.environment import git_commit, project_commit


def test_the_commit_is_that_of_the_checkout_that_tracks_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        line = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()

    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # a commit hook sets them
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    file, installed = tmp_path / "a.py", tmp_path / "installed.py"
    for each in (file, installed):
        each.write_text("1")
    assert git_commit(file) is None  # no checkout
    git("init", "-q")
    git("add", "a.py")
    git("commit", "-q", "-m", "one")
    commit = git("rev-parse", "HEAD")
    assert git_commit(file) == commit[:12]
    assert git_commit(installed) is None  # lies in the checkout, but does not belong to it
    file.write_text("2")
    assert git_commit(file) == f"{commit[:12]}, with changes"
    (inside := tmp_path / "inside").mkdir()
    assert project_commit(inside) == f"{commit[:12]}, with changes"
    assert project_commit(Path(__file__).parent) is None or git_commit(Path(__file__)) is None  # that of the package
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert project_commit(inside) is None
    assert git_commit(file) is None
