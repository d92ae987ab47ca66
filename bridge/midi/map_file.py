"""The map of pads and controllers as a TOML file: read, checked, written by learning.

Knows no port and no engine.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from bridge.audio_file import write_whole
from bridge.config_file import check_known, parse_toml
from bridge.errors import InvalidRequestError
from bridge.limits import PLAN_RANGES
from bridge.midi.message import CHANNELS, MAX_VALUE, Kind, MidiMessage
from bridge.midi.rows import KNOBS, Command, MidiMap, Preset, Row, Source
from bridge.ports import Quality, StemKind
from bridge.settings import Kind as SettingKind
from bridge.settings import OrOff, PathTo, Real, Text, Whole
from bridge.transport import MAX_BARS, MAX_BPM, MIN_BPM

MAX_ROWS: Final = 512
MAX_PRESETS: Final = 128

PRESET_KEYS: Final[Mapping[str, tuple[SettingKind, str]]] = {
    "path": (PathTo("file or folder"), "recorded section; of a folder the newest WAV file"),
    "bars": (Real(0.001, MAX_BARS, "bars"), "length of the result"),
    "tempo_bpm": (OrOff(Real(MIN_BPM, MAX_BPM, "bpm")), "tempo; off: that of the MIDI clock"),
    "meter": (Text(means="such as 4/4"), "meter"),
    "notes": (Text(words=("off", "played")), "lay the last bars played over the result"),
    "program": (OrOff(Whole(0, MAX_VALUE)), "program change that selects it"),
}
OPTION_KEYS: Final[Mapping[str, tuple[SettingKind, str]]] = {
    "target": (Text(words=tuple(StemKind)), "the part wanted"),
    "artist": (Text(means="label"), "a label of the model"),
    "genre": (Text(means="label"), "a label of the model"),
    "model": (Text(means="name"), "a loaded model"),
    "quality": (Text(words=tuple(Quality)), "the sampler"),
    **{
        name: (
            Whole(int(least), int(greatest))
            if name in ("seed", "variation", "top_k", "passes")
            else Real(least, greatest),
            f"{name} of the plan",
        )
        for name, least, greatest in PLAN_RANGES
    },
}
ROW_KEYS: Final[Mapping[str, SettingKind]] = {
    "source": Text(words=tuple(Source)),
    "number": Whole(0, MAX_VALUE),
    "channel": Whole(1, CHANNELS),
    "command": Text(words=tuple(Command)),
    "preset": Text(means="name of a preset"),
    "least": Real(0.0, 20.0),
    "greatest": Real(0.0, 20.0),
}


def read_map(file: Path) -> MidiMap:
    """Return the rows and presets of a file; relative paths count from its folder.

    Raises:
        NotFoundError: There is no such file.
        InvalidRequestError: A key that is not known, a value that is refused, or two rows
            for one message.
    """
    table = parse_toml(file)
    try:
        return map_of(table, file.absolute().parent)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{file}: {error}") from error


def map_of(table: Mapping[str, Any], folder: Path) -> MidiMap:
    """Return the rows and presets of a TOML table.

    Raises:
        InvalidRequestError: As of `read_map`.
    """
    check_known("the section", table, ("presets", "map"))
    presets = _tables_in(table.get("presets", {}), "presets")
    entries = _list_in(table.get("map", []))
    found = MidiMap(
        rows=tuple(_row(entry, f"map[{place}]") for place, entry in enumerate(entries)),
        presets=tuple(_preset(name, content, folder) for name, content in presets.items()),
    )
    _check_whole(found)
    return found


def learned(
    message: MidiMessage, command: Command, *, any_channel: bool = False, preset: str = ""
) -> Row | None:
    """Return the row that lets a message do a command; None if it is no pad and no controller."""
    source = {Kind.NOTE_ON: Source.NOTE, Kind.CONTROL: Source.CONTROL}.get(message.kind)
    if source is None or (command in KNOBS and source is Source.NOTE):
        return None
    return Row(
        source=source,
        number=message.number,
        channel=None if any_channel else message.channel,
        command=command,
        preset=preset,
    )


def learn(file: Path, row: Row) -> None:
    """Add a row to the end of a file, or begin a file with it; what was there stays as it is.

    Raises:
        InvalidRequestError: The file is no map, or has a row for this message already.
        NotFoundError: Its folder does not exist.
        NotReadyError: It cannot be written.
    """
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    rows = read_map(file) if before else MidiMap()
    joined = MidiMap(rows=(*rows.rows, row), presets=rows.presets)
    try:
        _check_whole(joined)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{file}: {error}; take that row out first") from error
    gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
    write_whole(file, ((before + gap + as_toml(row)).encode(),), overwrite=True)


def as_toml(row: Row) -> str:
    """Return a row as the file holds it."""
    given = {key: getattr(row, key) for key in ROW_KEYS}
    lines = [
        f"{key} = {ROW_KEYS[key].written(value)}"
        for key, value in given.items()
        if value not in (None, "")
    ]
    return "\n".join(["[[map]]", *lines, ""])


def _row(entry: Mapping[str, Any], where: str) -> Row:
    check_known(f"{where}: the key", entry, ROW_KEYS)
    missing = [key for key in ("source", "number", "command") if key not in entry]
    if missing:
        raise InvalidRequestError(f"{where} lacks {', '.join(missing)}")
    values: dict[str, Any] = {
        key: ROW_KEYS[key].read(raw, f"{where}.{key}", Path()) for key, raw in entry.items()
    }
    values |= {"source": Source(values["source"]), "command": Command(values["command"])}
    try:
        return Row(**values)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{where}: {error}") from error


def _preset(name: str, content: Mapping[str, Any], folder: Path) -> Preset:
    where = f"presets.{name}"
    check_known(f"{where}: the key", content, (*PRESET_KEYS, *OPTION_KEYS))
    if "path" not in content:
        raise InvalidRequestError(f"{where} lacks path, the section to continue")
    values: dict[str, Any] = {"name": name, "options": {}}
    for key, raw in content.items():
        kind, _ = PRESET_KEYS[key] if key in PRESET_KEYS else OPTION_KEYS[key]
        place = values if key in PRESET_KEYS else values["options"]
        place[key] = kind.read(raw, f"{where}.{key}", folder)
    return Preset(**values)


def _check_whole(found: MidiMap) -> None:
    for what, count, limit in (
        ("rows", len(found.rows), MAX_ROWS),
        ("presets", len(found.presets), MAX_PRESETS),
    ):
        if count > limit:
            raise InvalidRequestError(f"{count} {what}, the limit is {limit} {what}")
    places = [row.place() for row in found.rows]
    for index, place in enumerate(places):
        if place in places[:index]:
            source, number, channel = place
            raise InvalidRequestError(
                f"map[{index}]: the {source} {number} of channel {channel or 'any'} does "
                f"{found.rows[places.index(place)].command} already"
            )
    names = [preset.name for preset in found.presets]
    for index, row in enumerate(found.rows):
        if row.preset:
            check_known(f"map[{index}]: the preset", [row.preset], names)


def _tables_in(value: object, name: str) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, dict):
        raise InvalidRequestError(f"{name} must be tables [{name}.NAME]")
    tables = cast(dict[str, Any], value)
    for key, content in tables.items():
        if not isinstance(content, dict):
            raise InvalidRequestError(f"{name}.{key} must be a table [{name}.{key}]")
    return tables


def _list_in(value: object) -> Sequence[Mapping[str, Any]]:
    entries = cast(list[Any], value if isinstance(value, list) else [value])
    if not all(isinstance(entry, dict) for entry in entries):
        raise InvalidRequestError("map must be tables [[map]]")
    return entries
