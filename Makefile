PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
BUILT := .venv/.native

.PHONY: install native demo test test-long test-production test-triton-versions budgets resolve lint clean

install: $(INSTALLED) $(BUILT)

$(INSTALLED): pyproject.toml client/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "recserve needs Python 3.11; say which with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --constraint constraints.txt --editable ./client --editable '.[dev]'
	@touch $@

# The backend onnxruntime in C++, which recserve serve --backend native runs; all else works without it.
$(BUILT): $(INSTALLED) $(wildcard serving/backends/onnxruntime/native/*)
	@if command -v g++ >/dev/null; then $(BIN)/python -m serving.native; \
		else echo "native backend: not built, as there is no g++; recserve serve --backend python needs none"; fi
	@touch $@

native: $(INSTALLED)
	$(BIN)/python -m serving.native

demo: install
	$(BIN)/recserve demo

# The kernels' own lanes are in test-triton-versions, the required release among them, and not here a second time.
# Three workers share two cores, a thread each: tests of servers wait more than they compute.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test: install
	$(PYTEST) -m "not long and not production"

# Trainings that show a claim, load tests, whole runs of studies and of the demo.
test-long: install
	$(PYTEST) -m long

# Several servers, and the real parts around them: Envoy, Valkey, Prometheus, Helm, h2load. Needs prometheus and
# nghttp2-client from Debian.
test-production: install
	$(PYTEST) -m production

# Each release of Triton out of a folder of its own, which is kept for the next time.
test-triton-versions: install
	$(BIN)/python -m kernels.releases test

budgets: install
	$(BIN)/python -m kernels.releases record

resolve:
	.ci/resolve $(PYTHON)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

clean:
	rm -rf runs .pytest_cache .ruff_cache .hypothesis
