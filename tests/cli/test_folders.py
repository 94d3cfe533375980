"""Which folder a command works in, from whichever key or file, and which forms of several values make a sweep."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.crops import write_crop
from hydra.core.hydra_config import HydraConfig

from gender_cls.cli.command import run_command
from gender_cls.cli.command_line import CommandLine, check_jobs, count_jobs, read_command_line, with_sweep_of_files
from gender_cls.cli.failed_starts import removing_failed_start, why_none_began
from gender_cls.cli.folders import check_hydra_keys
from gender_cls.cli.sweep import ending_in_leaderboard
from gender_cls.config.audit import AuditConfig
from gender_cls.config.evaluation import EvaluateConfig
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.locks import locked
from gender_cls.runs.run import COMMAND_FILE, Run
from gender_cls.train import choose_folder, sweeps


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # errors are raised as they are


def trained(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[tuple[Path, str, int]]:
    """The folder, the model and the seed of each job that the command would train."""
    jobs: list[tuple[Path, str, int]] = []
    counted: list[int | None] = []

    def job(config: Config) -> None:
        hydra = HydraConfig.get()
        jobs.append((Path(hydra.runtime.output_dir), hydra.runtime.choices.model, config.seed))

    @contextlib.contextmanager
    def around(command: CommandLine, folder: Path) -> Iterator[None]:
        counted.append(count_jobs(command) if command.swept else 1)
        assert (folder / COMMAND_FILE).is_file(), "claimed before the work"
        yield

    monkeypatch.setattr(sys, "argv", ["train", "data.root=x", *arguments])
    run_command(job, "train", Config, claim=choose_folder, sweeps=sweeps, around=around, when_interrupted="")
    assert counted == [len(jobs)]
    return jobs


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["hydra.run.dir=here/one"], "here/one"),
        (["hydra.run.dir=here/my run (1)"], "here/my run (1)"),
        (["hydra.run.dir=~/${name}", "name=mine"], "home/mine"),
        (["hydra.run.dir=${name}/${hydra:runtime.choices.model}", "name=mine"], "mine/mobilenetv2"),
        (["--config-dir=own", "experiment=placed"], "from_file/one"),
    ],
)
def test_hydras_folder_of_a_run_is_claimed(monkeypatch, tmp_path: Path, arguments: list[str], folder: str) -> None:
    write_preset(tmp_path, "placed", "hydra: {run: {dir: from_file/one}}")
    assert [job[0] for job in trained(monkeypatch, *arguments)] == [tmp_path / folder]
    with pytest.raises(GenderClsError, match=r"exists already: .* trainer\.resume=true"):
        trained(monkeypatch, *arguments)
    assert [job[0] for job in trained(monkeypatch, *arguments, "trainer.resume=true")] == [tmp_path / folder]


def write_preset(folder: Path, name: str, content: str) -> None:
    (folder / "own" / "experiment").mkdir(parents=True, exist_ok=True)
    (folder / "own" / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{content}\n")


def test_a_sweep_from_a_file_has_its_folder_its_names_and_its_count(monkeypatch, tmp_path: Path) -> None:
    write_preset(
        tmp_path,
        "mine",
        "defaults: [override /model: custom_cnn]\n"
        "hydra: {mode: MULTIRUN, sweep: {dir: 'swept/${name}'}, sweeper: {params: {seed: 'range(3,5)'}}}",
    )
    arguments = ["--config-dir=own", "experiment=mine", "name=a"]
    jobs = trained(monkeypatch, *arguments)
    assert [job[0].name for job in jobs] == ["0_custom_cnn_seed-3", "1_custom_cnn_seed-4"]
    assert {job[0].parent for job in jobs} == {tmp_path / "swept" / "a"}
    assert trained(monkeypatch, *arguments, "trainer.resume=true") == jobs
    [(folder, _, seed)] = trained(monkeypatch, "--config-dir=own", "+experiment=mine", "seed=7")
    assert (folder.name, seed) == ("0_custom_cnn", 7), "the command line wins, and the key varies no longer"


def test_several_values_in_every_form_make_the_jobs_that_are_counted(monkeypatch, tmp_path: Path) -> None:
    forms = ["model=glob(mobilenetv2*)", "model=choice(mobilenetv2,mobilenetv2_tv)"]
    for number, form in enumerate(forms):
        jobs = trained(monkeypatch, "-m", form, f"hydra.sweep.dir=swept/{number}")
        assert [job[0] for job in jobs] == [
            tmp_path / "swept" / str(number) / name for name in ("0_mobilenetv2", "1_mobilenetv2_tv")
        ]
    [(_, model, _)] = trained(monkeypatch, "-m", "model=resnet152,mobilenetv2", "model=custom_cnn", "name=last")
    assert model == "custom_cnn", "of one key's overrides the last one counts"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hydra.run.dir="], "hydra.run.dir='' names no folder"),
        (["hydra.run.dir=x/${nonesuch}"], "hydra.run.dir=x/${nonesuch} cannot be computed"),
        (["hydra.run.dir=x/${name}/y"], "add name="),
        (["hydra.run.dir=x/y", "name=z"], "name=z and hydra.run.dir=x/y both name"),
        (["hydra.run.dir=."], "hydra.run.dir=. holds output_dir="),
        (["hydra.sweep.dir=x"], "write hydra.run.dir."),
        (["-m", "hydra.run.dir=x"], "write hydra.sweep.dir."),
        (["-m", "hydra.sweep.subdir=x"], "hydra.sweep.subdir=x: "),
        (["hydra.job.chdir=true"], "hydra.job.chdir=true "),
        (["--config-dir=own", "experiment=kept"], "hydra.output_subdir=kept: "),
        (["--config-path=own"], "--config-dir"),
        (["model=[custom_cnn,resnet152]"], "model=[custom_cnn,resnet152] would mix these files"),
        (["-m", "model=[custom_cnn,resnet152]"], "model=[custom_cnn,resnet152] would mix these files"),
        (["model=glob(*)"], "model has several values: add -m"),
        (["model=custom_cnn,resnet152", "model=resnet152"], "model has several values: add -m"),
        (["-m", "model=glob(*)"], "model=timm: model.name is not set"),
        (["-m", "model=glob(nonesuch*)"], "matches none of convnext_tiny"),
        (["-m", "recipe.lr=glob(*)"], "recipe.lr is none"),
        (["-m", "recipe.lr=interval(0,1)"], "recipe.lr=interval(0,1) names no values"),
        (["-m", "model=shuffle(custom_cnn,resnet152)"], "leave out shuffle"),
        (["-m", "name=a,b"], "name has several values"),
        (["-m", "hydra/launcher=basic,joblib"], "hydra/launcher has several values"),
        (["-m", "hydra.mode=RUN"], "leave out -m"),
        (["experiment=null"], "experiment=null chooses none of four_models"),
        (["experiment=four_model"], "four_models"),
    ],
)
def test_what_cannot_work_is_told_before_any_work(monkeypatch, tmp_path: Path, arguments, words: str) -> None:
    write_preset(tmp_path, "kept", "hydra: {output_subdir: kept}")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as caught:
        trained(monkeypatch, *arguments)
    assert words in str(caught.value.code)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("name", "schema"), [("evaluate", EvaluateConfig), ("audit", AuditConfig)])
def test_commands_that_make_no_folder_by_hydras_key_refuse_it(name: str, schema: type) -> None:
    line = read_command_line(["hydra.run.dir=x", "data.root=x", *(["run=."] if name == "evaluate" else [])])
    jobs = [composed for _, composed in check_jobs(line, name, schema)]
    if name == "audit":
        check_hydra_keys(line, name, jobs)  # an audit has a folder of its own
        return
    with pytest.raises(GenderClsError, match=r"hydra\.run\.dir=x is not for this command"):
        check_hydra_keys(line, name, jobs)


def fail(run: Run, error: Exception | None = None, *files: str) -> None:
    """What a start leaves that fails after having written these files."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / COMMAND_FILE).write_text("{}")
    with run.recording(model="m"):
        for file in files:
            (run.folder / file).parent.mkdir(exist_ok=True)
            (run.folder / file).touch()
        raise error or GenderClsError("The data are gone.")


@pytest.mark.parametrize(
    ("error", "files", "stays"),
    [
        (None, [], False),
        (None, ["manifest.csv", "train.log"], False),
        (OSError(28, "No space left on device"), [], False),
        (None, ["events.out.tfevents.1"], True),
        (None, ["checkpoints/last.ckpt"], True),
        (ValueError("a fault of ours, whose traceback status.json holds"), [], True),
        (KeyboardInterrupt(), [], True),
    ],
)
def test_a_run_that_fails_before_its_training_leaves_no_folder(tmp_path: Path, error, files, stays: bool) -> None:
    run = Run(tmp_path / "run")
    with pytest.raises(type(error or GenderClsError())), removing_failed_start(run.folder):
        fail(run, error, *files)
    assert run.folder.exists() == stays


def put(folder: Path, theirs: str) -> Path:
    """Somebody else's file, or a link to a folder that holds one."""
    file = folder / theirs
    file.parent.mkdir(parents=True, exist_ok=True)
    if theirs == "link":
        elsewhere = folder.parent / "elsewhere"
        elsewhere.mkdir()
        file.symlink_to(elsewhere)
        file = elsewhere / "thesis.txt"
    file.write_text("a year of work")
    return file


@pytest.mark.parametrize("theirs", ["thesis.txt", "data/thesis.txt", ".hydra/config.yaml", "status.json", "link"])
@pytest.mark.parametrize("sweep", [False, True])
def test_nothing_is_removed_from_a_folder_that_held_something(tmp_path: Path, theirs: str, sweep: bool) -> None:
    folder = tmp_path / "folder"
    precious = put(folder, theirs)
    around = ending_in_leaderboard(folder, 1, ["seed"]) if sweep else removing_failed_start(folder)
    with pytest.raises(GenderClsError), around:
        fail(Run(folder / "0_m")) if sweep else fail(Run(folder))
    assert precious.exists()


@pytest.mark.parametrize("theirs", ["thesis.txt", "data/thesis.txt", "link"])
@pytest.mark.parametrize("sweep", [False, True])
def test_nothing_is_removed_that_came_from_elsewhere_meanwhile(tmp_path: Path, theirs: str, sweep: bool) -> None:
    folder = tmp_path / "folder"
    around = ending_in_leaderboard(folder, 1, ["seed"]) if sweep else removing_failed_start(folder)
    with contextlib.suppress(GenderClsError), around:
        precious = put(folder, theirs)
        fail(Run(folder / "0_m")) if sweep else fail(Run(folder))
    assert precious.exists()
    assert (folder / theirs).exists()


def test_a_folder_that_was_there_is_empty_again(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    line = read_command_line(["data.root=x", f"hydra.run.dir={folder}"])
    assert choose_folder(line, *check_jobs(line, "train", Config)[0]) == folder
    with pytest.raises(GenderClsError), removing_failed_start(folder), Run(folder).recording(model="m"):
        raise GenderClsError("The data are gone.")
    assert not any(folder.iterdir())


@pytest.mark.parametrize("theirs", [".hydra/config.yaml", "status.json"])
def test_a_folder_of_another_program_is_not_resumed(tmp_path: Path, theirs: str) -> None:
    put(tmp_path / "theirs", theirs).write_text("{}")
    line = read_command_line(["data.root=x", f"hydra.run.dir={tmp_path / 'theirs'}", "trainer.resume=true"])
    with pytest.raises(GenderClsError, match="theirs exists already"):
        choose_folder(line, *check_jobs(line, "train", Config)[0])


def test_a_failed_start_leaves_what_its_reason_names_and_what_another_process_uses(tmp_path: Path) -> None:
    named = Run(tmp_path / "named")
    with pytest.raises(GenderClsError), removing_failed_start(named.folder):
        fail(named, GenderClsError(f"Look into {named.folder / 'rank_0.log'}."))
    assert named.status["state"] == "failed"
    used = tmp_path / "used"
    with locked(used):
        with pytest.raises(GenderClsError), removing_failed_start(used):
            raise GenderClsError("A start that came too late.")
        assert used.exists()


def job(sweep: Path, number: int, *files: str, error: Exception | None = None) -> Run:
    run = Run(sweep / f"{number}_m")
    with contextlib.suppress(Exception):
        fail(run, error, *files)
    return run


@pytest.mark.parametrize("failing", [GenderClsError("of the first job"), RuntimeError("of a launcher")])
def test_a_sweep_of_which_no_job_began_leaves_nothing_but_its_reasons(tmp_path: Path, failing: Exception) -> None:
    sweep = tmp_path / "sweep"

    def work() -> None:
        with ending_in_leaderboard(sweep, 2, ["seed"]):
            job(sweep, 0), job(sweep, 1)
            raise failing

    with pytest.raises(GenderClsError, match=r"None of the 2 jobs could start: The data are gone\."):
        work()
    assert not sweep.exists()


def test_a_sweep_stays_where_a_job_began_or_may_begin(tmp_path: Path) -> None:
    error = GenderClsError("of the first job")
    began = tmp_path / "began"
    job(began, 0), job(began, 1, "events.out.tfevents.1")
    assert why_none_began(began, 2, error) is None
    faulty = tmp_path / "faulty"
    job(faulty, 0), job(faulty, 1, error=ValueError("a fault of ours"))
    assert why_none_began(faulty, 2, error) is None
    queued = tmp_path / "queued"
    job(queued, 0), (queued / ".submitit" / "12_1").mkdir(parents=True)
    assert why_none_began(queued, 2, error) is None, "job 1 waits in Slurm's queue"
    differ = tmp_path / "differ"
    job(differ, 0), job(differ, 1, error=GenderClsError("Weights are missing."))
    assert "1_m: Weights are missing." in str(why_none_began(differ, 2, error))
    assert why_none_began(tmp_path / "refused", 2, error) == "of the first job"


def test_a_folder_that_a_failed_start_removes_meanwhile_is_claimed(tmp_path: Path, monkeypatch) -> None:
    opened = Path.open

    def vanishing(path: Path, *arguments: str, **options: str):
        if path.name == COMMAND_FILE and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            path.parent.rmdir()
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", vanishing)
    line = read_command_line(["data.root=x", "name=mine"])
    assert choose_folder(line, *check_jobs(line, "train", Config)[0]) == tmp_path / "outputs" / "runs" / "mine"
    assert (tmp_path / "once").exists()


def test_a_command_without_presets_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(sys, "argv", ["audit", "data.root=.", "experiment=smoke"])
    with pytest.raises(SystemExit) as caught:
        run_command(print, "audit", AuditConfig, when_interrupted="")
    assert "This command has no experiment to choose" in str(caught.value.code)


def test_the_data_of_every_job_are_looked_for_before_a_sweep_has_a_folder(tmp_path: Path) -> None:
    from gender_cls.train import refuse_early

    write_crop(tmp_path / "here" / "MALE" / "a.png", 0)
    line = read_command_line(["-m", "data.root=here,gone", "model=custom_cnn"])
    jobs = check_jobs(line, "train", Config)
    with pytest.raises(GenderClsError, match=r"data\.root is not a folder: .*gone"):
        refuse_early(with_sweep_of_files(line, jobs[0][1]), jobs)
