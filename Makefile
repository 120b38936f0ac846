# One word per job. Every job makes what it needs, from python3 with venv, a C++ compiler and make.

PYTHON ?= python3
CXX ?= c++
export PIP_DISABLE_PIP_VERSION_CHECK = 1
PROCESSORS := $(shell getconf _NPROCESSORS_ONLN)

# What a build needs in an environment that builds without isolation, so that the second build of
# the same tree compiles only what has changed.
BUILD_REQUIRES = "scikit-build-core>=1.0" "pybind11>=3.1" "cmake>=3.25" ninja
CXX_FILES = $(shell find src csrc cuda tests \
              -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: help demo test lint format bench wheel asan tsan clean python-headers googletest
.PHONY: gpu-check gpu-tools test-emulated
.DEFAULT_GOAL := help

help:
	@echo "make demo    build, install and train the digit classifier (.venv)"
	@echo "make test    the C++ tests through ctest, then the Python tests through pytest (.venv-test)"
	@echo "make lint    ruff, clang-format, mypy (.venv-lint); make format mends what can be mended"
	@echo "make bench   kernels, training steps and small costs beside PyTorch's (BENCH=--quick: short)"
	@echo "make wheel   the wheel, in dist/"
	@echo "make asan    the C++ tests under the address and undefined-behaviour sanitizers"
	@echo "make tsan    the same under the thread sanitizer"
	@echo "make gpu-check  on a machine with a GPU: build, tests, sanitizer, benchmarks, in ten minutes"
	@echo "make test-emulated  the Python tests of CUDA kernels on an emulated device"
	@echo "make clean   removes builds and environments"

# --- environments: a stamp file says that one is complete ---

.venv/made .venv-test/made .venv-lint/made: %/made: pyproject.toml | python-headers
	$(PYTHON) -m venv $*
	$(if $(filter .venv-test,$*),$*/bin/python -m pip install -q $(BUILD_REQUIRES))
	touch $@

python-headers:
	@header=$$($(PYTHON) -c "import sysconfig; print(sysconfig.get_path('include'))")/Python.h; \
	if [ ! -e $$header ]; then $(call install_package,python3-dev python3-devel); fi; \
	if [ ! -e $$header ]; then \
	  echo "Python's C headers are missing ($$header): install python3-dev" >&2; exit 1; fi

# GoogleTest: the installed one; else the package manager's, where it may install; else CMake gets it.
googletest:
	@if ! echo '#include <gtest/gtest.h>' | $(CXX) -E -x c++ - > /dev/null 2>&1; then \
	  $(call install_package,libgtest-dev gtest-devel); fi

# $(call install_package,<Debian's name> <Fedora's name>): tries, and leaves failure to the caller.
define install_package
sudo=; [ "$$(id -u)" = 0 ] || sudo="sudo -n"; \
  if command -v apt-get > /dev/null; then \
    $$sudo apt-get install -y $(firstword $(1)) || \
      { $$sudo apt-get update && $$sudo apt-get install -y $(firstword $(1)); } || true; \
  elif command -v dnf > /dev/null; then $$sudo dnf install -y $(lastword $(1)) || true; \
  fi > /dev/null 2>&1
endef

# --- jobs ---

demo: .venv/made
	.venv/bin/python -m pip install -q ".[demo]"
	.venv/bin/python examples/digits.py

# One build tree serves the C++ tests and the wheel that is installed, dist/tested/tilegrad-*.whl.
.PHONY: install-for-tests
install-for-tests: .venv-test/made googletest
	rm -rf dist/tested
	PATH="$(CURDIR)/.venv-test/bin:$$PATH" .venv-test/bin/python -m pip wheel -q --no-deps \
	  --no-build-isolation -C build-dir=build/test \
	  -C cmake.define.TILEGRAD_BUILD_TESTS=ON -w dist/tested .
	.venv-test/bin/python -m pip install -q --no-deps --force-reinstall dist/tested/*.whl
	.venv-test/bin/python -m pip install -q "$$(echo dist/tested/*.whl)[test]"

test: install-for-tests
	.venv-test/bin/ctest --test-dir build/test --output-on-failure --parallel $(PROCESSORS)
	PYTHONHASHSEED=0 .venv-test/bin/python -m pytest -n auto
	PYTHONHASHSEED=0 PYTHONPATH=build/test/emulated .venv-test/bin/python -m pytest -n auto \
	  --device cuda tests/cuda tests/test_cuda.py tests/autograd tests/optim

bench: install-for-tests
	.venv-test/bin/python benchmarks/suite.py $(BENCH)
	@for script in benchmarks/bench_*.py; do .venv-test/bin/python $$script || exit 1; done

# What pyproject.toml lists for `lint`, or for `test`.
.venv-lint/tools .venv-test/tools: .venv-%/tools: .venv-%/made
	.venv-$*/bin/python -m pip install -q $$($(PYTHON) -c "import re; \
	  text = open('pyproject.toml').read(); \
	  print(*re.findall(r'\"(.+?)\"', re.search(r'^$* = \[(.*)\]', text, re.M).group(1)))")
	touch $@

lint: .venv-lint/tools
	.venv-lint/bin/ruff check .
	.venv-lint/bin/ruff format --check .
	.venv-lint/bin/clang-format --dry-run -Werror $(CXX_FILES)
	.venv-lint/bin/mypy

format: .venv-lint/tools
	.venv-lint/bin/ruff check --fix .
	.venv-lint/bin/ruff format .
	.venv-lint/bin/clang-format -i $(CXX_FILES)

wheel: .venv/made
	.venv/bin/python -m pip wheel -q --no-deps -w dist .

asan tsan: .venv-test/made googletest
	export PATH="$(CURDIR)/.venv-test/bin:$$PATH"; \
	cmake --preset $@ -Dpybind11_DIR=$$(.venv-test/bin/python -m pybind11 --cmakedir) \
	  -DPython_EXECUTABLE=$(CURDIR)/.venv-test/bin/python && \
	cmake --build --preset $@ && ctest --preset $@

# What a machine with a GPU and no network may lack, fetched where there is one: pybind11, pytest,
# Ninja, CMake, googletest.
gpu-tools:
	$(PYTHON) -m pip install -q --upgrade --target build/gpu-tools $(BUILD_REQUIRES) pytest pytest-xdist
	rm -rf build/gpu-tools/googletest build/gpu-tools/numpy*
	curl -sL https://github.com/google/googletest/releases/download/v1.17.0/googletest-1.17.0.tar.gz | \
	  tar xz -C build/gpu-tools && mv build/gpu-tools/googletest-1.17.0 build/gpu-tools/googletest

# The card's own check, in under ten minutes, with what the machine has: it may lack a network.
# DRY=1: on the emulated device, in the environment of the tests.
gpu-check: $(if $(DRY),.venv-test/tools googletest)
	$(if $(DRY),PATH="$(CURDIR)/.venv-test/bin:$$PATH" .venv-test/bin/python,$(PYTHON)) \
	  tests/gpu_check.py $(if $(DRY),--dry)

# The Python tests of what has CUDA kernels, on the emulated device: more than `make test` runs.
test-emulated: install-for-tests
	PYTHONHASHSEED=0 PYTHONPATH=build/test/emulated .venv-test/bin/python -m pytest -n auto \
	  --device cuda tests/cuda tests/ops tests/optim tests/autograd tests/test_cuda.py

clean:
	rm -rf build dist .venv .venv-test .venv-lint .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
