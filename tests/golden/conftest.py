"""The golden runner's report: which cases ran, and how each ended."""

from collections import defaultdict
from pathlib import Path

import pytest
import torch

from tests.vectors import GOLDEN, NO_GOLDEN, Case, Document, cases

HERE = Path(__file__).parent
KEY = "golden case"
ENDS = ("passed", "failed", "error", "skipped")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            item.user_properties += [(KEY, _label(given)) for given in _given(item)]


def pytest_terminal_summary(terminalreporter):
    ends = defaultdict(lambda: defaultdict(int))
    for end in ENDS:
        for report in terminalreporter.stats.get(end, ()):
            for name, label in getattr(report, "user_properties", ()):
                if name == KEY:
                    ends[label][end] += 1
    if not ends:
        return
    terminalreporter.section(f"golden cases of {GOLDEN}")
    if not cases():
        terminalreporter.write_line(NO_GOLDEN)
    for label in sorted(ends):
        counts = ", ".join(f"{ends[label][end]} {end}" for end in ENDS if ends[label][end])
        terminalreporter.write_line(f"{label}: {counts}")
    ran = sum(1 for made in ends.values() if made["passed"] or made["failed"])
    terminalreporter.write_line(f"{ran} golden cases run")


def _given(item):
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return [value for value in values if isinstance(value, Case | Document)]


def _label(given):
    if isinstance(given, Case):
        return f"{given['kind']}: {given.name}"
    return f"file: {given.name}"
