PYTHON ?= python3.11
PYTHON_JETPACK6 ?= python3.10
PYTHON_JETPACK7 ?= python3.12
PYTHON_GPU ?= python3
BUILD := build
BENCH := $(BUILD)/bench
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TYPING := $(BUILD)/typing
MUTATE := $(BUILD)/mutate
ARM64_ROOT := $(BUILD)/arm64-root.tar
ARCH ?= arm64
DEB_OUT ?= $(BUILD)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
PACKAGES := runtime calibration engines services
PIP_INSTALL := pip install --quiet --disable-pip-version-check --retries 10 --constraint constraints.txt

# Nodes of tests and demo talk on this machine alone.
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST

.PHONY: setup demo test tensorrt-bindings test-gpu test-jetpack faults coverage soak mutate check bench bench-growth \
    bench-numerics flash flash-test deb install appliance appliance-arm64 appliance-vm size clean

setup: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP_INSTALL) torch
	$(BIN)/$(PIP_INSTALL) --editable '.[build,fleet,record,ros,dev]'
	touch $@

demo: setup
	$(BIN)/jetvla demo --workdir $(BUILD)/demo

test: setup tensorrt-bindings
	$(BIN)/pytest

# Every fault on the real processes and real ROS 2; the table at the end, and build/faults.json, say how soon each one
# was found and the robot at rest. Part of `make test` too.
faults: setup
	$(BIN)/pytest tests/faults

# NVIDIA's bindings without the libraries, and TensorRT for RTX, which builds without a GPU; without a network the tests
# that need them are skipped.
tensorrt-bindings: setup
	-$(BIN)/python tests/contract/fetch_bindings.py $(BUILD)/tensorrt-bindings

# On any machine with a CUDA device and pytest and numpy; what else is missing is skipped by name.
test-gpu: $(TYPING)/jetvla
	PYTHONPATH=$(TYPING)$(if $(PYTHONPATH),:$(PYTHONPATH)) $(PYTHON_GPU) -m pytest --confcutdir=tests/gpu tests/gpu

# The device's Pythons, with the runtime's dependencies alone: no torch, no ROS 2.
test-jetpack: $(BUILD)/venv-jetpack6/.installed $(BUILD)/venv-jetpack7/.installed
	$(BUILD)/venv-jetpack6/bin/python -m pytest tests/runtime tests/property
	$(BUILD)/venv-jetpack7/bin/python -m pytest tests/runtime tests/property

$(BUILD)/venv-jetpack6/.installed: INTERPRETER = $(PYTHON_JETPACK6)
$(BUILD)/venv-jetpack7/.installed: INTERPRETER = $(PYTHON_JETPACK7)
$(BUILD)/venv-jetpack%/.installed: pyproject.toml setup.py constraints.txt
	$(INTERPRETER) -m venv $(@D)
	$(@D)/bin/$(PIP_INSTALL) --editable . pytest hypothesis
	touch $@

# Every branch of what stands between a policy and a robot.
coverage: setup
	mkdir -p $(BUILD)
	$(BIN)/coverage run -m pytest -q tests/runtime/guard tests/runtime/link
	$(BIN)/coverage report

# Random ticks under an independent judge; SOAK="--seed 7 --first 120" goes on somewhere else.
soak: setup
	$(BIN)/python tests/soak/soak.py --ticks 1000000 $(SOAK)

# Does a test notice each small change of the guard? Goes on where it was interrupted.
# MUTANTS='jetvla.runtime.guard.travel*' takes some of them; then `mutmut results` or `mutmut show NAME` in build/mutate.
# Of all of them it prints the score, and fails below 95 % or where docs/MUTATION.md does not explain what nobody noticed.
mutate: setup
	rm -rf $(MUTATE)/jetvla $(MUTATE)/tests
	mkdir -p $(MUTATE)/jetvla $(MUTATE)/tests/runtime
	cp -a runtime $(MUTATE)/jetvla/
	cp -a tests/runtime/guard $(MUTATE)/tests/runtime/
	cp -a tests/conftest.py tests/property tests/data $(MUTATE)/tests/
	cp pyproject.toml $(MUTATE)/
	cd $(MUTATE) && $(CURDIR)/$(BIN)/mutmut run --max-children $$(nproc) $(MUTANTS)
	$(if $(MUTANTS),,cd $(MUTATE) && $(CURDIR)/$(BIN)/mutmut results --all true \
	    | $(CURDIR)/$(BIN)/python $(CURDIR)/tests/mutation/score.py $(CURDIR)/docs/MUTATION.md)

check: setup $(TYPING)/jetvla coverage
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(TYPING) $(BIN)/mypy $(PACKAGES:%=-p jetvla.%)
	$(BIN)/lint-imports

$(TYPING)/jetvla:
	mkdir -p $(TYPING)
	ln -sfn ../.. $@

# The base-size reference with random weights: speed does not depend on them.
$(BENCH)/base: $(STAMP)
	mkdir -p $(@D)
	$(BIN)/jetvla build --random-init base --precision int8 --force --overwrite -o $@

# A trained policy, because fidelity does.
$(BENCH)/table-robot: $(STAMP)
	mkdir -p $(@D)
	$(BIN)/jetvla simulate --record $(BENCH)/episodes --episodes 200
	$(BIN)/jetvla build engines/zoo/table-robot --episodes $(BENCH)/episodes --overwrite -o $@

# What the course's node loads at its start.
$(BENCH)/course: $(STAMP)
	mkdir -p $(@D)
	$(BIN)/python -m jetvla.services.bench course-files $@

# What a row of the table of goals comes from; a measurement that fails leaves its rows "not measured".
FIGURES := speed fidelity choice overhead jitter beside start memory

# Every goal of docs/performance.md, measured beside its baseline; the table goes into the document. Needs an idle
# machine: samples in which other programs used the CPU are dropped.
bench: $(BENCH)/base $(BENCH)/table-robot $(BENCH)/course
	rm -f $(FIGURES:%=$(BENCH)/%.json)
	$(BIN)/jetvla compile $(BENCH)/base --unsigned --engines $(BENCH)/engines --threads $$(nproc)
	$(BIN)/jetvla compile $(BENCH)/table-robot --unsigned --engines $(BENCH)/engines
	-$(BIN)/python -m jetvla.engines.bench --json $(BENCH)/speed.json speed $(BENCH)/base --engines $(BENCH)/engines
	-$(BIN)/python -m jetvla.engines.bench --json $(BENCH)/fidelity.json \
	    fidelity $(BENCH)/table-robot $(BENCH)/episodes --engines $(BENCH)/engines
	-$(BIN)/python -m jetvla.engines.bench --json $(BENCH)/choice.json choice $(BENCH)/base --engines $(BENCH)/engines
	-$(BIN)/python -m jetvla.engines.bench --json $(BENCH)/overhead.json overhead $(BENCH)/base
	-$(BIN)/python -m jetvla.engines.bench --json $(BENCH)/jitter.json jitter $(BENCH)/base
	-$(BIN)/python -m jetvla.services.bench --json $(BENCH)/beside.json beside $(BENCH)/base --engines $(BENCH)/engines
	-$(BIN)/python -m jetvla.services.bench --json $(BENCH)/start.json \
	    start $(BENCH)/base --engines $(BENCH)/engines --course $(BENCH)/course
	-$(BIN)/python -m jetvla.services.bench --json $(BENCH)/memory.json \
	    memory $(BENCH)/base --engines $(BENCH)/engines --course $(BENCH)/course
	$(BIN)/python -m jetvla.services.bench goals $(BENCH) --write docs/performance.md

# How step time, age and memory grow with the policy. An interrupted run goes on where it was.
bench-growth: $(BENCH)/table-robot
	$(BIN)/python -m jetvla.services.bench growth $(BENCH)/growth --episodes $(BENCH)/episodes --write docs/performance.md

# INT8 of the reference size with outlier channels, with and without SmoothQuant, and the builder's memory.
bench-numerics: setup
	mkdir -p $(BENCH)
	$(BIN)/python -m jetvla.engines.bench --json $(BENCH)/numerics.json numerics

# A Jetson that is plugged in, in recovery mode: docs/JETSON.md. Without CONFIRM=yes, or with DRY_RUN=1, nothing is
# flashed. BOARD=jetson-orin-nano-devkit L4T=.../Linux_for_Tegra, and as wished DEB BUNDLE KEY USER_NAME PASSWORD_FILE.
DEB ?= $(BUILD)/jetvla_$(VERSION)_arm64.deb
USER_NAME ?= robot
flash: setup
	@$(BIN)/python -m jetvla.services.flash --board '$(BOARD)' --l4t '$(L4T)' --deb '$(DEB)' --user '$(USER_NAME)' \
	    $(if $(BUNDLE),--bundle '$(BUNDLE)') $(if $(KEY),--key '$(KEY)') \
	    $(if $(PASSWORD_FILE),--password-file '$(PASSWORD_FILE)') \
	    $(if $(filter yes,$(ACCEPT_LICENSE)),--accept-license) \
	    $(if $(filter-out 0,$(DRY_RUN)),--dry-run) $(if $(filter yes,$(CONFIRM)),--confirm)

# As root: the customisation of a real arm64 root file system under qemu, with a small package, or with
# ARM64_DEB=build/appliance/jetvla_VERSION_arm64.deb, that of appliance-arm64, which takes minutes.
flash-test: setup $(ARM64_ROOT)
	JETVLA_ARM64_ROOT=$(ARM64_ROOT) JETVLA_ARM64_DEB='$(ARM64_DEB)' \
	    $(BIN)/pytest tests/services/flash/test_arm64_root.py

# Debian 12 with what the package depends on, once: eight minutes under qemu.
$(ARM64_ROOT):
	@test "$$(uname -m)" = aarch64 || test -e /proc/sys/fs/binfmt_misc/qemu-aarch64 || \
	    { echo 'programs for arm64 cannot run here: apt install qemu-user-static binfmt-support' >&2; exit 1; }
	mkdir -p $(@D)
	mmdebstrap --arch=arm64 --variant=minbase \
	    --include=systemd,systemd-sysv,dbus,udev,adduser,python3-venv,python3-systemd,init-system-helpers \
	    bookworm $@.partial.tar
	mv $@.partial.tar $@

# The same bytes each time, for the same commit: ARCH=arm64 for a Jetson, ARCH=amd64 for tests. Needs no root.
deb: $(BUILD)/venv-packaging/.installed $(TYPING)/jetvla
	PYTHONPATH=$(TYPING) $(BUILD)/venv-packaging/bin/python -m jetvla.services.packaging.deb \
	    --arch $(ARCH) --out $(DEB_OUT) $(PYTHONS:%=--python %)

$(BUILD)/venv-packaging/.installed: constraints.txt
	python3 -m venv $(@D)
	$(@D)/bin/$(PIP_INSTALL) build setuptools uv wheel
	touch $@

# On the device, from source: the package for its own architecture and Python, and then as root its installation.
install: ARCH = $(shell dpkg --print-architecture)
install: PYTHONS = $(shell /usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
install: deb
	$(if $(filter 0,$(shell id -u)),,sudo )dpkg --install $(DEB_OUT)/jetvla_$(VERSION)_$(ARCH).deb

# The package in a real Debian 12 under a real systemd, and what happens to a robot's computer: kills, a hang, power cuts.
# Needs root, mmdebstrap and systemd-container; the table at the end is in build/appliance.json too.
appliance: setup
	$(MAKE) deb ARCH=amd64
	APPLIANCE_DEB=$(BUILD)/jetvla_$(VERSION)_amd64.deb $(BIN)/pytest tests/appliance/appliance.py tests/appliance/updates.py

# The same for a Jetson's architecture, under emulation: it installs, takes a bundle, and both daemons start. Debian 12
# has Python 3.11, so that package has the wheels for it; those for a Jetson's Pythons are installed into a folder.
appliance-arm64: setup $(ARM64_ROOT)
	$(MAKE) deb ARCH=arm64
	$(MAKE) deb ARCH=arm64 PYTHONS=3.11 DEB_OUT=$(BUILD)/appliance
	JETVLA_ARM64_ROOT=$(ARM64_ROOT) JETVLA_DEVICE_DEB=$(BUILD)/jetvla_$(VERSION)_arm64.deb \
	    APPLIANCE_DEB=$(BUILD)/appliance/jetvla_$(VERSION)_arm64.deb APPLIANCE_TABLE=$(BUILD)/appliance-arm64.json \
	    $(BIN)/pytest tests/appliance/emulated.py

# The same package on a kernel of its own, emulated by qemu: a camera of the kernel's test driver, the limits of the
# units, a disk with a journal. Needs root, mmdebstrap, systemd-container and qemu-system-x86, not KVM; the table is in
# build/appliance-vm.json too.
appliance-vm: setup
	$(MAKE) deb ARCH=amd64 PYTHONS=3.11 DEB_OUT=$(BUILD)/appliance
	APPLIANCE_DEB=$(BUILD)/appliance/jetvla_$(VERSION)_amd64.deb APPLIANCE_TABLE=$(BUILD)/appliance-vm.json \
	    $(BIN)/pytest tests/appliance/virtual.py

size:
	@for p in $(PACKAGES) tests; do printf '%-12s ' $$p; git ls-files -- "$$p/*.py" | xargs cat | wc -l; done

clean:
	rm -rf $(BUILD) $(VENV) dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
