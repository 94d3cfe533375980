"""The optimizers that `recipe.optimizer` may name: timm's. Imports neither timm nor torch, which take seconds."""

from difflib import get_close_matches
from typing import Any

from gender_cls.errors import require

DEFAULT = "adamw"

OPTIMIZERS = (
    "adabelief", "adadelta", "adafactor", "adafactorbv", "adafactorbvc", "adagrad", "adam", "adamax", "adamc",
    "adamp", "adamuon", "adamw", "adamwlegacy", "adan", "adanw", "adopt", "adoptc", "adoptw", "cadafactor",
    "cadafactorbv", "cadafactorbvc", "cadamc", "cadamp", "cadamw", "cadan", "cadanw", "cadopt", "cadoptc",
    "cadoptw", "clamb", "clambw", "claprop", "clion", "clionc", "cmars", "cnadamc", "cnadamw", "crmsproptf",
    "csgdc", "csgdp", "csgdw", "lamb", "lambc", "lambcd", "lambcw", "lambw", "laprop", "lapropc", "larc", "lars",
    "lion", "lionc", "madgrad", "madgradw", "mars", "momentum", "muon", "nadam", "nadamc", "nadamlegacy",
    "nadamuon", "nadamw", "nesterov", "nesterovw", "nlarc", "nlars", "nmuon", "novograd", "novogradc", "novogradw",
    "radabelief", "radam", "radamlegacy", "radamw", "rmsprop", "rmsproptf", "rmsproptfc", "rmsproptfw", "sgd",
    "sgdc", "sgdp", "sgdw",
)  # fmt: skip
"""Those of timm 1.0.31 that can be used here."""

REFUSED = {
    "adahessian": "it needs second derivatives, which mixed precision and the frozen backbone do not give",
    "bnb": "it needs bitsandbytes, which was not tried here",
    "fused": "it needs NVIDIA's APEX, which was not tried here (adamw takes torch's fused step by itself)",
    "kron": "it draws random numbers that the run's seed does not reach, so no run could be repeated",
}
"""How the names of timm's others begin, and why they are refused."""

ELSEWHERE = {
    **{name: f"recipe.{name} sets it" for name in ("lr", "weight_decay", "momentum")},
    "params": "the recipe chooses the parameters",
    "fused": "adamw takes the fused step by itself where it is right",
}
"""Arguments of optimizers that are no options."""


def check_optimizer_name(name: str) -> None:
    """Raise GenderClsError, with similar names, unless a recipe can use the optimizer."""
    if name in OPTIMIZERS:
        return
    for beginning, reason in REFUSED.items():
        require(not name.startswith(beginning), f"recipe.optimizer={name} cannot be used here: {reason}.")
    close = get_close_matches(name.lower(), OPTIMIZERS, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "there are adamw, sgd, lion, lamb and more of timm's."
    require(False, f"recipe.optimizer={name} is no optimizer of timm; {hint}")


def check_optimizer_options(options: dict[str, Any]) -> None:
    """Raise GenderClsError for an option that belongs elsewhere."""
    for name in options:
        require(name not in ELSEWHERE, f"recipe.optimizer_options.{name} is no option: {ELSEWHERE.get(name)}.")
