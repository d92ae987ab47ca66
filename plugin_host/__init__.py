"""Runs audio through pedalboard's effects and VST3 files, with every delay counted."""

from plugin_host.chain import Chain, Report, load_chain
from plugin_host.errors import (
    AudioFormatError,
    ChainFileError,
    ParameterError,
    PluginHostError,
    PluginLoadError,
    UnknownParameterError,
    UnknownPluginError,
)
from plugin_host.loader import LoadedPlugin, PluginSpec, load_plugin, read_chain_file
from plugin_host.parameters import EFFECTS, Choice, Effect, Flag, Number, Parameter

__all__ = [
    "EFFECTS",
    "AudioFormatError",
    "Chain",
    "ChainFileError",
    "Choice",
    "Effect",
    "Flag",
    "LoadedPlugin",
    "Number",
    "Parameter",
    "ParameterError",
    "PluginHostError",
    "PluginLoadError",
    "PluginSpec",
    "Report",
    "UnknownParameterError",
    "UnknownPluginError",
    "load_chain",
    "load_plugin",
    "read_chain_file",
]
