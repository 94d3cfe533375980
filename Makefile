# make demo: see it work in minutes. make test: what CI runs. The others serve development.
# TORCH=cpu takes torch's build without CUDA, TORCH=cu126 another CUDA: the folders of download.pytorch.org/whl.
PYTHON ?= python3
TORCH ?=
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo_$(shell date +%Y-%m-%d_%H-%M-%S)

.PHONY: setup demo pictures test check format bench
.DEFAULT_GOAL := demo

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH),$(BIN)/pip install --quiet --index-url https://download.pytorch.org/whl/$(TORCH) torch torchvision)
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet --editable ".[dev]"
	@touch $@

setup: $(VENV)/installed-dev ## the environment for development, with the commit hooks
	@if [ -d .git ]; then $(BIN)/pre-commit install; fi

define sweep
	$(BIN)/python -m gender_cls.demo
	$(BIN)/python -m gender_cls.train -m model=custom_cnn,mobilenetv4_small data=demo recipe=scratch model.pretrained=false \
	    augment=light recipe.monitor=loss trainer.max_epochs=8 evaluation.explained_images=24 name=$(DEMO)
endef

demo: $(VENV)/installed ## train two small models on drawn crops, print the leaderboard, answer for new crops with one of them
	$(sweep)
	$(BIN)/python -m gender_cls.demo folder=outputs/demo_new images=48 seed=1
	$(BIN)/python -m gender_cls.predict run=outputs/sweeps/$(DEMO)/0_custom_cnn images=outputs/demo_new/manifest.csv
	@printf "%s\n" "" "To take this model away as one file that answers the same:" \
	    "  $(BIN)/pip install --editable '.[export]'" \
	    "  $(BIN)/python -m gender_cls.export run=outputs/sweeps/$(DEMO)/0_custom_cnn"

pictures: $(VENV)/installed ## the README's picture, from such a sweep
	$(sweep)
	$(BIN)/python .github/pictures.py outputs/sweeps/$(DEMO)

test: $(VENV)/installed-dev check ## ruff, mypy and pytest, in two processes of one thread each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/installed-dev ## ruff (lint, format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed ## all benchmarks into outputs/bench, or some: make bench BENCH="bench_start bench_pixels"
	$(BIN)/python tests/benchmarks $(BENCH)
