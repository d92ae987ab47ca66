"""What must not change within a training, and whether it did."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from model.errors import TrainingError
from model.training.published.configuration import Asked


def lasting(asked: Asked) -> dict[str, Any]:
    """Return the settings that must not change within a training."""
    table = asdict(asked.settings)
    table.pop("saving")
    table["learning"].pop("steps")
    table["level"] = asked.level
    return table


def check_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Pass if a training would go on as it was begun.

    Raises:
        TrainingError: Names the first thing that differs, with both values.
    """
    before, now = _flat(old, ""), _flat(new, "")
    differing = [
        key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)
    ]
    if differing:
        key = differing[0]
        raise TrainingError(
            f"{key.removeprefix('settings.')} was {before.get(key, 'absent')}, and is now "
            f"{now.get(key, 'absent')}: a training goes on as it was begun; give another --out, "
            "and begin with what was learnt (--from)"
        )


def _flat(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            made |= _flat(cast("dict[str, Any]", value), f"{where}{key}.")
        else:
            made[f"{where}{key}"] = _plain(value)
    return made


def _plain(value: object) -> object:
    """Return a value as JSON gives it back."""
    if isinstance(value, tuple | list):
        return [_plain(one) for one in cast("list[object]", value)]
    return value
