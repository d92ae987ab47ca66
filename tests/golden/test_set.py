"""The set itself: every case and every file of it has a test that reads it."""

import ast
from pathlib import Path

from tests.vectors import cases, documents, needs_golden

TESTS = sorted(Path(__file__).parent.glob("test_*.py"))


def asked_for(reader: str) -> set[str]:
    """Return the kinds that the tests of this folder name in calls of `reader`."""
    return {
        argument.value
        for path in TESTS
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == reader
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }


@needs_golden
def test_every_case_has_a_test_for_its_kind():
    kinds = {facts["kind"] for facts in cases().values()}
    assert kinds - asked_for("cases_of") == set()


@needs_golden
def test_every_file_has_a_test_that_reads_it():
    kinds = asked_for("files_of")
    unread = [
        path.name
        for path in documents()
        if not any(path.stem == kind or path.stem.startswith(f"{kind}_") for kind in kinds)
    ]
    assert unread == []
