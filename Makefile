# make demo | test | test-hpc | lint | sanitize | bench | docs | clean; the first two install what they need into .venv, once.
PYTHON ?= python3
BENCHMARK ?= all
QUICK ?=
WORKERS ?= 2
BIN := .venv/bin
INSTALLED := .venv/.installed
BENCH_INSTALLED := .venv/.installed-bench
DOCS_INSTALLED := .venv/.installed-docs
RECIPE := pyproject.toml CMakeLists.txt .ci/install.py $(wildcard coupler/native/*)

.PHONY: demo test test-hpc lint sanitize bench docs clean

demo: $(INSTALLED)
	@$(BIN)/cudaq-target demo

# Lint and tests both run, whatever the other says; the last line is pytest's.
test: $(INSTALLED)
	@status=0; \
	$(MAKE) --no-print-directory lint || status=1; \
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --max-worker-restart=0 --cov --cov-report=term:skip-covered || status=1; \
	exit $$status

# Starts a Slurm and a Grid Engine on 127.0.0.1; installs them first, where apt and root are there.
test-hpc: $(INSTALLED)
	@$(BIN)/python .ci/install_hpc.py
	@$(BIN)/python -m pytest -q -m 'hpc or promtool' -rs tests/hpc

lint: $(INSTALLED)
	@status=0; \
	for check in "ruff check -q ." "ruff format -q --check ." "mypy" "lint-imports --no-logo"; do \
	  echo "== $$check"; $(BIN)/$$check || status=1; \
	done; \
	exit $$status

# The native rings and dispatcher under ASan, UBSan and TSan; `make test` runs them, too.
sanitize: $(INSTALLED)
	@$(BIN)/python -m pytest -q tests/coupler/test_ring_native.py

# All of them, or BENCHMARK=rtt; QUICK=1 looks at results alone, in two minutes.
bench: $(BENCH_INSTALLED)
	@$(BIN)/cudaq-target bench $(BENCHMARK) $(if $(QUICK),--quick)

# Into build/site, a folder that opens without a server; a broken link or anchor stops it.
docs: $(DOCS_INSTALLED)
	@$(BIN)/python docs/site/build.py

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	rm -f cudaq_target/coupler cudaq_target/kernels

$(INSTALLED): $(RECIPE)
	@command -v $(PYTHON) > /dev/null || { \
	  echo "This machine lacks: apt-get install python3 python3-venv python3-dev"; exit 1; }
	@$(PYTHON) .ci/install.py
	@touch $@

$(BENCH_INSTALLED): $(INSTALLED)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group bench
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --group bench-qec
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group docs
	@touch $@
