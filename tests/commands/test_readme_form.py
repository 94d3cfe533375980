"""The README can be read: short lines, links that lead somewhere, tables that agree with `conf/`; and its picture."""

import importlib.util
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import command
from PIL import Image

import gender_cls
from gender_cls.config.parsing import CONFIG_FOLDER
from gender_cls.demo.dataset import draw_demo
from gender_cls.runs.run import Run

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CODE = re.findall(r"```\w*\n(.*?)```", README, re.DOTALL)
TEXT = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
PROSE = [line for line in TEXT.splitlines() if not line.startswith("|")]


def test_lines_of_code_and_of_text_are_short() -> None:
    assert [line for code in CODE for line in code.splitlines() if len(line) > 90] == []
    without_addresses = [re.sub(r"\]\([^)]*\)", "]", line) for line in PROSE]
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
    targets = set(re.findall(r"\bmake (\w+)", README))
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


def test_the_picture_is_made_of_a_sweep_of_the_demo(tmp_path: Path) -> None:
    draw_demo(tmp_path / "outputs" / "demo_data", images=96)
    small = ["data=demo", "data.image_size=[32,16]", "data.num_workers=0", "trainer.max_epochs=1", "name=sweep"]
    small += ["evaluation.resamples=200", "evaluation.shortcuts=false", "evaluation.explained_images=12"]
    models = ["model=custom_cnn", "recipe.lr=0.001,0.0001", "+model.options.widths=[4,8]", "explain.images=2"]
    command("train", "-m", *models, *small, cwd=tmp_path)
    sweep = tmp_path / "outputs" / "sweeps" / "sweep"
    spec = importlib.util.spec_from_file_location("pictures", ROOT / ".github" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    figure = pictures.draw(sweep)
    said = " ".join(text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text")))
    assert "test crops of" in said
    assert "saliency, FEMALE" in said
    shown = [tuple(image.get_array().shape) for axes in figure.axes for image in axes.images]
    assert len(shown) == 6, "two people, each as it is and with two maps"
    # Below the colours the person can be seen: where the picture is light, so is the picture with its map.
    run = Run(next(sweep.glob("0_*")))
    maps = pictures.load_run_maps(run.maps)
    image = np.asarray(Image.open(run.data_root / maps.paths[0]).convert("RGB"))
    for method in ("saliency", "grad_cam"):
        over = pictures.overlay(maps, maps.paths[0], method, image)
        assert over.shape == image.shape
        assert np.corrcoef(over.mean(-1).ravel(), image.mean(-1).ravel())[0, 1] > 0.5
    assert Image.open(ROOT / ".github" / "demo.png").size == tuple(figure.get_size_inches() * figure.dpi)
