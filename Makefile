# What developers run; `launch/test` prepares the environment for all of it.
PYTHON ?= .venv/bin/python
BIN := $(dir $(PYTHON))
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-find-links

.PHONY: check lint types layers test soak bench protos lock image snapshots

check:  ## everything that CI runs
	./launch/test

lint:
	$(BIN)ruff check .
	$(BIN)ruff format --check .

types:
	$(BIN)pyright --pythonpath $(PYTHON)

layers:
	$(BIN)lint-imports

test:
	$(PYTHON) -m coverage erase
	$(PYTHON) -m pytest --cov --cov-report=term --durations=10

soak:  ## slow tests, on their own
	$(PYTHON) -m pytest -m slow --timeout 3600

bench:  ## measurements, on a quiet machine
	$(PYTHON) -m pytest tests/performance -m benchmark --timeout 3600 -s

protos:  ## the committed stubs; a smoke test compares them with the .proto files
	PATH="$(abspath $(BIN)):$$PATH" $(PYTHON) -m grpc_tools.protoc -I. \
	    --python_out=. --grpc_python_out=. --mypy_out=. --mypy_grpc_out=. protos/*.proto

lock:  ## versions and hashes for every platform, without any registry's address
	$(BIN)uv pip compile $(LOCK) --output-file requirements.lock pyproject.toml
	$(BIN)uv pip compile $(LOCK) --extra dev --output-file requirements-dev.lock pyproject.toml

image:  ## the pictures in the README and the docs
	$(PYTHON) -m mlxconsole.ui.screenshot docs/images/console.svg
	$(PYTHON) -m mlxconsole.ui.gallery docs/images

snapshots:  ## what the console's snapshot tests compare with
	MLXCONSOLE_SNAPSHOTS=write $(PYTHON) -m pytest -q tests/console/test_snapshots.py
