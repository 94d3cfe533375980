"""The models of conf/model."""

from omegaconf import OmegaConf

from gender_cls.config.model import ModelConfig
from gender_cls.config.parsing import CONFIG_FOLDER

ANY_MODEL = ("timm", "torchvision")  # files that name no model
SHIPPED = sorted(path.stem for path in (CONFIG_FOLDER / "model").glob("*.yaml") if path.stem not in ANY_MODEL)


def shipped(name: str) -> ModelConfig:
    content = OmegaConf.load(CONFIG_FOLDER / "model" / f"{name}.yaml")
    content = content.get("model", content)  # custom_cnn chooses its recipe too, and so is a global file
    model = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), content))
    assert isinstance(model, ModelConfig)
    return model
