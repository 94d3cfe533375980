"""`python -m gender_cls.cli.rank RUN_FOLDER`: one process of a training on several devices.

torch.distributed.run's agent starts it (`training.launch`). What to do stands in the folder of the run.
"""

import contextlib
import logging
import os
import signal
import sys
from multiprocessing import active_children
from pathlib import Path
from typing import NoReturn

from gender_cls.config.parsing import recorded_config
from gender_cls.runs.run import Run
from gender_cls.system.logs import start_logging
from gender_cls.system.memory import keep_freed_memory
from gender_cls.system.operating_system import prepare_operating_system
from gender_cls.system.progress import show_bars
from gender_cls.system.signals import stop_behind, stopping_on_signals
from gender_cls.system.terminal import print_on_any_terminal
from gender_cls.training.ranks_folder import RanksFolder


def main() -> None:
    """Train, and end with exit code 1 after an error, which the folder `ranks` then tells, or 128 plus a signal."""
    run, rank = Run(Path(sys.argv[1])), int(os.environ["RANK"])
    folder = RanksFolder(run)
    _send_output_to(folder.log(rank), screen=rank == 0)
    print_on_any_terminal()
    prepare_operating_system()
    keep_freed_memory()
    start_logging(run.log if rank == 0 else folder.log(rank))
    try:
        with folder.entered_by(rank), stopping_on_signals():
            train(run, rank, folder)
    except (KeyboardInterrupt, SystemExit, Exception) as error:  # Lightning turns a stop into SystemExit
        stop = stop_behind(error)
        end_at_once(1 if stop is None else 128 + getattr(stop, "signal", signal.SIGINT))


def end_at_once(code: int) -> NoReturn:
    """End without the seconds that Python takes to clear torch away on a busy machine: the run waits for all ranks."""
    for loader_process in active_children():
        loader_process.terminate()
    logging.shutdown()
    with contextlib.suppress(OSError):  # nobody reads it any longer
        sys.stdout.flush()
    os._exit(code)


def train(run: Run, rank: int, folder: RanksFolder) -> None:
    """Train with the others, as the recorded configuration says, on the data that the parent prepared."""
    config = recorded_config(run.config_file)
    show_bars(config.trainer.progress_bar)
    from gender_cls.data.image_store import ImageStore
    from gender_cls.data.manifest import Manifest
    from gender_cls.data.run_images import recorded_rows
    from gender_cls.pages.experiment import experiment_text
    from gender_cls.search.pruning import training_callbacks
    from gender_cls.system.resources import choose_resources
    from gender_cls.training import ranks
    from gender_cls.training.session import train_session

    trainer, data = config.trainer, config.data
    resources = choose_resources(
        trainer.accelerator,
        trainer.precision,
        trainer.threads,
        data.num_workers,
        pixels_at_hand=data.keeps_pixels,
        devices=trainer.devices,
    ).apply()
    manifest = Manifest(recorded_rows(run), run.data_root)
    images = ImageStore.load(manifest.root, manifest.table["path"].tolist(), folder.images)
    with ranks.joined(resources.device), folder.telling_stops():
        train_session(config, run, manifest, images, resources, training_callbacks, experiment_text)


def _send_output_to(file: Path, *, screen: bool) -> None:
    """Let what is written to stderr go to a file, and to stdout nowhere unless it may go to the screen."""
    with file.open("ab", buffering=0) as opened:
        os.dup2(opened.fileno(), 2)
    if not screen:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
