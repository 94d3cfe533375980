"""What a run was made with: versions, machine and git commit."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from gender_cls.runs.files import timestamp
from gender_cls.system.memory import kernel_file


def environment() -> dict[str, str]:
    """Today's date, the versions of packages, the machine, and the commit if the package lies in a git checkout."""
    packages = ("gender_cls", "torch", "torchvision", "pytorch-lightning", "timm", "captum")
    return {
        "date": timestamp().partition("T")[0],
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        **({"commit": commit} if (commit := git_commit(Path(__file__))) else {}),
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

    def git(*arguments: str) -> str:
        line = ["git", "-C", str(file.parent), *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + (", with changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
