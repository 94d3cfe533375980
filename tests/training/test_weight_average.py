"""Weights are averaged as Lightning averages them, where they are trained, and without waiting for the device."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from helpers.classifiers import batches, settings, trainer_for
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint

from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.weight_average import WeightAverage


def averaged(callback: Callback, folder: Path, resume: Path | None = None, **options: Any) -> dict[str, Any]:
    """What the last of two epochs leaves in a checkpoint: the average, the weights that train on, and the count."""
    seed_everything(0, verbose=False)
    keep = ModelCheckpoint(folder, "{epoch}", save_top_k=-1)
    trainer = trainer_for(callbacks=[callback, keep], enable_checkpointing=True, **options)
    trainer.fit(GenderClassifier(settings()), batches(20), batches(4), ckpt_path=resume, weights_only=True)
    content = torch.load(folder / "epoch=1.ckpt", weights_only=True)
    return {key: content[key] for key in ("state_dict", "current_model_state", "averaging_state")}


@pytest.mark.parametrize("options", [{}, {"precision": "bf16-true", "accumulate_grad_batches": 2}])
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_the_average_is_lightnings_to_the_last_bit_also_after_resuming(tmp_path, options) -> None:
    lightnings = averaged(EMAWeightAveraging(decay=0.7), tmp_path / "lightning", **options)
    ours = averaged(WeightAverage(0.7), tmp_path / "ours", **options)
    resumed = averaged(WeightAverage(0.7), tmp_path / "resumed", tmp_path / "ours" / "epoch=0.ckpt", **options)
    for kept in (ours, resumed):
        torch.testing.assert_close(kept, lightnings, rtol=0, atol=0)
    average, weights = lightnings["state_dict"], lightnings["current_model_state"]
    assert not torch.equal(average["network.head.weight"], weights["network.head.weight"])


def test_it_is_made_where_the_module_will_train_and_reads_nothing_from_there() -> None:
    module, callback = GenderClassifier(settings()), WeightAverage(0.7)
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("meta")), global_step=0)
    callback.setup(cast(Trainer, trainer), module, "fit")
    assert callback._average_model is not None
    assert {one.device.type for one in callback._average_model.state_dict().values()} == {"meta"}
    module.to("meta")  # where reading a number raises an error
    for trainer.global_step in (1, 1, 2, 3):
        callback.on_train_batch_end(cast(Trainer, trainer), module)
    assert callback.state_dict() == {"latest_update_step": 3}
