"""Wrong labels planted in real crops must come to the top of the suspects, in one source and anywhere."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gender_cls.config.data import CLASSES, DataConfig
from gender_cls.config.model import ModelConfig
from gender_cls.data.image_store import ImageStore
from gender_cls.quality.features import backbone_features
from gender_cls.quality.label_probabilities import out_of_fold_probabilities
from gender_cls.quality.places import number_places
from gender_cls.quality.suspects import rank_suspects, review

SHARED = Path(__file__).resolve().parents[3] / "shared"
REAL = SHARED / "data" / "cctv"
WEIGHTS = SHARED / "weights" / "mobilenetv2_100_in1k_pytorchpad_nohead.safetensors"
DRAWS = 10


class Crops:
    """At most two crops of each person, a third of the people of MIT (who have one each), at a quarter of the size."""

    def __init__(self, cache: Path) -> None:
        table = pd.DataFrame({"path": sorted(path.relative_to(REAL).as_posix() for path in REAL.glob("*/*"))})
        found = table["path"].str.extract(r"(?P<truth>\w+)/(?P<identity>(?P<source>[^_/]+)_[^_]+)_")
        table = table.join(found).assign(camera="").groupby("identity").head(2)
        table = table[(table["source"] != "MIT") | (np.arange(len(table)) % 3 == 0)].reset_index(drop=True)
        self.table = table.assign(group=pd.factorize(table["identity"])[0])
        self.features = backbone_features(
            ImageStore(REAL),
            table["path"].tolist(),
            DataConfig(root=str(REAL), image_size=[128, 64], num_workers=0),
            ModelConfig(name="mobilenetv2_100", weights=str(WEIGHTS)),
            cache,
        )

    def factors(self, among: NDArray[np.bool_], share: float) -> NDArray[np.float64]:
        """How many times more wrong labels the first 5 % of the suspects hold than a random 5 %: (DRAWS, 2).

        Of the images, and of the people. In each draw this share of the people among these rows is swapped.
        """
        table, found = self.table, []
        for seed in range(DRAWS):
            people = table.loc[among, "group"].unique()
            chosen = np.random.default_rng(seed).choice(people, round(share * len(people)), replace=False)
            swapped = table["truth"].map(dict(zip(CLASSES, CLASSES[::-1], strict=True)))
            labelled = table.assign(label=table["truth"].mask(table["group"].isin(chosen), swapped))
            places = number_places(labelled)
            judged = out_of_fold_probabilities(self.features, labelled, places, folds=5, seed=0)
            ranked = rank_suspects(labelled, judged, places)
            found.append([one.factor_at_5_percent for one in review(ranked, table.set_index("path")["truth"])])
        return np.array(found)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Crops:
    if not REAL.is_dir() or not WEIGHTS.is_file():
        pytest.skip("it takes the real crops and ImageNet weights")
    return Crops(tmp_path_factory.mktemp("features"))


def test_a_fifth_of_the_people_of_one_source(crops: Crops) -> None:
    images, people = crops.factors((crops.table["source"] == "TownCentre").to_numpy(), 0.2).mean(axis=0)
    assert images > 5.4
    assert people > 5.4


def test_a_twentieth_of_the_people_anywhere(crops: Crops) -> None:
    images, people = crops.factors(np.ones(len(crops.table), dtype=bool), 0.05).mean(axis=0)
    assert images > 5
    assert people > 4.8
