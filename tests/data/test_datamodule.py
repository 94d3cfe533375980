import multiprocessing
import os
import pickle
import sys
import warnings
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.classifiers import config_of, datamodule_of, prepare
from helpers.crops import decode, resize, write_crops

from gender_cls.config.data import Balance, PixelCache, ResizeMode
from gender_cls.config.train import AugmentConfig
from gender_cls.data.augmentation import build_augmentation
from gender_cls.data.datamodule import CropDataModule
from gender_cls.data.samplers import FILLER, EpochSampler, derived_seed
from gender_cls.errors import GenderClsError
from gender_cls.system.processes import fork_context
from gender_cls.system.signals import FROM_SCHEDULERS


def module_of(root: Path, augment: AugmentConfig | None = None, **data: Any) -> CropDataModule:
    config = config_of(root, data=data, augment=vars(augment or AugmentConfig()))
    return datamodule_of(prepare(root, **data), config, batch_size=4, num_workers=config.data.num_workers)


@pytest.mark.parametrize("kind", PixelCache)
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_bit_by_bit_however_pixels_are_kept(folders: Path, kind: PixelCache, workers: int) -> None:
    augment = AugmentConfig(flip=0.5, affine=0.5, rotate_degrees=5, brightness=0.5, jpeg=0.5)
    module = module_of(folders, augment, cache=kind, num_workers=workers)
    train, validation = module.train_dataloader(), module.val_dataloader()
    train.batch_sampler.sampler.set_epoch(3)
    for split, loader in (("train", train), ("val", validation)):
        paths, keys = module.tables[split]["path"], list(chain.from_iterable(loader.batch_sampler))
        assert split == "train" or keys == list(range(len(paths)))
        assert paths.is_monotonic_increasing
        for start, (images, labels) in zip(range(0, len(keys), 4), loader, strict=True):
            assert images.is_contiguous(memory_format=torch.channels_last)
            assert labels.dtype == torch.int64
            for key, image, label in zip(keys[start : start + 4], images, labels, strict=True):
                row = key[1] if isinstance(key, tuple) else key
                expected = resize(decode(folders / paths[row]), (32, 16), module.data.resize_mode)
                if isinstance(key, tuple):
                    with torch.random.fork_rng(devices=[]):
                        torch.manual_seed(derived_seed(module.seed, *key))
                        expected = build_augmentation(augment)(expected[None])[0]
                assert torch.equal(image, expected)
                assert label == ("FEMALE", "MALE").index(paths[row].partition("/")[0])


def test_spawned_workers_find_the_pixels_too(folders: Path, unread: None) -> None:
    dataset = pickle.loads(pickle.dumps(module_of(folders).datasets["val"]))
    expected = [resize(decode(folders / path), (32, 16), ResizeMode.stretch) for path in dataset.images.paths]
    assert torch.equal(dataset.__getitems__(range(len(dataset)))[0], torch.stack(expected))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere forking is not safe")
def test_workers_are_forked_without_a_warning(folders: Path) -> None:
    loader = module_of(folders, num_workers=2).val_dataloader()
    assert loader.multiprocessing_context.get_start_method() == "fork"
    assert module_of(folders).val_dataloader().multiprocessing_context is None

    fork = os.fork

    def warning_fork() -> int:  # as in Python 3.12 and later
        warnings.warn("This process (pid=1) is multi-threaded, use of fork() may ...", DeprecationWarning, stacklevel=2)
        return fork()

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(os, "fork", warning_fork)
        with pytest.raises(DeprecationWarning, match="multi-threaded"):
            multiprocessing.get_context("fork").Process(target=int).start()
        process = fork_context().Process(target=int)
        process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="a process learns there who sent a signal")
def test_a_loader_process_that_has_just_started_leaves_signals_to_its_parent(folders: Path, monkeypatch) -> None:
    fork = os.fork

    def fork_and_send() -> int:
        """Forks, and lets a third process send signals to the new one, as a scheduler does to all."""
        new = fork()
        if new != 0:
            sender = fork()
            if sender == 0:
                for number in FROM_SCHEDULERS:
                    os.kill(new, number)
                os._exit(0)
            os.waitpid(sender, 0)
        return new

    loader = module_of(folders, num_workers=2).val_dataloader()
    monkeypatch.setattr(os, "fork", fork_and_send)
    assert len(list(loader)) == len(loader)


def test_reading_a_crop_leaves_the_random_numbers_alone(folders: Path) -> None:
    module = module_of(folders, AugmentConfig(flip=0.5, brightness=0.5))
    state = torch.random.get_rng_state()
    module.datasets["train"][(0, 0, 0)]
    module.probe_set(4)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_sampler_draws_labels_equally_often() -> None:
    labels = [0] * 100 + [1] * 900
    drawn = [labels[row] for _, row, _ in EpochSampler(labels, seed=0, balanced=True)]
    assert len(drawn) == 1000
    assert 450 < drawn.count(0) < 550
    plain = EpochSampler(labels, seed=0, balanced=False)
    order = list(plain)
    assert sorted(order) == [(0, row, 0) for row in range(1000)]
    assert list(plain) == order
    plain.set_epoch(1)
    assert {epoch for epoch, *_ in plain} == {1}
    assert [row for _, row, _ in plain] != [row for _, row, _ in order]


def test_a_row_that_is_drawn_twice_is_augmented_in_two_ways(folders: Path) -> None:
    keys = list(EpochSampler([0] + [1] * 20, seed=0, balanced=True))
    twice = [key for key in keys if key[1] == 0][:2]
    assert twice == [(0, 0, 0), (0, 0, 1)]
    module = module_of(folders, AugmentConfig(brightness=0.5, contrast=0.5))
    together, _ = module.datasets["train"].__getitems__(twice)
    assert not torch.equal(*together)
    alone = [module.datasets["train"][key][0] for key in reversed(twice)]
    assert torch.equal(torch.stack(alone[::-1]), together), "whatever the batch and the worker"


def test_sources_are_drawn_equally_often_and_labels_as_they_come(folders: Path) -> None:
    pattern = r"(?P<identity>person\d+)_(?P<source>camera\d)"
    write_crops(folders, *(f"MALE/person{20 + number}_camera1_0.png" for number in range(48)))
    module = module_of(folders, pattern=pattern, balance=Balance.source)
    rows, train = module.tables["train"], module.train_dataloader()
    drawn: Counter[tuple[str, str]] = Counter()
    for epoch in range(100):
        train.batch_sampler.sampler.set_epoch(epoch)
        found = [rows.loc[row] for _, row, _ in chain.from_iterable(train.batch_sampler)]
        drawn.update((row["source"], row["label"]) for row in found)
    sizes = rows.groupby(["source", "label"]).size()
    for (source, label), size in sizes.items():
        share = size / sizes[source].sum() / 2  # half of the draws for each of two sources
        assert drawn[source, label] / drawn.total() == pytest.approx(share, abs=0.02)
    assert module.class_weights is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(?P<identity>person\d+)", r"needs the source of each training image, and (\d+) of \1 have none"),
        (r"(?P<identity>person\d+)_(?P<source>camera)", "at least two sources .* come from camera"),
    ],
)
def test_sources_must_be_known_to_be_drawn_equally(folders: Path, pattern: str, message: str) -> None:
    with pytest.raises(GenderClsError, match=rf"^data\.balance=source .*{message}"):
        module_of(folders, pattern=pattern, balance=Balance.source)


def test_class_weights_are_inverse_frequencies(folders: Path) -> None:
    write_crops(folders, *(f"MALE/person{20 + number}_camera0_0.png" for number in range(48)))
    module = module_of(folders, balance=Balance.loss)
    female, male = (module.tables["train"]["label"].value_counts()[label] for label in ("FEMALE", "MALE"))
    assert module.class_weights == pytest.approx([(female + male) / 2 / female, (female + male) / 2 / male])
    assert module_of(folders).class_weights is None


def test_a_last_batch_of_one_picture_is_left_out(folders: Path) -> None:
    module = module_of(folders)
    train = len(module.datasets["train"])
    module.batch_size = train - 1
    assert [len(labels) for _, labels in module.train_dataloader()] == [train - 1]
    module.batch_size = train - 2
    assert [len(labels) for _, labels in module.train_dataloader()] == [train - 2, 2]


def test_the_probe_set_is_fixed_balanced_and_of_different_people(folders: Path) -> None:
    module = module_of(folders, val_fraction=0.4)
    crops, rows = module.probe_set(6)
    assert crops.images.shape == (6, 3, 32, 16)
    assert crops.boxes.tolist() == [[0, 0, 16, 32]] * 6
    assert rows["label"].value_counts().to_dict() == {"FEMALE": 3, "MALE": 3}
    assert rows["identity"].is_unique
    assert set(rows["split"]) == {"val"}
    assert module_of(folders, val_fraction=0.4).probe_set(6)[1].equals(rows)
    everything, all_rows = module.probe_set(1000)
    assert len(everything.images) == len(all_rows) == len(module.tables["val"])


def test_images_in_no_split_are_in_no_dataset(folders: Path) -> None:
    (folders / "unknown").mkdir()
    (folders / "MALE" / "person08_camera0_0.png").rename(folders / "unknown" / "person08_camera0_0.png")
    module = module_of(folders)
    assert (module.manifest.table["label"] == "unknown").sum() == 1
    assert sum(len(dataset) for dataset in module.datasets.values()) == 47


def test_each_rank_has_its_rows_of_val(folders: Path) -> None:
    prepared = prepare(folders)
    rows = len(prepared.manifest.table.query("split == 'val'"))
    parts = [datamodule_of(prepared, config_of(folders), rank=rank, ranks=4).val_dataloader() for rank in range(4)]
    found = [list(chain.from_iterable(part.batch_sampler)) for part in parts]
    assert found == [list(range(rank, rows, 4)) for rank in range(4)]
    with pytest.raises(GenderClsError, match=rf"val has {rows} images.*{rows + 1} devices.*trainer.devices"):
        datamodule_of(prepared, config_of(folders), ranks=rows + 1)


def test_images_that_fill_up_a_batch_have_no_label_and_no_augmentation(folders: Path) -> None:
    augmented = module_of(folders, AugmentConfig(flip=1.0)).datasets["train"]
    images, labels = augmented.__getitems__([(0, 0, 0), (0, 5, 0), (0, 0, FILLER)])
    assert labels.tolist() == [augmented.labels[0], augmented.labels[5]]
    assert torch.equal(images[0], images[2].flip(-1))
    assert not torch.equal(images[0], images[2])
    images, labels = augmented.__getitems__([(0, 0, FILLER)])
    assert (images.shape, labels.shape, labels.dtype) == ((1, 3, 32, 16), (0,), torch.int64)
