"""What pixels a network takes. Imports no torch."""

from typing import NamedTuple, Self

from gender_cls.config.data import DataConfig, ResizeMode


class InputForm(NamedTuple):
    """The size of a network's input and how a crop is brought to it."""

    height: int  # pixels
    width: int
    mode: ResizeMode

    @classmethod
    def of(cls, data: DataConfig) -> Self:
        """The form that a run was trained with."""
        height, width = data.image_size
        return cls(height, width, data.resize_mode)
