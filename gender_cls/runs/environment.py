"""What a run was made with: versions, machine and git commit."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from gender_cls.runs.files import timestamp
from gender_cls.system.memory import kernel_file


def environment() -> dict[str, str]:
    """Today's date, the versions of packages, the machine, and commits.

    `commit` is there if the package lies in a git checkout, `project_commit` if the current folder lies in another one.
    """
    packages = ("gender_cls", "torch", "torchvision", "pytorch-lightning", "timm", "captum")
    return {
        "date": timestamp().partition("T")[0],
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        **({"commit": commit} if (commit := git_commit(Path(__file__))) else {}),
        **({"project_commit": commit} if (commit := project_commit(Path.cwd())) else {}),
    }


def processor() -> str:
    """The name of the CPU."""
    lines = kernel_file("/proc/cpuinfo").splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def git_commit(file: Path) -> str | None:
    """The commit of the git checkout that tracks this file, and whether the files differ from it.

    None without git or a checkout; also if the file only lies inside one, as an installed package in a project's
    environment does.
    """
    tracked = _git(file.parent, "ls-files", "--error-unmatch", file.name)
    return None if tracked is None else _commit(file.parent)


def project_commit(folder: Path) -> str | None:
    """The same of the checkout that a folder lies in, if that is another one than this package's."""
    top, own = _git(folder, "rev-parse", "--show-toplevel"), Path(__file__)
    if top is None or (git_commit(own) is not None and top == _git(own.parent, "rev-parse", "--show-toplevel")):
        return None
    return _commit(folder)


def _commit(folder: Path) -> str | None:
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")  # None before the first commit
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else commit + (", with changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints about the checkout of a folder; None if it fails."""
    line = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(line, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
