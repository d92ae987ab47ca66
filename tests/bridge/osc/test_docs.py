"""`docs/osc.md` is what the table says."""

from pathlib import Path

from bridge.osc.docs import document
from bridge.osc.table import ROWS, VERB_ROWS

DOCS = Path(__file__).parents[3] / "docs/osc.md"


def test_the_document_is_made_from_the_table():
    assert DOCS.read_text("utf-8") == document(), "python -m bridge.osc.docs > docs/osc.md"


def test_addresses_are_lower_case_paths_and_each_is_there_once():
    addresses = [row.address for row in ROWS]
    assert len(set(addresses)) == len(addresses)
    assert all(address == address.lower() for address in addresses)
    assert all(address.startswith("/jukebox/") for address in addresses)


def test_every_verb_takes_the_request_s_id_first():
    for row in VERB_ROWS:
        assert [*row.parameters, *row.optional][0].name == "id", row.address


def test_every_argument_says_what_it_is_for_and_every_number_has_its_range():
    for row in ROWS:
        assert row.does
        for parameter in (*row.parameters, *row.optional, *row.options):
            assert parameter.does, (row.address, parameter.name)
            if parameter.kind in ("whole", "large", "real", "exact"):
                assert parameter.least is not None, (row.address, parameter.name)
