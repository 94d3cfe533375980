from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.events import read_events
from helpers.tiny_training import Tiny, explain, fit, pictures
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging, LambdaCallback
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from gender_cls.config.explain import ExplainedClass, Method
from gender_cls.drawing.confusion_matrix import confusion_matrix_figure
from gender_cls.drawing.map_card import map_cards
from gender_cls.errors import GenderClsError
from gender_cls.explain import callback as explain_callback
from gender_cls.explain import explanation_grid
from gender_cls.explain.attribution import Attribution, attribute, scaled
from gender_cls.explain.callback import ConfusionMatrixCallback
from gender_cls.explain.map_regions import rank_correlation
from gender_cls.explain.mass_shares import mass_shares
from gender_cls.models.feature_map import FeatureMap

BOTH = [Method.saliency, Method.grad_cam]


@pytest.fixture
def logger(tmp_path: Path) -> TensorBoardLogger:
    return TensorBoardLogger(tmp_path, name="events")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What every call of `map_grid` was given."""
    calls = []

    def spy(images: Tensor, columns: list[Any], captions: list[Any], title: str, note: str) -> np.ndarray:
        columns = {column.title: column for column in columns}
        calls.append(SimpleNamespace(images=images, columns=columns, captions=captions, title=title, note=note))
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr(explanation_grid, "map_grid", spy)
    return calls


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch, drawn: list[SimpleNamespace]) -> list[Attribution]:
    """What `attribute` shall answer, call by call."""
    answers: list[Attribution] = []
    monkeypatch.setattr(explanation_grid, "attribute", lambda *_: answers.pop(0))
    return answers


def invent(seed: int, targets: list[int]) -> Attribution:
    probabilities = torch.nn.functional.one_hot(torch.tensor(targets), 2) * 0.8 + 0.1
    generator = torch.Generator().manual_seed(seed)
    maps = {method: torch.rand(len(targets), 16, 8, generator=generator) - 0.3 for method in BOTH}
    return Attribution(probabilities, torch.tensor(targets), maps)


def maps_of(model: Any, targets: Any) -> dict[Method, Tensor]:
    """Maps of these classes of the three pictures."""
    inputs = pictures(3).float() / 255
    return attribute(model.network, inputs, BOTH, Tiny.feature_map, torch.as_tensor(targets)).maps


def scalars(logger: TensorBoardLogger) -> dict[str, dict[int, float]]:
    """By tag without `explanations_scores/`, then by epoch; an epoch has 4 steps. The seconds are among them."""
    return {
        tag.removeprefix("explanations_scores/").removeprefix("speed/explanation_"): {
            step // 4: value for step, value in curve.items()
        }
        for tag, curve in read_events(logger.log_dir).scalars.items()
        if tag.startswith(("explanations_scores/", "speed/"))
    }


def shares(maps: Tensor) -> np.ndarray:
    return mass_shares(maps, [[0, 0, 8, 16]] * len(maps))["outside"]


def test_every_epoch_reaches_tensorboard_and_the_folder(tmp_path, logger, monkeypatch) -> None:
    drawn = []

    def spy(images: Tensor, columns: list[Any], captions: list[Any], below_image: str) -> list[np.ndarray]:
        cards = map_cards(images, columns, captions, below_image)
        drawn.append((below_image, cards))
        return cards

    monkeypatch.setattr(explain_callback, "map_cards", spy)
    folder = tmp_path / "maps"
    fit(tmp_path, [explain(folder)], max_epochs=3, logger=logger)
    events, seconds = read_events(logger.log_dir), scalars(logger)["seconds"]
    assert list(events.images) == ["explanations/1_MALE", "explanations/2_FEMALE", "explanations/3_MALE"]
    assert [below for below, _ in drawn] == ["epoch 1", "epoch 2", "epoch 3"]
    for number, shown in enumerate(events.images.values()):
        assert list(shown) == [4, 8, 12]  # 4 optimizer steps an epoch; nothing at the sanity check
        for picture, (_, cards) in zip(shown.values(), drawn, strict=True):
            assert picture.shape == cards[number].shape
            assert np.abs(picture.astype(int) - cards[number]).mean() < 3  # a JPEG
    for number, tag in enumerate(events.images):
        assert f"crop_{number}.png" in events.descriptions[tag]
    assert list(seconds) == [1, 2, 3]
    assert all(0 < value < 60 for value in seconds.values())
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_001.png", "epoch_002.png", "epoch_003.png"]
    names = {f"{score}/{method}" for method in ("saliency", "grad_cam") for score in ("outside", "stability")}
    assert scalars(logger).keys() == names | {"agreement/saliency_grad_cam", "seconds"}
    assert all(events.descriptions[tag] for tag in events.scalars if "loss" not in tag and tag != "epoch")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_maps_notes_and_captions_are_those_of_the_predicted_class(tmp_path, drawn, precision) -> None:
    model, _ = fit(tmp_path, [explain(tmp_path)], precision=precision)
    confidence, predicted = model.network.eval()(pictures(3).float() / 255).softmax(dim=1).detach().max(dim=1)
    expected = maps_of(model, predicted)
    assert len(drawn) == 2
    last = drawn[-1]
    assert torch.equal(last.images, pictures(3))
    assert list(last.columns) == ["saliency", "Grad-CAM"]
    for method, column in zip(BOTH, last.columns.values(), strict=True):
        assert torch.equal(column.maps, scaled(expected[method]))
        assert column.signed == (method is Method.grad_cam)
        notes = [f"outside {100 * share:.0f} %" for share in shares(expected[method])]
        assert column.notes == ["" if "nan" in note else note for note in notes]
    assert [caption.label for caption in last.captions] == ["MALE", "FEMALE", "MALE"]
    assert [caption.predicted for caption in last.captions] == [["FEMALE", "MALE"][index] for index in predicted]
    female = [p if index == 0 else 1 - p for p, index in zip(confidence.tolist(), predicted, strict=True)]
    assert [caption.p_female for caption in last.captions] == pytest.approx(female)
    assert [caption.name for caption in last.captions] == ["crop_0.png", "crop_1.png", "crop_2.png"]
    right = int((predicted == torch.tensor([1, 0, 1])).sum())
    assert last.title == f"Epoch 2, step 8: {right} of 3 right"
    assert last.note.startswith("Maps of the predicted label with this epoch's weights, ")
    assert "52 % for a uniform map" in last.note  # 1 - 0.8 * 0.6


def test_the_true_class_is_explained_where_that_is_asked_for(tmp_path, drawn, logger) -> None:
    model, _ = fit(tmp_path, [explain(tmp_path, explained_class=ExplainedClass.true)], logger=logger)
    assert list(drawn[-1].columns) == ["saliency", "Grad-CAM"]
    assert torch.equal(drawn[-1].columns["Grad-CAM"].maps, scaled(maps_of(model, [1, 0, 1])[Method.grad_cam]))
    assert drawn[-1].note.startswith("Maps of the true label with this epoch's weights, ")
    assert "outside/grad_cam" in scalars(logger)
    assert not any("_true" in tag for tag in scalars(logger))


def test_of_both_classes_only_mistakes_are_explained_twice(tmp_path, drawn, monkeypatch, logger) -> None:
    class Mistaken(Tiny):
        """Says MALE of everything: wrong of the second picture."""

        def on_validation_start(self) -> None:
            self.network[6].bias.data = torch.tensor([-9.0, 9.0])

    counts = []

    def spy(network: torch.nn.Module, inputs: Tensor, *rest: Any) -> Attribution:
        counts.append(len(inputs))
        return attribute(network, inputs, *rest)

    monkeypatch.setattr(explanation_grid, "attribute", spy)
    callback = explain(tmp_path, explained_class=ExplainedClass.both)
    model, _ = fit(tmp_path, [callback], Mistaken, max_epochs=1, logger=logger)
    assert counts == [3, 1]
    said, true = maps_of(model, [1, 1, 1]), maps_of(model, [1, 0, 1])
    [grid] = drawn
    assert list(grid.columns) == ["saliency", "saliency, true", "Grad-CAM", "Grad-CAM, true"]
    for method in BOTH:
        assert torch.equal(grid.columns[method.title].maps, scaled(said[method]))
        assert torch.allclose(grid.columns[f"{method.title}, true"].maps, scaled(true[method]), atol=1e-5)
    assert not torch.equal(said[Method.grad_cam][1], true[Method.grad_cam][1])
    assert grid.title == "Epoch 1, step 4: 2 of 3 right"
    outside = {f"outside{of}/{method}" for method in ("saliency", "grad_cam") for of in ("", "_true")}
    agreement = {"agreement/saliency_grad_cam", "agreement_true/saliency_grad_cam"}
    assert scalars(logger).keys() == outside | agreement | {"seconds"}


def test_scores_are_means_over_images_and_compare_with_the_grid_before(tmp_path, invented, logger) -> None:
    first, second = invent(1, [1, 0, 1]), invent(2, [1, 1, 1])  # the second picture's class changes
    invented += [first, second]
    fit(tmp_path, [explain(tmp_path, every_n_epochs=2)], max_epochs=4, logger=logger)
    found = scalars(logger)
    for method in BOTH:
        expected = {epoch: shares(one.maps[method]).mean() for epoch, one in ((2, first), (4, second))}
        assert found[f"outside/{method.value}"] == pytest.approx(expected)
        stability = rank_correlation(first.maps[method], second.maps[method])[[0, 2]].mean()
        assert found[f"stability/{method.value}"] == pytest.approx({4: stability})
    agreement = {epoch: rank_correlation(*one.maps.values()).mean() for epoch, one in ((2, first), (4, second))}
    assert found["agreement/saliency_grad_cam"] == pytest.approx(agreement)
    assert found["seconds"].keys() == {2, 4}


def test_images_without_a_defined_score_are_left_out_and_no_mean_is_taken_of_none(
    tmp_path, invented, drawn, logger
) -> None:
    first, second = invent(1, [1, 0, 1]), invent(2, [1, 0, 0])
    first.maps[Method.saliency][0] = 0
    first.maps[Method.saliency][1] = torch.nan
    second.maps[Method.saliency][0] = torch.inf
    first.maps[Method.grad_cam][:] = -1  # evidence against the class is no mass
    invented += [first, second]
    fit(tmp_path, [explain(tmp_path)], logger=logger)
    found = scalars(logger)
    assert found["outside/saliency"] == pytest.approx(
        {1: shares(first.maps[Method.saliency][2:])[0], 2: shares(second.maps[Method.saliency][1:]).mean()}
    )
    assert found["outside/grad_cam"].keys() == {2}
    assert found["agreement/saliency_grad_cam"].keys() == {2}
    assert "stability/saliency" not in found  # 0 and 1 have no map at one end, 2 changed its class
    notes = drawn[0].columns["saliency"].notes
    assert notes == ["", "", f"outside {100 * found['outside/saliency'][1]:.0f} %"]


def test_a_diverged_network_is_drawn_and_not_scored(tmp_path, logger) -> None:
    class Diverged(Tiny):
        def on_validation_start(self) -> None:
            self.network[6].weight.data[:] = torch.nan

    callback = explain(tmp_path / "maps", methods=list(Method), explained_class=ExplainedClass.both)
    fit(tmp_path, [callback], Diverged, logger=logger)
    assert scalars(logger).keys() == {"seconds"}
    assert len(list((tmp_path / "maps").iterdir())) == 2


def test_averaged_weights_are_explained(tmp_path, drawn) -> None:
    def note(trainer: Trainer, model: Any, *_: object) -> None:
        raw.update({name: value.clone() for name, value in model.network.state_dict().items()})

    raw: dict[str, Tensor] = {}
    noting = LambdaCallback(on_train_batch_end=note)
    model, _ = fit(tmp_path, [explain(tmp_path), noting, EMAWeightAveraging(decay=0.9)])
    assert "with this epoch's averaged weights, " in drawn[-1].note
    predicted = [["FEMALE", "MALE"].index(caption.predicted) for caption in drawn[-1].captions]
    shown = drawn[-1].columns["saliency"].maps
    assert torch.equal(shown, scaled(maps_of(model, predicted)[Method.saliency]))  # after fit it holds the average
    model.network.load_state_dict(raw)
    assert not torch.allclose(shown, scaled(maps_of(model, predicted)[Method.saliency]))


@pytest.mark.parametrize(
    ("budget", "every_n_epochs", "expected"),
    [
        # An epoch takes 10 s, a grid 3 s. Before epoch 6 (at 63 s) 3 + 3 <= 6.3 s; before epoch 9 (at 96 s) 9 <= 9.6 s.
        (0.1, 1, [1, 6, 9, 10]),
        (0.1, 2, [2, 6, 10]),  # before epoch 4 at 43 s, 6 at 63 s (6 <= 6.3), 8 at 86 s (9 > 8.6)
        (0.01, 3, [3, 10]),
        (1.0, 1, list(range(1, 11))),
        (None, 1, list(range(1, 11))),
    ],
)
def test_epochs_are_skipped_to_stay_within_the_budget(
    tmp_path, drawn, monkeypatch, budget, every_n_epochs, expected, logger
) -> None:
    now = [1000.0]

    def after(seconds: float, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            now[0] += seconds
            return work(*arguments, **options)

        return timed

    monkeypatch.setattr(explain_callback, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(explanation_grid, "map_grid", after(3, explanation_grid.map_grid))
    monkeypatch.setattr(Tiny, "on_train_epoch_start", after(10, lambda _: None), raising=False)
    callback = explain(tmp_path, budget=budget, every_n_epochs=every_n_epochs)
    for _ in range(2):  # a second training with the same callback begins to count again
        drawn.clear()
        fit(tmp_path, [callback], max_epochs=10, logger=logger)
        assert [int(grid.title.split()[1].rstrip(",")) for grid in drawn] == expected
    assert scalars(logger)["seconds"] == dict.fromkeys(expected, 3.0)


@pytest.mark.parametrize("logger", [False, CSVLogger])
def test_due_epochs_and_the_last_one_without_tensorboard(tmp_path, logger) -> None:
    folder = tmp_path / "maps"
    fit(tmp_path, [explain(folder, every_n_epochs=3)], max_epochs=4, logger=logger and logger(tmp_path))
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_003.png", "epoch_004.png"]


def test_nothing_is_drawn_outside_training(tmp_path) -> None:
    model, trainer = fit(tmp_path, [], max_epochs=1)
    trainer.callbacks.append(explain(tmp_path / "maps"))
    trainer.validate(model, DataLoader(TensorDataset(pictures(4), torch.zeros(4, dtype=torch.long))), verbose=False)
    assert not (tmp_path / "maps").exists()


def test_an_error_while_explaining_is_not_hidden(tmp_path) -> None:
    class Wrong(Tiny):
        feature_map = FeatureMap("0", "NCHW", (4, 4))

    with pytest.raises(GenderClsError, match=r"model\.cam_layer"):
        fit(tmp_path, [explain(tmp_path)], Wrong)


def test_confusion_matrix_of_every_epoch_reaches_tensorboard(tmp_path, logger) -> None:
    fit(tmp_path, [ConfusionMatrixCallback()], logger=logger)
    shown = read_events(logger.log_dir).images["validation_confusion_matrix"]
    assert list(shown) == [4, 8]
    for epoch, picture in enumerate(shown.values(), start=1):
        assert np.array_equal(picture, confusion_matrix_figure([[epoch, 0], [1, 3]], ("FEMALE", "MALE")))
