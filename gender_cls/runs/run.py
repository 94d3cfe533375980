"""A run folder as an object: its files, its lock, and how the run ended; and where runs are found.

The folder is the contract between commands: they need nothing else of a run.
"""

import contextlib
import logging
import os
import re
import shlex
import signal
import socket
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from gender_cls.config.data import dataset_name
from gender_cls.config.launcher import LAUNCHER
from gender_cls.config.parsing import recorded_data, written_values
from gender_cls.config.trainer import debugging
from gender_cls.errors import GenderClsError, error_sentence, first_few
from gender_cls.runs.files import read_json, timestamp, write_atomically
from gender_cls.runs.locks import in_use, locked
from gender_cls.runs.result_folder import GONE, RESERVE_FOR_END, ResultFolder, status_text
from gender_cls.system.signals import stop_behind

log = logging.getLogger(__name__)

KILLED = "The process ended without a message: it was killed, or the machine stopped. trainer.resume=true continues."

_OF_MACHINE = ("local", LAUNCHER)  # groups that say nothing of a run

TRIALS = "trials"
"""In the folder of a search: one folder for each of its trainings, which are not tested."""

COMMAND_FILE = "command.json"
"""In the folder of a single run or of a sweep: the command as it was typed."""

WAS_THERE = "folder_was_there"
"""In that file: whether the folder was there, empty, before the command."""

ELSEWHERE = "elsewhere"
"""In a run's folder: one folder for each test on data that the run was not trained on."""

HPARAMS_SCORES = ("hp/validation_balanced_accuracy", "hp/test_balanced_accuracy", "hp/test_auroc")
"""What TensorBoard's HParams tab compares runs by."""


class Run(ResultFolder):
    """One training run's folder, and the absolute paths of its files; those of the final test are in ResultFolder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config_file = self.folder / ".hydra" / "config.yaml"
        self.manifest = self.folder / "manifest.csv"
        self.checkpoints = self.folder / "checkpoints"
        self.best_checkpoint = self.checkpoints / "best.ckpt"
        self.last_checkpoint = self.checkpoints / "last.ckpt"
        self.previous_checkpoint = self.checkpoints / "previous.ckpt"
        self.log = self.folder / "train.log"
        self.epochs = self.folder / "epochs.csv"
        self.model_card = self.folder / "MODEL_CARD.md"
        self.exported = self.folder / "export"
        self.profile = self.folder / "profile"

    def elsewhere(self, name: str) -> ResultFolder:
        """The folder of a test on other data, which may not exist yet."""
        return ResultFolder(self.folder / ELSEWHERE / name)

    @property
    def tests_elsewhere(self) -> dict[str, ResultFolder]:
        """The finished tests on other data, by name, sorted."""
        files = sorted((self.folder / ELSEWHERE).glob("*/metrics.json"))
        return {file.parent.name: ResultFolder(file.parent) for file in files}

    @property
    def answers_from(self) -> dict[str, Any]:
        """As for every test; earlier versions did not note it, but evaluated where they had trained."""
        status = self.status
        trained = {"precision": status.get("precision"), "device": status.get("resources", {}).get("device")}
        return status.get("answers", trained)

    @property
    def choices(self) -> dict[str, str]:
        """The file of each configuration group that Hydra took; empty if Hydra did not start the run."""
        hydra: Any = written_values(self.folder / ".hydra" / "hydra.yaml")
        try:
            return {str(group): str(choice) for group, choice in hydra["hydra"]["runtime"]["choices"].items()}
        except (KeyError, TypeError, AttributeError):
            return {}

    @property
    def dataset(self) -> str:
        """The name of the data that its test split is from (`dataset_name`).

        Raises:
            GenderClsError: its configuration was not kept or cannot be read.
        """
        return dataset_name(recorded_data(self.config_file), self.choices.get("data"))

    @property
    def sweep(self) -> Path | None:
        """The folder of the sweep that it is a job of; None for a single run."""
        parent = self.folder.parent
        return parent if read_json(parent / COMMAND_FILE).get("multirun") is True else None

    @property
    def command(self) -> str | None:
        """The command that started it, or the sweep that it belongs to; None if that was not kept."""
        kept = read_json((self.sweep or self.folder) / COMMAND_FILE)
        if not kept:
            return None
        sweep = ["-m"] if kept.get("multirun") else []
        return shlex.join(["python", "-m", "gender_cls.train", *sweep, *map(str, kept.get("overrides", []))])

    @property
    def settings(self) -> dict[Any, Any]:
        """The configuration that it was started with, as plain values; empty if it was not kept."""
        return written_values(self.config_file)

    @property
    def debugging(self) -> str | None:
        """The settings that make it a debugging run, which no table ranks; None for a real one."""
        return debugging(self.settings.get("trainer") or {})

    def record_settings(self, settings: dict[str, Any], choices: Mapping[str, Any]) -> None:
        """Keep the checked configuration, with absolute paths, and the chosen files of the groups it was made from.

        Hydra would write over those of a finished run, and before they were checked.
        """
        with locked(self.folder, "wait for it, or choose another name"):
            said = {group: choice for group, choice in choices.items() if choice is not None}  # None: no preset
            chosen = {group: str(choice) for group, choice in said.items() if not group.startswith(_OF_MACHINE)}
            hydra = {"hydra": {"runtime": {"choices": chosen}}}
            for name, content in (("config.yaml", settings), ("hydra.yaml", hydra)):
                write_atomically(self.config_file.with_name(name), OmegaConf.to_yaml(OmegaConf.create(content)))

    @property
    def has_weights(self) -> bool:
        """Whether it has checkpoints to go on from, or its training has ended, so that it needs no other weights."""
        return bool(self.status.get("fitted")) or self.last_checkpoint.exists() or self.previous_checkpoint.exists()

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.status.get("state") == "finished"

    @property
    def tested(self) -> bool:
        """Whether it was tested: `evaluation.test=false` leaves the test out, and the run still finishes."""
        return self.metrics_file.is_file()

    @property
    def state(self) -> str:
        """How it ended, as `status.json` says; `killed` if that says running but its process is dead.

        A process of another machine counts as dead when it has not touched its name for `heartbeat.SILENT` seconds.
        """
        status = self.status
        if (state := status.get("state")) != "running":
            return str(state or "unknown")
        return "running" if in_use(self.folder, status.get("pid")) else "killed"

    @property
    def error(self) -> str | None:
        """Why it did not finish, in a sentence; None if that is not known."""
        return self.status.get("error") or (KILLED if self.state == "killed" else None)

    def _note_end(self, **fields: Any) -> None:
        """Note the end. If the disk has no room for a new file, the old one is overwritten in place."""
        if not self.folder.is_dir():
            return
        status = {**self.status, **fields}
        try:
            write_atomically(self.status_file, status_text(status))
        except (OSError, GenderClsError):
            error = None if status.get("error") is None else status["error"][: RESERVE_FOR_END // 2]
            text = status_text({**status, "error": error, "traceback": ""}).encode()  # None: it was killed
            with contextlib.suppress(OSError), self.status_file.open("rb+") as file:
                if len(text) <= self.status_file.stat().st_size:  # more could end in half a file
                    file.write(text)
                    file.truncate()

    @contextlib.contextmanager
    def recording(self, **about: Any) -> Iterator[None]:
        """Lock the folder and write into `status.json` how the work inside ends.

        `state` is running, then finished, failed (with `error` and `traceback`) or interrupted (`error` names the
        signal); after a process that was killed it is still running. `about` are further fields.
        """
        with locked(self.folder, "wait for it, or choose another name"):
            self.remove_unfinished_files()
            started = time.monotonic() - self.status.get("seconds", 0.0)  # earlier sessions count too

            def end(state: str, **fields: Any) -> None:
                self._note_end(state=state, seconds=round(time.monotonic() - started, 1), **fields)

            began = False
            try:
                self.note(
                    state="running",
                    **about,
                    pid=os.getpid(),
                    host=socket.gethostname(),
                    started=timestamp(),
                    error=None,
                    traceback=None,
                )
                began = True
                yield
                self.note(state="finished", seconds=round(time.monotonic() - started, 1))
            except (KeyboardInterrupt, SystemExit, Exception) as error:
                stop = stop_behind(error)  # Lightning turns it into SystemExit, which Hydra ignores
                if stop is not None:
                    reason = f"Interrupted by {signal.Signals(getattr(stop, 'signal', signal.SIGINT)).name}."
                    end("interrupted", error=reason)
                    log.info(reason, extra={"in_file": True})  # the command says it on the screen
                    raise stop from None
                if began and not self.status_file.exists():
                    raise GenderClsError(f"{self.folder} {GONE}") from error
                end("failed", error=error_sentence(error), traceback=traceback.format_exc())
                raise


def tensorboard_command(folder: Path | str) -> str:
    """The command that shows the curves and maps of a run, or of all runs in a sweep, by the folder."""
    return f"tensorboard --logdir {shlex.quote(str(folder))} --samples_per_plugin images=1000"


def image_cache(output_dir: str) -> Path:
    """The folder that keeps what was read from images; without it, they are read again."""
    return Path(output_dir) / "cache"


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs at any depth in these folders, each once, sorted by path with numbers in numerical order.

    The trials of a search are left out, unless their own folder is named.

    Raises:
        GenderClsError: there is no run in one of them.
    """
    found: dict[Path, Run] = {}
    for folder in folders:
        if not folder.is_dir():
            raise GenderClsError(f"{folder} is not a folder: name a run, a sweep, or a folder with runs inside.")
        files = folder.rglob("status.json")  # of audits too
        found_here = [Run(file.parent) for file in files if not _of_a_trial(file) or file.parents[1] == folder]
        runs = [run for run in found_here if "model" in run.status or "trainer" in run.settings]
        if not runs:
            raise GenderClsError(f"There is no run in {folder}: name a run, a sweep, or a folder with runs inside.")
        found.update((run.folder, run) for run in runs)
    return sorted(found.values(), key=lambda run: _natural(str(run.folder)))


def _of_a_trial(status: Path) -> bool:
    return status.parents[1].name == TRIALS and (status.parents[2] / COMMAND_FILE).exists()


def fitted_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs in these folders, of runs or of sweeps.

    If there are several, those whose training has not ended are left out, with a message; a single run is returned in
    any state.

    Raises:
        GenderClsError: there is no run, or all of several are left out.
    """
    runs = find_runs(folders)
    fitted = [run for run in runs if len(runs) == 1 or run.status.get("fitted")]
    for run in runs:
        if run not in fitted:
            log.warning(f"{run.folder.name} has not been trained to its end and is left out.")
    if not fitted:
        raise GenderClsError(f"None of the {len(runs)} runs has been trained to its end: {first_few(folders)}.")
    return fitted


def _natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts 2_x before 10_x."""
    return [(int(digits or 0), other) for digits, other in re.findall(r"(\d*)(\D*)", text)]
