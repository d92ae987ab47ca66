"""What every test shares: which copy of the packages is tested, and the name of the doubles."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGES = ("bridge", "model", "plugin_host", "protos")
CHECKOUT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--wheel", action="store_true", help="fail unless the installed wheel is run")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--wheel"):
        own = [name for name in PACKAGES if _folder(name).is_relative_to(CHECKOUT)]
        if own:
            raise pytest.UsageError(f"imported from the checkout, not from the wheel: {own}")
    # On no path, lest `tests/bridge` be taken for `bridge`.
    sys.modules["fakes"] = import_module("tests.fakes")


def pytest_report_header() -> str:
    return f"packages: {_folder('bridge').parent}"


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise pytest.UsageError(f"{package} is missing: pip install -e '.[test]' in {CHECKOUT}")
    return Path(spec.origin).parent
