"""What is chosen for `auto`, on machines that are made up file by file."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from gender_cls.config.checks import AUTO
from gender_cls.errors import GenderClsError
from gender_cls.system import resources
from gender_cls.system.resources import Resources, choose_resources, multiplies_bf16, usable_cores
from gender_cls.training.predictor import Predictor


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The kernel's `files` by path, none at first, and the allowed `cpus`, two at first; no threads are asked for."""
    made = SimpleNamespace(files={}, cpus={0, 1})
    monkeypatch.setattr(resources, "kernel_file", lambda file: made.files.get(file, ""))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: made.cpus, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return made


def test_hyperthreads_are_no_cores(machine: Any) -> None:
    machine.cpus = set(range(8))
    assert usable_cores() == 8, "where nothing is known of them, each CPU counts"
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    machine.files = {siblings.format(cpu): f"{cpu % 4},{cpu % 4 + 4}" for cpu in range(8)}
    assert usable_cores() == 4
    machine.cpus = {0, 1, 4}
    assert usable_cores() == 2, "cores outside the affinity do not count"


@pytest.mark.parametrize(("quota", "cores"), [("max", 64), ("400000", 4), ("150000", 2), ("20000", 1), ("-1", 64)])
def test_a_container_has_the_cores_of_its_quota(machine: Any, quota: str, cores: int) -> None:
    machine.cpus = set(range(64))
    older = {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": quota, "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}
    for files in ({"/sys/fs/cgroup/cpu.max": f"{quota} 100000"}, older):
        machine.files = files
        assert usable_cores() == cores


def test_systems_without_affinity_count_their_cpus(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores() == 6


@pytest.mark.parametrize(
    ("flags", "able"),
    [("avx2 avx512f avx512_bf16", True), ("amx_bf16 amx_tile", True), ("avx512f avx512_vnni", False), ("", False)],
)
def test_bf16_needs_instructions_for_it(machine: Any, flags: str, able: bool) -> None:
    lines = ["processor\t: 0", "model name\t: avx512_bf16 in name only", f"flags\t\t: {flags}", "bugs\t\t:", ""]
    machine.files["/proc/cpuinfo"] = "\n".join(lines)
    assert multiplies_bf16() is able
    chosen = choose_resources("cpu", AUTO, 1, 0, pixels_at_hand=True)
    assert chosen.precision == ("bf16-mixed" if able else "32-true")


@pytest.mark.parametrize(("most", "able"), [("avx2", False), ("AVX512_CORE_VNNI", False), ("AVX512_CORE_AMX", True)])
def test_bf16_needs_instructions_that_onednn_may_use(
    machine: Any, monkeypatch: pytest.MonkeyPatch, most: str, able: bool
) -> None:
    machine.files["/proc/cpuinfo"] = "flags : avx512_bf16"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", most)
    assert multiplies_bf16() is able


def test_bf16_needs_onednn(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.files["/proc/cpuinfo"] = "flags : avx512_bf16"
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    chosen = choose_resources("cpu", AUTO, 1, 0, pixels_at_hand=True)
    assert str(chosen) == (
        "Computes on cpu: precision 32-true (this torch lacks oneDNN, which would multiply bf16); 1 thread; "
        "no loader processes."
    )


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_computes_in_bf16_where_it_does_so_itself(
    machine: Any, monkeypatch: pytest.MonkeyPatch, native: bool, precision: str
) -> None:
    supported = Mock(return_value=native)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    machine.cpus = set(range(16))
    chosen = choose_resources(AUTO, AUTO, AUTO, AUTO, pixels_at_hand=False)
    assert (chosen.device, chosen.precision, chosen.num_workers) == ("cuda", precision, 8)
    supported.assert_called_once_with(including_emulation=False)


def test_threads_are_one_a_core_unless_the_environment_says_otherwise(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def threads() -> tuple[int, str]:
        chosen = choose_resources("cpu", "32-true", AUTO, 0, pixels_at_hand=True)
        return chosen.threads, chosen.reasons["threads"]

    assert threads() == (2, "one per core")
    for said, number in (("3", 3), ("5,1", 5), ("0", 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert threads() == (number, "OMP_NUM_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert threads() == (2, "one per core")


@pytest.mark.parametrize(
    ("cores", "at_hand", "decoded"), [(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 1, 1), (8, 1, 2), (16, 2, 4), (64, 4, 8)]
)
def test_workers_take_no_more_cores_than_their_share_of_the_work(
    machine: Any, cores: int, at_hand: int, decoded: int
) -> None:
    machine.cpus = set(range(cores))
    for pixels_at_hand, workers in ((True, at_hand), (False, decoded)):
        assert choose_resources("cpu", "32-true", 1, AUTO, pixels_at_hand=pixels_at_hand).num_workers == workers


def test_what_is_given_is_taken_and_needs_no_reason(machine: Any) -> None:
    chosen = choose_resources("cpu", "64-true", 3, 1, pixels_at_hand=False)
    assert chosen == Resources("cpu", "64-true", 3, 1, {})
    assert str(chosen) == "Computes on cpu: precision 64-true; 3 threads; 1 loader process."


def test_what_is_chosen_is_said_with_the_reason(machine: Any) -> None:
    machine.files["/proc/cpuinfo"] = "flags : avx512_bf16"
    assert str(choose_resources("cpu", AUTO, AUTO, AUTO, pixels_at_hand=True)) == (
        "Computes on cpu: precision bf16-mixed (the processor multiplies bf16 itself); 2 threads (one per core); "
        "no loader processes (the cores are busy with training)."
    )


def test_torch_takes_the_threads() -> None:
    before = torch.get_num_threads()
    try:
        chosen = Resources("cpu", "32-true", before + 1, 0)
        assert chosen.apply() is chosen
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_float32_on_a_gpu_is_no_tf32_for_old_and_new_readers_of_the_setting() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")  # as in NVIDIA's containers
    try:
        Resources("cuda", "32-true", torch.get_num_threads(), 0).apply()
        for operations in (torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul):
            assert operations.fp32_precision in ("ieee", "none")
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32  # torch.export reads this one; where old and new differ it raises
    finally:
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision(before)


def test_the_gpu_of_apple_is_used_only_when_asked_for(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    chosen = choose_resources(AUTO, "32-true", 1, 0, pixels_at_hand=True)
    assert chosen.device == "cpu"
    assert "accelerator=mps" in str(chosen)
    for asked in ("mps", "gpu"):
        assert choose_resources(asked, "32-true", 1, 0, pixels_at_hand=True).device == "mps"
    assert "accelerator=mps" not in str(choose_resources("cpu", "32-true", 1, 0, pixels_at_hand=True))


def test_a_test_starts_no_processes_where_each_pass_would_wait_for_their_imports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for context, processes in ((object(), 3), (None, 0)):
        monkeypatch.setattr("gender_cls.training.predictor.fork_context", lambda context=context: context)
        assert Predictor(Path("x"), Resources("mps", "32-true", 1, 3)).num_workers == processes


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, accelerator: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(resources, "_has_apple_gpu", lambda: False)
    with pytest.raises(GenderClsError, match=f"^accelerator={accelerator}: "):
        choose_resources(accelerator, "32-true", 1, 0, pixels_at_hand=True)


def test_a_cpu_takes_a_few_processes_for_each_core(machine: Any) -> None:
    def devices(wanted: int | str) -> int:
        return choose_resources("cpu", "32-true", AUTO, AUTO, pixels_at_hand=True, devices=wanted).devices

    assert [devices(wanted) for wanted in (AUTO, 1, 3, 8)] == [1, 1, 3, 8]
    with pytest.raises(GenderClsError, match=r"trainer\.devices=9.*2 cores.*8 or fewer"):
        devices(9)
