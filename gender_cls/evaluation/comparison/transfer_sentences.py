"""What the transfer matrix says, in sentences."""

from gender_cls.errors import plural
from gender_cls.evaluation.comparison.transfer_json import Drop, Transfer
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.wording import decimal, stated


def drop_sentence(drop: Drop) -> str:
    """The drop of a method, and where it is worst."""
    if not drop["cells"]:
        return f"{drop['method']} has no test on data that it was not trained on."
    sentence = (
        f"On other data, {drop['method']} has a mean balanced accuracy of {stated(drop['mean_elsewhere'])} in "
        f"{plural(drop['cells'], 'test')}, {_less(drop['mean_drop'])} at home"
    )
    worst = drop["worst"]
    if worst is None or drop["cells"] == 1:
        return f"{sentence}."
    score = stated(worst["scores"]["balanced_accuracy"])
    return f"{sentence}. It is worst on {worst['dataset']} when trained on {drop['worst_trained_on']}: {score}."


def _less(drop: Estimate) -> str:
    value, low, high = drop["value"], drop["low"], drop["high"]
    if value is None or value >= 0 or low is None or high is None:
        return f"{stated(drop)} less than"
    return f"{stated(Estimate(value=-value, low=-high, high=-low, remark=None))} more than"


def elsewhere_sentence(transfer: Transfer) -> str:
    """One sentence for the verdict of the whole comparison."""
    drops = [drop for drop in transfer["drops"] if drop["cells"]]
    if len(drops) == 1:
        return drop_sentence(drops[0])
    if not drops:
        return "No candidate has a test on data that it was not trained on."
    mean = sorted(drop["mean_drop"]["value"] or 0.0 for drop in drops)
    scores = sorted(drop["mean_elsewhere"]["value"] or 0.0 for drop in drops)
    return (
        f"On data that they were not trained on, the {len(drops)} methods have mean balanced "
        f"accuracies of {decimal(scores[0])} to {decimal(scores[-1])}, {decimal(mean[0])} to {decimal(mean[-1])} less "
        "than at home: see the transfer matrix."
    )
