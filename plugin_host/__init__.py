"""Runs audio through effects and VST3 files, in this process or in one of their own."""

from plugin_host.chain import Chain, Report, load_chain
from plugin_host.errors import (
    AudioFormatError,
    ChainFileError,
    ParameterError,
    PluginCrashError,
    PluginHostError,
    PluginLoadError,
    UnknownParameterError,
    UnknownPluginError,
)
from plugin_host.instrument import GuideNote, Stage, play_notes
from plugin_host.loader import LoadedPlugin, PluginSpec, load_plugin, read_chain_file
from plugin_host.parameters import EFFECTS, Choice, Effect, Flag, Number, Parameter
from plugin_host.worker import IsolatedChain, Policy

__all__ = [
    "EFFECTS",
    "AudioFormatError",
    "Chain",
    "ChainFileError",
    "Choice",
    "Effect",
    "Flag",
    "GuideNote",
    "IsolatedChain",
    "LoadedPlugin",
    "Number",
    "Parameter",
    "ParameterError",
    "PluginCrashError",
    "PluginHostError",
    "PluginLoadError",
    "PluginSpec",
    "Policy",
    "Report",
    "Stage",
    "UnknownParameterError",
    "UnknownPluginError",
    "load_chain",
    "load_plugin",
    "play_notes",
    "read_chain_file",
]
