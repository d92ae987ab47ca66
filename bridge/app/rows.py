"""What errors of the model and of plugins mean to a caller: one table, and its use."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import model.errors as model_errors
import plugin_host.errors as plugin_errors
from bridge.errors import (
    BridgeError,
    InvalidRequestError,
    NotFoundError,
    NotReadyError,
    UnsupportedError,
)

ERROR_ROWS: Mapping[type[Exception], type[BridgeError]] = {
    model_errors.ModelError: BridgeError,
    model_errors.ConfigError: NotReadyError,
    model_errors.CheckpointError: NotReadyError,
    model_errors.ConditionError: UnsupportedError,
    model_errors.LabelError: NotFoundError,
    model_errors.WindowError: InvalidRequestError,
    model_errors.TrainingError: InvalidRequestError,
    plugin_errors.PluginHostError: BridgeError,
    plugin_errors.ChainFileError: InvalidRequestError,
    plugin_errors.UnknownPluginError: NotFoundError,
    plugin_errors.PluginLoadError: NotReadyError,
    plugin_errors.PluginCrashError: NotReadyError,
    plugin_errors.WorkerLostError: NotReadyError,
    plugin_errors.ParameterError: InvalidRequestError,
    plugin_errors.UnknownParameterError: InvalidRequestError,
    plugin_errors.AudioFormatError: InvalidRequestError,
}
"""What an error of the model or of a plugin means to a caller."""


@contextmanager
def translated_errors() -> Generator[None]:
    """Raise errors of the model and of plugins as ours; the nearest class with a row counts."""
    try:
        yield
    except tuple(ERROR_ROWS) as error:
        row = next(kind for kind in type(error).__mro__ if kind in ERROR_ROWS)
        raise ERROR_ROWS[row](str(error)) from error
