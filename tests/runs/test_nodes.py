"""Which of several machines this is, and how the others find the first one."""

import json
from pathlib import Path

import pytest

from gender_cls.errors import GenderClsError
from gender_cls.runs import nodes
from gender_cls.runs.nodes import Meeting, Node, find_node

SRUN = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_NODEID": "1", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1", "SLURM_STEP_NODELIST": "a[1-2]",
}  # fmt: skip
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "my job", "TORCHELASTIC_RESTART_COUNT": "0", "MASTER_ADDR": "a1", "MASTER_PORT": "29500",
    "GROUP_WORLD_SIZE": "2", "GROUP_RANK": "1", "WORLD_SIZE": "2",
}  # fmt: skip


def test_a_command_alone_is_on_no_node_whatever_slurm_says() -> None:
    assert find_node(1, {}) is None
    assert find_node(1, {**SRUN, "SLURM_STEP_NUM_TASKS": "4"}) is None  # four trainings, one for each task
    assert find_node(1, {**TORCHRUN, "GROUP_WORLD_SIZE": "1", "WORLD_SIZE": "1", "GROUP_RANK": "0"}) is None


def test_torchrun_says_which_node_this_is() -> None:
    assert find_node(2, TORCHRUN) == Node(2, 1, "torchrun_my-job_29500_0", "a1")


def test_a_requeued_job_of_slurm_is_another_one() -> None:
    first, second = (find_node(2, {**SRUN, "SLURM_RESTART_COUNT": count}) for count in "01")
    assert first is not None
    assert second is not None
    assert (first.number, first.place, first.leads) == (2, 1, False)
    assert first.job != second.job


@pytest.mark.parametrize(
    ("number", "environment", "words"),
    [
        (2, {}, "trainer.num_nodes=2.*srun.*torchrun"),
        (3, SRUN, "trainer.num_nodes=3.*2 processes on 2 machines"),
        (2, {**SRUN, "SLURM_STEP_NUM_TASKS": "8"}, "8 processes on 2 machines"),
        (2, {**TORCHRUN, "WORLD_SIZE": "8"}, "torchrun.* 8 processes on 2 machines"),
        (1, {**TORCHRUN, "GROUP_WORLD_SIZE": "1"}, "torchrun.* 2 processes on 1 machine"),
    ],
)
def test_wrong_counts_are_refused(number: int, environment: dict[str, str], words: str) -> None:
    with pytest.raises(GenderClsError, match=words):
        find_node(number, environment)


def test_files_of_an_earlier_job_are_not_taken_for_those_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "LOOK", 0.01)
    monkeypatch.setattr(nodes, "BEAT", 0.01)
    first, second = (Meeting(Node(2, place, "job", "a1"), str(tmp_path)) for place in (0, 1))
    first.folder.mkdir(parents=True)
    stale = {"folder": "/old", "beats": 3, "words": {"node_1": "an earlier word"}}
    (first.folder / "leader.json").write_text(json.dumps(stale), encoding="utf-8")
    (first.folder / "run_new.end.json").write_text(json.dumps({"error": "of the earlier job"}), encoding="utf-8")
    first.lead(tmp_path / "new")
    assert second.leaders_folder() == tmp_path / "new"
    first.announce("new", "a1:1234")
    assert second.next_endpoint("new", None) == "a1:1234"
    assert not second.has_moved_on("new", "a1:1234")
    with pytest.raises(ValueError, match="disk"), first.leading("new"):
        raise ValueError("the disk")
    assert second.has_moved_on("new", "a1:1234")
    with pytest.raises(GenderClsError, match="the disk"):
        second.next_endpoint("new", "a1:1234")


def test_a_silent_leader_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "LOOK", 0.01)
    monkeypatch.setattr(nodes, "SILENCE", 0.05)
    with pytest.raises(GenderClsError, match="Node 0 has given no sign of life"):
        Meeting(Node(2, 1, "job", "a1"), str(tmp_path)).next_endpoint("new", None)
