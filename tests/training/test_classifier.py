from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.classifiers import batches, random_images, settings, trainer_for
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gender_cls.errors import GenderClsError
from gender_cls.system.resources import Resources
from gender_cls.training import ranks
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.predictor import Predictor


def test_pixels_are_normalised_with_the_backbones_own_mean_and_std() -> None:
    classifier = GenderClassifier(settings())
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    black, white = classifier.normalise(pixels)[:, :, 0, 0]
    assert black.tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rel=1e-5)
    assert white.tolist() == pytest.approx([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rel=1e-5)


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_validation_metrics_agree_with_scikit_learn(bias: float) -> None:
    torch.manual_seed(0)
    classifier = GenderClassifier(settings()).eval()
    classifier.network.head.bias.data.fill_(bias)  # 0.5: logits that could be probabilities
    loader = batches(40)
    [logged] = trainer_for().validate(classifier, loader, verbose=False)
    images, labels = loader.dataset.tensors
    with torch.no_grad():
        probabilities = classifier(images).softmax(dim=1).numpy()
    predicted, true = probabilities.argmax(axis=1), labels.numpy()
    assert logged["val/accuracy"] == pytest.approx(np.mean(predicted == true))
    assert logged["val/balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, predicted))
    assert logged["val/auroc"] == pytest.approx(roc_auc_score(true, probabilities[:, 1]))
    for index, name in enumerate(("FEMALE", "MALE")):
        assert logged[f"val/f1_{name}"] == pytest.approx(f1_score(true, predicted, pos_label=index), abs=1e-6)
    assert logged["val/loss"] == pytest.approx(-np.log(probabilities[range(40), true]).mean(), rel=1e-5)
    assert classifier.confusion_matrix.tolist() == confusion_matrix(true, predicted).tolist()


def test_class_weights_enter_the_loss() -> None:
    torch.manual_seed(0)
    classifier = GenderClassifier(settings(), class_weights=[3.0, 1.0]).eval()
    images, labels = next(iter(batches()))
    classifier._is_logged = lambda _: False
    classifier.on_train_epoch_start()
    classifier.network.eval()
    with torch.no_grad():
        loss = classifier.training_step((images, labels), 1)
        losses = -classifier(images).log_softmax(dim=1)[range(4), labels]
    weights = torch.tensor([3.0, 1.0])[labels]
    assert loss.item() == pytest.approx(((weights * losses).sum() / weights.sum()).item(), rel=1e-5)


def test_batchnorm_normalises_over_several_gpus_and_keeps_its_activation(monkeypatch) -> None:
    model = {"library": "timm", "name": "test_efficientnet", "pretrained": False}
    classifier, images = GenderClassifier(settings(model=model)).eval(), random_images(4)
    classifier.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cuda")))
    norms = [name for name, module in classifier.network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        expected = classifier(images)
        classifier.setup("fit")
        assert not any(isinstance(module, nn.SyncBatchNorm) for module in classifier.network.modules()), "one GPU"
        monkeypatch.setattr(ranks, "number", lambda: 2)
        classifier.setup("fit")
        assert all(isinstance(classifier.network.get_submodule(name), nn.SyncBatchNorm) for name in norms)
        assert torch.equal(classifier(images), expected)


class RecordsRates(GenderClassifier):
    """Notes the learning rates and what is trainable at each step."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        rates = {group["part"]: group["lr"] for group in self.optimizers().param_groups}
        learns = self.network.stages[0][0][0].weight.requires_grad
        self.seen.append((round(rates["head"], 6), round(rates["backbone"], 6), learns))
        return super().training_step(batch, batch_index)


def test_the_backbone_learns_after_the_frozen_epochs() -> None:
    recipe = {"lr": 1.0, "frozen_epochs": 1, "warmup_epochs": 0, "backbone_lr_factor": 0.5}
    classifier = RecordsRates(settings(recipe=recipe))
    classifier.seen = []
    trainer_for().fit(classifier, batches(), batches())
    head, backbone, learns = zip(*classifier.seen, strict=True)
    assert learns == (False,) * 3 + (True,) * 3
    assert backbone[:3] == (0, 0, 0)
    assert backbone[3:] == pytest.approx((0.5, 0.5 * 0.75, 0.5 * 0.25))  # a cosine over 3 steps
    assert head == pytest.approx([0.5 * (1 + np.cos(np.pi * step / 6)) for step in range(6)], abs=1e-6)


@pytest.mark.parametrize("augment", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixing_trains(augment) -> None:
    trainer = trainer_for()
    trainer.fit(GenderClassifier(settings(augment=augment)), batches(), batches())
    assert torch.isfinite(trainer.callback_metrics["train/loss"])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_precisions_train_and_predict(precision) -> None:
    classifier = GenderClassifier(settings())
    trainer = trainer_for(precision=precision)
    trainer.fit(classifier, batches(), batches())
    [first, *_] = trainer.predict(classifier, batches())
    assert first.dtype == torch.float64
    assert first.sum(dim=1).tolist() == pytest.approx([1] * 4)
    exact = trainer_for().predict(classifier, batches())[0]
    assert torch.equal(first, exact) == (precision != "bf16-mixed")
    torch.testing.assert_close(first, exact, rtol=0, atol=0.02)


def test_training_in_bf16_costs_less_accuracy_than_chance_moves() -> None:
    def crops(count: int, seed: int) -> DataLoader:
        """Noise; images of the second class are brighter in their upper half."""
        labels, images = torch.arange(count) % 2, random_images(count, seed=seed).int() // 2
        images[:, :, :16] += 120 * labels.view(-1, 1, 1, 1)
        return DataLoader(TensorDataset(images.to(torch.uint8), labels), batch_size=16)

    accuracies = []
    for precision in ("32-true", "bf16-mixed"):
        torch.manual_seed(0)
        classifier = GenderClassifier(settings(recipe={"lr": 0.01, "warmup_epochs": 0}))
        trainer = trainer_for(precision=precision, gradient_clip_val=1.0)
        trainer.fit(classifier, crops(128, 1), crops(16, 2))
        assert all(weight.dtype == torch.float32 for weight in classifier.network.parameters())
        answers = torch.cat(trainer.predict(classifier, crops(200, 3))).argmax(dim=1)
        accuracies.append((answers == torch.arange(200) % 2).float().mean().item())
    assert accuracies[0] > 0.9, "the task is learned"
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.03)


def test_a_predictor_computes_as_it_is_told(tmp_path) -> None:
    predictor = Predictor(tmp_path / "none.ckpt", Resources("cpu", "bf16-mixed", 1, 0))
    assert predictor.precision == predictor._trainer.precision == "bf16-mixed"


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_a_batch_is_answered_as_lightning_does(precision: str, tmp_path: Path) -> None:
    predictor = Predictor(tmp_path / "none.ckpt", Resources("cpu", precision, 1, 0))
    predictor.classifier = GenderClassifier(settings()).eval()
    loader = batches(4)
    [expected] = predictor._trainer.predict(predictor.classifier, loader)
    assert predictor.answer(loader.dataset.tensors[0]).tolist() == expected.tolist()


def test_a_loss_that_is_no_number_is_refused() -> None:
    classifier = GenderClassifier(settings())
    torch.nn.init.constant_(classifier.network.head.weight, float("nan"))
    with pytest.raises(GenderClsError, match=r"loss became nan in epoch 1, by step 0: .*recipe\.lr"):
        trainer_for().fit(classifier, batches(), batches())


def test_a_compiled_network_keeps_clean_checkpoint_keys() -> None:
    classifier = GenderClassifier(settings())
    keys = list(classifier.state_dict())
    classifier.network.compile(backend="eager")
    images, _ = next(iter(batches()))
    assert classifier(images).shape == (4, 2)
    assert list(classifier.state_dict()) == keys
