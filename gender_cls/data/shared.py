"""What precedes training, done once for all the jobs of a sweep that share their data.

The parent of the jobs keeps it, and a job that is forked finds it in its memory. A process whose parent kept nothing
(a single run, a job on a platform without fork) does the work itself.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gender_cls.config.data import DataConfig
from gender_cls.data.baselines import trivial_baselines
from gender_cls.data.prepare import PreparedData, prepare_data

MOST_IMAGES = 2_000_000
"""Kept at once, of all configurations together; a million take about 0.5 GB."""


@dataclass(frozen=True)
class _Preparation:
    prepared: PreparedData
    baselines: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.prepared.facts)


_kept: dict[str, _Preparation] = {}  # the one used last stands last


def prepared_data(data: DataConfig, cache: Path) -> PreparedData:
    """`prepare_data`, unless it has been done for these data already."""
    kept = _kept.get(_key(data, cache))
    return prepare_data(data, cache) if kept is None else kept.prepared


def baselines_of(prepared: PreparedData) -> list[dict[str, Any]]:
    """`trivial_baselines`, unless they are known already."""
    for kept in _kept.values():
        if kept.prepared is prepared:
            return kept.baselines
    return trivial_baselines(prepared.manifest.table, prepared.facts, prepared.near)


def keep_prepared(data: DataConfig, cache: Path) -> None:
    """Prepare these data for the jobs that are forked from here, if that is not done yet.

    What goes wrong is left to the job, which meets it again and has a place to write it down.
    """
    key = _key(data, cache)
    if key in _kept:
        _kept[key] = _kept.pop(key)
        return
    try:
        prepared = prepare_data(data, cache)
        _kept[key] = _Preparation(prepared, baselines_of(prepared))
    except Exception:  # of any kind, as in the job
        return
    while len(_kept) > 1 and sum(map(len, _kept.values())) > MOST_IMAGES:
        del _kept[next(iter(_kept))]


def _key(data: DataConfig, cache: Path) -> str:
    """The same for configurations that differ only in what training alone reads."""
    ours = DataConfig()
    same = replace(
        data, batch_size=ours.batch_size, balance=ours.balance, num_workers=ours.num_workers, licence=ours.licence
    )
    return f"{cache} {same}"
