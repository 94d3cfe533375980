"""A trained classifier with all that stands between pixels and answers, as one network."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import cached_property
from io import StringIO

import torch
from torch import Tensor, nn

from gender_cls.data.input_form import InputForm
from gender_cls.errors import GenderClsError, one_line
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.export.resize import resize
from gender_cls.models.convolutions import normalise, set_layout
from gender_cls.models.exported import ANSWERS
from gender_cls.training.classifier import GenderClassifier

EXPORTERS = ("torch", "onnxscript", "onnx_ir")
FEMALE, MALE, ABSTAIN = range(len(ANSWERS))


class ExportedGraph(nn.Module):
    """Pixels -> the outputs that `models.exported.OUTPUTS` describes, on the CPU in float32.

    It holds a copy of the network, and leaves the classifier as it is.

    Args:
        rule: of the run.
        native: take one crop (H, W, 3) of any size and resize it, instead of a batch of resized ones (B, H, W, 3).
    """

    def __init__(self, classifier: GenderClassifier, rule: DecisionRule, native: bool) -> None:
        super().__init__()
        self.title, self.form = classifier.settings.model.title, InputForm.of(classifier.settings.data)
        self.rule, self.native = rule, native
        self.network = copy.deepcopy(classifier.network).to("cpu", torch.float32).eval().requires_grad_(False)
        set_layout(self.network, torch.contiguous_format)
        for module in self.network.modules():
            if hasattr(module, "inplace"):  # files have no such operations, and to translate them takes long
                module.inplace = False  # type: ignore[assignment]  # a plain attribute
        self.mean = nn.Buffer(classifier.mean.detach().to("cpu", torch.float32, copy=True), persistent=False)
        self.std = nn.Buffer(classifier.std.detach().to("cpu", torch.float32, copy=True), persistent=False)
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, probability and answer of uint8 pixels."""
        images = resize(pixels, self.form) if self.native else pixels.permute(0, 3, 1, 2)
        logits = self.network(normalise(images, self.mean, self.std, torch.contiguous_format))
        log_odds = logits[:, FEMALE].double() - logits[:, MALE].double()
        probability = torch.sigmoid(log_odds / self.rule.temperature)  # the rule compares in float64
        return logits, probability.float(), self._answers(log_odds, probability)

    def _answers(self, log_odds: Tensor, probability: Tensor) -> Tensor:
        """(B,) int64, as `DecisionRule.answers` decides."""
        doubtful = ~torch.isfinite(log_odds)
        if self.rule.band is not None:
            low, high = self.rule.band
            doubtful |= (low < probability) & (probability < high)
        answers = torch.where(probability >= self.rule.threshold, FEMALE, MALE)
        return torch.where(doubtful, ABSTAIN, answers)

    def sizes(self) -> dict[int, str]:
        """The dimensions of `pixels` that may have any length, by number, with their names."""
        return {0: "height", 1: "width"} if self.native else {0: "batch"}

    @cached_property
    def program(self) -> torch.export.ExportedProgram:
        """The graph as operations of torch.

        Raises:
            GenderClsError: torch.export cannot follow what the network does.
        """
        shape = (self.form.height, self.form.width, 3)
        pixels = torch.zeros(shape if self.native else (2, *shape), dtype=torch.uint8)
        sizes = {number: torch.export.Dim(name, min=1) for number, name in self.sizes().items()}
        try:
            with quiet(), torch.no_grad():
                program = torch.export.export(self, (pixels,), dynamic_shapes=(sizes,))
        except Exception as error:  # a foreign network may fail in any way; another model is the only way out
            raise GenderClsError(
                f"{self.title} cannot be exported, because torch.export cannot follow it ({reason(error)}): export "
                "a run of another model."
            ) from error
        for node in program.graph.nodes:  # where the files of this installation lie
            for key in ("stack_trace", "from_node"):
                node.meta.pop(key, None)
        program.example_inputs = None  # torch.export.save would pickle them
        return program


@contextmanager
def quiet() -> Iterator[None]:
    """Show nothing of what exporters print, log and warn of; their errors come as exceptions."""
    known = logging.root.manager.loggerDict.copy().items()
    theirs = [one for name, one in known if name.partition(".")[0] in EXPORTERS and isinstance(one, logging.Logger)]
    disabled = [one.disabled for one in theirs]
    for one in theirs:
        one.disabled = True
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stderr(StringIO()):
            yield
    finally:
        for one, earlier in zip(theirs, disabled, strict=True):
            one.disabled = earlier


def reason(error: BaseException) -> str:
    """What an exporter failed at, without its advice to developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(str(error).strip().partition("\n")[0])
