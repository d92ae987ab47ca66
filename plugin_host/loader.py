"""Chain files and plugins: reads what is wanted, opens it, sets it, describes it.

A chain file is JSON of one form, and whatever else it holds is refused:

    {"plugins": [{"plugin": "Reverb", "parameters": {"room_size": 0.3}},
                 {"plugin": "folder/x.vst3", "name": "one of several", "parameters": {},
                  "preset": "sound.vstpreset", "state": "sound.state"}]}

A relative path starts at the file's folder. A state is what `raw_state` gave; then the
preset is read, then parameters are set. Knows nothing of audio blocks.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import pedalboard
from jaxtyping import Float32

from plugin_host.errors import (
    ChainFileError,
    ParameterError,
    PluginLoadError,
    UnknownPluginError,
)
from plugin_host.parameters import (
    EFFECTS,
    REFUSED,
    Choice,
    Flag,
    Number,
    Parameter,
    Setting,
    check_settings,
)

Samples = Float32[np.ndarray, "channels samples"]

MAX_PLUGINS = 32
MAX_FILE_BYTES = 1 << 20
_VST3_SUFFIX = ".vst3"
# Plugins answer in the precision of their own text, so a value comes back rounded.
_KEPT_FRACTION = 0.01


class AudioPlugin(Protocol):
    """What a chain needs of a plugin; pedalboard's plugins have it."""

    def process(
        self, input_array: Samples, sample_rate: float, buffer_size: int, reset: bool
    ) -> Samples:
        """Return the processed block, short by the samples it still holds back."""
        ...

    def reset(self) -> None:
        """Forget all audio."""
        ...


class _Wrapper(Protocol):
    """One VST3 parameter, as pedalboard guesses it from the plugin's own texts."""

    type: object
    label: str | None
    min_value: float | None
    max_value: float | None
    valid_values: list[object]


class _HasParameters(Protocol):
    """What pedalboard's stubs leave out of `VST3Plugin`."""

    parameters: Mapping[str, _Wrapper]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSpec:
    """One entry of a chain file."""

    plugin: str
    path: Path | None = None
    name: str | None = None
    parameters: Mapping[str, Setting] = field(default_factory=dict[str, Setting])
    preset: Path | None = None
    state: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPlugin:
    """An open plugin, its values set, and what could have been set."""

    name: str
    plugin: AudioPlugin
    parameters: tuple[Parameter, ...] = ()


def read_chain_file(path: Path) -> tuple[PluginSpec, ...]:
    """Return what a chain file asks for, in order.

    Raises:
        ChainFileError: Not readable, not JSON, or not of the documented form.
        UnknownPluginError: A name that no table row and no `.vst3` path answers to.
    """
    chain = _object(_parsed(path), "the chain file", {"plugins"})
    entries = chain.get("plugins")
    if not isinstance(entries, list):
        raise ChainFileError("'plugins' must be a list", value=entries, limit="a list")
    entries = cast("list[object]", entries)
    if len(entries) > MAX_PLUGINS:
        message = f"{len(entries)} plugins, at most {MAX_PLUGINS} plugins"
        raise ChainFileError(message, value=len(entries), limit=MAX_PLUGINS, unit="plugins")
    return tuple(_spec(entry, index, path.parent) for index, entry in enumerate(entries))


def load_plugin(spec: PluginSpec, *, sample_rate: int) -> LoadedPlugin:
    """Return the open plugin with its parameters set.

    A VST3 file runs its own code in this process, and JUCE wants it opened on the
    main thread.

    Raises:
        UnknownPluginError: The name is not in the table of effects.
        PluginLoadError: The VST3 file cannot be opened.
        ParameterError: A parameter is unknown, out of range, or not kept.
    """
    if spec.path is not None:
        return _load_vst3(spec, spec.path, sample_rate)
    _check_known(spec.plugin)
    effect = EFFECTS[spec.plugin]
    values = check_settings(spec.plugin, effect.parameters, spec.parameters, sample_rate)
    plugin = effect.kind()
    for name, value in values.items():
        setattr(plugin, name, value)
    # Some effects (BrickwallLimiter) forget their channel count and would read a block of
    # (2, 1) as one channel of two samples; pedalboard's container remembers it for them.
    contained = cast("AudioPlugin", pedalboard.Chain([plugin]))
    return LoadedPlugin(name=spec.plugin, plugin=contained, parameters=effect.parameters)


def _load_vst3(spec: PluginSpec, path: Path, sample_rate: int) -> LoadedPlugin:
    try:
        _check_sub_plugin(path, spec.name)
        plugin = pedalboard.VST3Plugin(str(path), plugin_name=spec.name)
    except (ImportError, ValueError, RuntimeError) as error:
        message = f"{path}: {error}"
        raise PluginLoadError(message, value=str(path), limit="a VST3 effect") from error
    loaded = LoadedPlugin(
        name=plugin.name,
        plugin=cast("AudioPlugin", plugin),
        parameters=tuple(_described(plugin)),
    )
    if spec.state is not None:
        set_state(loaded, _bytes_of(spec.state))
    if spec.preset is not None:
        load_preset(loaded, spec.preset)
    set_parameters(loaded, spec.parameters, sample_rate)
    return loaded


def set_parameters(loaded: LoadedPlugin, settings: Mapping[str, Setting], sample_rate: int) -> None:
    """Set parameters of an open plugin, in their own units.

    Raises:
        ParameterError: A parameter is unknown, out of range, or not kept.
    """
    values = check_settings(loaded.name, loaded.parameters, settings, sample_rate)
    plugin: object = loaded.plugin
    for parameter in loaded.parameters:
        if parameter.name in values and isinstance(plugin, pedalboard.Chain):
            setattr(plugin[0], parameter.name, values[parameter.name])
        elif parameter.name in values:
            _set_on_vst3(_vst3(loaded), parameter, values[parameter.name])


def state_of(loaded: LoadedPlugin) -> bytes:
    """Return all that an open plugin remembers, as it stores it.

    Raises:
        PluginLoadError: It is no VST3 plugin.
    """
    return _vst3(loaded).raw_state


def set_state(loaded: LoadedPlugin, state: bytes) -> None:
    """Let an open plugin remember what `state_of` gave.

    Raises:
        PluginLoadError: It is no VST3 plugin, or refuses.
    """
    plugin = _vst3(loaded)
    try:
        plugin.raw_state = state
    except (ValueError, RuntimeError) as error:
        message = f"{loaded.name} refuses a state of {len(state)} bytes: {error}"
        raise PluginLoadError(message, value=len(state), limit="its own state") from error


def load_preset(loaded: LoadedPlugin, path: Path) -> None:
    """Let an open plugin read a `.vstpreset` file.

    Raises:
        PluginLoadError: It is no VST3 plugin, or refuses the file.
    """
    plugin = _vst3(loaded)
    try:
        plugin.load_preset(str(path))
    except (ImportError, ValueError, RuntimeError, OSError) as error:
        message = f"{loaded.name} refuses the preset {path}: {error}"
        raise PluginLoadError(message, value=str(path), limit="a .vstpreset of its own") from error


def _vst3(loaded: LoadedPlugin) -> pedalboard.VST3Plugin:
    plugin: object = loaded.plugin
    if isinstance(plugin, pedalboard.VST3Plugin):
        return plugin
    message = f"{loaded.name} is built in: it has neither states nor presets"
    raise PluginLoadError(message, value=loaded.name, limit="a VST3 plugin")


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise PluginLoadError(message, value=str(path), limit="a readable file") from error


def _check_sub_plugin(path: Path, name: str | None) -> None:
    names = pedalboard.VST3Plugin.get_plugin_names_for_file(str(path))
    if name in names or (name is None and len(names) == 1):
        return
    limit = ", ".join(names)
    message = f"{path}: plugin {name!r} is not one of: {limit}"
    raise PluginLoadError(message, value=name, limit=limit)


def _described(plugin: pedalboard.VST3Plugin) -> Iterator[Parameter]:
    for name, wrapper in cast("_HasParameters", plugin).parameters.items():
        if wrapper.type is bool:
            yield Flag(name=name)
        elif wrapper.min_value is not None and wrapper.max_value is not None:
            unit, low, high = (wrapper.label or "").strip(), wrapper.min_value, wrapper.max_value
            yield Number(name=name, unit=unit, minimum=low, maximum=high)
        else:
            yield Choice(name=name, options={str(text): text for text in wrapper.valid_values})


def _set_on_vst3(plugin: pedalboard.VST3Plugin, parameter: Parameter, value: object) -> None:
    wanted = f"{plugin.name}.{parameter.name} = {value!r}"
    unit = parameter.unit if isinstance(parameter, Number) else ""
    try:
        setattr(plugin, parameter.name, value)
        kept = getattr(plugin, parameter.name)
    except (ValueError, RuntimeError) as error:
        limit = "a value that the plugin takes"
        raise ParameterError(f"{wanted}: {error}", value=value, limit=limit, unit=unit) from error
    if not _same(kept, value, parameter):
        message = f"{wanted}: the plugin has set {kept!r} {unit}".rstrip()
        raise ParameterError(message, value=value, limit=kept, unit=unit)


def _same(kept: object, value: object, parameter: Parameter) -> bool:
    if isinstance(parameter, Number):
        tolerance = _KEPT_FRACTION * (parameter.maximum - parameter.minimum)
        return abs(cast("float", kept) - cast("float", value)) <= tolerance
    return kept == value


def _parsed(path: Path) -> object:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            message = f"{path}: {size} bytes, at most {MAX_FILE_BYTES} bytes"
            raise ChainFileError(message, value=size, limit=MAX_FILE_BYTES, unit="bytes")
        text = path.read_text("utf-8")
        return json.loads(text, object_pairs_hook=_without_repeats)
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise ChainFileError(message, value=str(path), limit="a readable file") from error
    except (ValueError, RecursionError) as error:
        message = f"{path} is not JSON: {error}"
        raise ChainFileError(message, value=str(path), limit="JSON text in UTF-8") from error


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        message = f"key {repeated!r} is there more than once"
        raise ChainFileError(message, value=repeated, limit="each key once")
    return found


def _object(value: object, where: str, known: set[str]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ChainFileError(f"{where} must be an object", value=value, limit="an object")
    found = cast("dict[str, object]", value)
    for key in found:
        if key not in known:
            limit = ", ".join(sorted(known))
            message = f"{where} has the unknown key {key!r}; known: {limit}"
            raise ChainFileError(message, value=key, limit=limit)
    return found


def _spec(entry: object, index: int, folder: Path) -> PluginSpec:
    where = f"plugins[{index}]"
    found = _object(entry, where, {"plugin", "name", "parameters", "preset", "state"})
    plugin = _text(found.get("plugin"), f"{where}.plugin")
    is_vst3 = plugin.endswith(_VST3_SUFFIX)
    name = _text(found["name"], f"{where}.name") if "name" in found else None
    files = {
        key: folder / _text(found[key], f"{where}.{key}")
        for key in ("preset", "state")
        if key in found
    }
    if not is_vst3:
        for key in ("name", *files):
            if key in found:
                message = f"{where}.{key}: {plugin} is no VST3 file and has none"
                raise ChainFileError(message, value=found[key], limit="a .vst3 path")
    if not is_vst3:
        _check_known(plugin)
    return PluginSpec(
        plugin=plugin,
        path=folder / plugin if is_vst3 else None,
        name=name,
        parameters=_settings(found.get("parameters", {}), f"{where}.parameters"),
        **files,
    )


def _check_known(plugin: str) -> None:
    if plugin not in EFFECTS:
        reason = REFUSED.get(plugin)
        limit = f"{', '.join(EFFECTS)}, or a path that ends in {_VST3_SUFFIX}"
        message = f"plugin {plugin!r} is not one of: {limit}"
        if reason is not None:
            message = f"plugin {plugin!r} cannot be used: {reason}"
        raise UnknownPluginError(message, value=plugin, limit=limit)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise ChainFileError(f"{where} must be a text", value=value, limit="a text")
    return value


def _settings(value: object, where: str) -> dict[str, Setting]:
    if not isinstance(value, dict):
        raise ChainFileError(f"{where} must be an object", value=value, limit="an object")
    for name, setting in cast("dict[str, object]", value).items():
        if not isinstance(setting, str | bool | int | float):
            limit = "a number, a text, true or false"
            raise ChainFileError(f"{where}.{name} must be {limit}", value=setting, limit=limit)
    return cast("dict[str, Setting]", value)
