# Two commands do everything: `make demo` and `make test`. Both set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo study-demo test test-fast test-pythons test-slicer-python check lock format docs wheel extension benchmark benchmark-speed benchmark-panel benchmark-study evidence figures pictures clean

# Of SegHiResCAM; 3D Slicer's is 3.12.
PYTHONS := 3.10 3.11 3.12 3.13
# The oldest 3.11 that is met in the field: Debian's system Python.
LOCKED_PYTHONS := 3.10 3.11.2 3.12 3.13

setup: $(READY)

# Two steps, because grad-cam, a peer that tests compare with, asks for torchvision, which it does not need for segmentation.
$(READY): pyproject.toml constraints.txt Testing/peers.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps -r Testing/peers.txt
	@touch $@

demo: $(READY)
	$(BIN)/seghirescam demo -o demo-output

# Eight phantoms, from a table to a report; with Chromium, the pictures of docs/cohort.md are taken, too.
STUDY_DEMO ?= study-demo
study-demo: $(READY)
	$(BIN)/python Testing/figures/study.py $(STUDY_DEMO) --images

# Three processes with one thread each keep two cores busy: those with the panel mostly wait for another process.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadgroup --durations=15

# For every edit: what takes long is left out (Testing/conftest.py says what).
test-fast: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=5 --fast

# What needs no torch, on every supported Python that is on PATH or in pyenv; `make test-python-3.12` demands one.
test-pythons:
	@for version in $(PYTHONS); do \
		if Testing/find_python $$version >/dev/null; then $(MAKE) test-python-$$version || exit 1; fi; \
	done

test-python-%: .venv-%/.ready
	OMP_NUM_THREADS=1 .venv-$*/bin/python -m pytest -n 2 --dist loadgroup --durations=5 --without-torch -r fE

# Panel and module with 3D Slicer's own Python files of several versions; SLICER_SOURCE is a clone of 3D Slicer, bare or not.
SLICER_VERSIONS := v5.10.0 v5.12.3 HEAD

test-slicer-python: $(READY)
	@for version in $(SLICER_VERSIONS); do \
		files=$$(mktemp -d) && git -C "$(SLICER_SOURCE)" archive $$version Base/Python/slicer | tar -x -C $$files && echo "3D Slicer $$version" && \
		SEGHIRESCAM_SLICER_SOURCE=$$files OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadgroup Testing/panel Testing/module || exit 1; \
		rm -rf "$$files"; \
	done

.PRECIOUS: .venv-%/.ready
.venv-%/.ready: pyproject.toml constraints.txt Testing/without_torch.txt
	python=$$(Testing/find_python $*) && $$python -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r Testing/without_torch.txt
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python Testing/stubs/make.py
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

# Whether the lock can be installed on every supported Python: resolved, not installed.
lock: $(READY)
	@for version in $(LOCKED_PYTHONS); do \
		$(BIN)/uv pip compile --quiet pyproject.toml --extra dev -c constraints.txt --python-version $$version >/dev/null \
		|| { echo "constraints.txt cannot be installed on Python $$version." >&2; exit 1; }; \
	done

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The documentation as a site, in site/; warnings are errors.
docs: $(READY)
	$(BIN)/zensical build --clean --strict

wheel: $(READY)
	$(BIN)/python -m build --wheel --outdir dist

# The package of the extension, by Slicer's own macros: SLICER_SOURCE and CTK_SOURCE are checkouts of Slicer and CTK; needs CMake 3.28.
CMAKE ?= cmake
extension:
	rm -rf extension-build
	$(CMAKE) -S . -B extension-build -DSlicer_DIR=$(CURDIR)/Testing/packaging -DSLICER_SOURCE=$(SLICER_SOURCE) -DCTK_SOURCE=$(CTK_SOURCE) -DBUILD_TESTING=OFF
	$(CMAKE) --build extension-build
	cd extension-build && $(dir $(shell command -v $(CMAKE)))cpack -G TGZ
	$(PYTHON) Testing/packaging/check.py extension-build/*-SegHiResCAM-*.tar.gz

benchmark: $(READY)
	$(BIN)/python Testing/benchmarks/run.py docs/benchmarks.md

# A quarter of an hour on two quiet cores; goes on where it was stopped. Needs SEGHIRESCAM_TEST_DATA, the folder of real volumes and networks.
benchmark-speed: $(READY)
	$(BIN)/python Testing/benchmarks/speed.py docs/speed.md

# Needs SEGHIRESCAM_TEST_DATA, the folder of real volumes and networks.
benchmark-panel: $(READY)
	$(BIN)/python Testing/benchmarks/panel.py

# A study of 20 phantoms with one worker and with two, in turns; ten minutes on two quiet cores.
benchmark-study: $(READY)
	OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore $(BIN)/python Testing/benchmarks/two_workers.py

# Needs SEGHIRESCAM_TEST_DATA, the folder of real volumes and networks.
figures: $(READY)
	$(BIN)/python Testing/figures/methods.py
	$(BIN)/python Testing/figures/evidence.py

# The table of docs/evidence.md; continues where it was stopped. Needs SEGHIRESCAM_TEST_DATA for the real networks.
evidence: $(READY)
	$(BIN)/python Testing/evidence_table/run.py

# The panel in its main states, for the documentation.
pictures: $(READY)
	$(BIN)/python Testing/figures/panel.py

clean:
	rm -rf $(VENV) .venv-3.* demo-output study-demo build extension-build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
