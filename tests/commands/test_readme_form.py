"""The README can be read: short lines, links that lead somewhere, tables that agree with `conf/`; and its picture."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.example_comparison import example_comparison
from helpers.example_metrics import example_explanations, example_method
from matplotlib.text import Text
from PIL import Image

import gender_cls
from gender_cls.config.parsing import CONFIG_FOLDER
from gender_cls.data.image_files import read_image
from gender_cls.demo.dataset import draw_demo
from gender_cls.evaluation.wording import stated
from gender_cls.explain.run_maps import RunMaps, save_run_maps
from gender_cls.runs.run import Run

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CODE = re.findall(r"```\w*\n(.*?)```", README, re.DOTALL)
TEXT = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
PROSE = [line for line in TEXT.splitlines() if not line.startswith("|")]


def test_lines_of_code_and_of_text_are_short() -> None:
    assert [line for code in CODE for line in code.splitlines() if len(line) > 90] == []
    without_addresses = [re.sub(r"\]\([^)]*\)|<[^>]*>", "", line) for line in PROSE]
    assert [line for line in without_addresses if len(line) > 100] == []


def test_what_a_reader_sees_at_first_is_not_long() -> None:
    for_users = "\n".join(PROSE).partition("\n## Contributing")[0]
    seen = re.sub(r"<details>.*?</details>", "", for_users, flags=re.DOTALL)
    assert len(re.sub(r"\]\([^)]*\)", "]", seen).split()) <= 1500
    assert README.count("<details>") == README.count("</details>") == README.count("<summary>")
    for question in re.split(r"\n##+ ", seen)[1:]:
        title, *lines = [line for line in question.splitlines() if line]
        assert len(lines) <= (9 if title == "Limits" else 7), title


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
    anchors |= {"#" + one for one in re.findall(r'<a id="([^"]+)">', README)}
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert len(links) > 40
    for link in links:
        if link.startswith("#"):
            assert link in anchors
        elif not link.startswith(("https://", "http://mmlab")):
            assert (ROOT / link).exists(), link


def test_every_model_and_dataset_is_in_its_table_and_the_version_in_the_citation() -> None:
    for group, others in {"model": {"timm", "torchvision"}, "data": {"folders", "demo"}}.items():
        written = re.findall(rf"^\|.*?\[`(\w+)`\]\(conf/{group}/\w+\.yaml\)", README, re.MULTILINE)
        written += re.findall(rf"^\|[^|]*, \[`(\w+)`\]\(conf/{group}/", README, re.MULTILINE)
        files = {file.stem for file in (CONFIG_FOLDER / group).glob("*.yaml")}
        assert set(written) == files - others
        assert len(written) == len(set(written))
    assert f"version = {{{gender_cls.__version__}}}" in README


def test_the_makefile_has_what_the_readme_names(tmp_path: Path) -> None:
    """`git clone` of this repository, and what make would do there."""
    targets = set(re.findall(r"(?m)(?:^|`)make (\w+)", README))
    assert targets == {"demo", "test", "pictures", "setup", "format", "bench"}
    if not (ROOT / ".git").exists():
        pytest.skip("no repository")
    [clone] = [line for code in CODE for line in code.splitlines() if line.startswith("git clone")]
    subprocess.run(
        clone.replace("REPOSITORY_URL", str(ROOT)), shell=True, check=True, cwd=tmp_path, capture_output=True
    )
    make = ["make", "--dry-run", "TORCH=cpu", *sorted(targets)]
    would = subprocess.run(make, cwd=tmp_path / "gender_cls", check=True, capture_output=True, text=True).stdout
    assert "pip install --quiet --index-url https://download.pytorch.org/whl/cpu torch torchvision" in would
    assert ".github/pictures.py outputs/sweeps/demo_" in would


def test_the_picture_is_made_of_a_sweep(tmp_path: Path) -> None:
    board = example_comparison()
    best = Run(tmp_path / Path(board["candidates"][0]["runs"][0]["folder"]).name)
    crops = tmp_path / "crops"
    draw_demo(crops, images=24)
    manifest = pd.read_csv(crops / "manifest.csv")
    sizes = [read_image(crops / path).image.size for path in manifest["path"]]
    manifest["width"], manifest["height"] = zip(*sizes, strict=True)
    best.explanations.mkdir(parents=True)
    manifest.to_csv(best.manifest, index=False)
    paths, explained = manifest["path"].tolist(), manifest["label"].tolist()
    hot = np.zeros((24, 32, 16), np.float32)
    hot[:, 8:16, 4:8] = 1  # a quarter of the way down, left of the middle
    boxes = np.tile([0.0, 0.0, 16.0, 32.0], (24, 1))
    save_run_maps(best.maps, RunMaps(paths, explained, {"saliency": hot, "grad_cam": -hot}, boxes))
    methods = [example_method("saliency"), example_method("grad_cam")]
    best.metrics_file.write_text(json.dumps({"explanations": example_explanations(methods)}))
    best.data_file.write_text(json.dumps({"root": str(crops)}))
    (tmp_path / "leaderboard.json").write_text(json.dumps(board))
    spec = importlib.util.spec_from_file_location("pictures", ROOT / ".github" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    figure = pictures.draw(tmp_path)
    figure.draw_without_rendering()
    said = [text.get_text() for text in figure.findobj(Text)]
    for row in board["candidates"][:2]:
        assert {row["title"], stated(row["test"] | {"value": row["test"]["mean"]}, 2)} <= set(said)
    assert {"saliency, FEMALE", "Grad-CAM, MALE"} <= set(said)
    width = figure.bbox.width
    assert [text for text in figure.findobj(Text) if text.get_window_extent().x1 > width] == []
    assert sum(len(axes.images) for axes in figure.axes) == 6, "two people, each as it is and with two maps"
    with Image.open(ROOT / ".github" / "demo.png") as kept_picture:
        assert kept_picture.size == (round(width), round(figure.bbox.height))
    # Where the map is, saliency is yellow and evidence against the label blue; elsewhere the crop is only dimmed.
    image = np.asarray(read_image(crops / paths[0]).image)
    kept = pictures.load_run_maps(best.maps)
    painted = {name: pictures.overlay(kept, paths[0], name, image).astype(float) for name in ("saliency", "grad_cam")}
    height, width = image.shape[:2]
    spot, far = (3 * height // 8, 3 * width // 8), (7 * height // 8, 3 * width // 4)
    assert painted["saliency"][spot][0] > painted["saliency"][spot][2] + 60
    assert painted["grad_cam"][spot][2] > painted["grad_cam"][spot][0] + 60
    np.testing.assert_allclose(painted["saliency"][far], 0.65 * image[far], atol=1)
    np.testing.assert_allclose(painted["grad_cam"][far], 0.65 * image[far], atol=1)
