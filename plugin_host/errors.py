"""What can go wrong between a chain and its plugins.

Every error holds the value that was refused, the limit it broke and the unit of
both, so that a caller can answer without reading the message. A plugin that
fails while audio runs is no error: the chain bypasses and reports it.
"""


class PluginHostError(Exception):
    """The root of all errors of this package.

    Attributes:
        value: What was given.
        limit: What would have been accepted: a bound, or a text that lists it.
        unit: The unit of both, or an empty text where there is none.
    """

    def __init__(self, message: str, *, value: object, limit: object, unit: str = "") -> None:
        super().__init__(message)
        self.value = value
        self.limit = limit
        self.unit = unit

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        """Return how another process raises it again."""
        return _again, (type(self), str(self), self.value, self.limit, self.unit)


def _again(
    kind: type[PluginHostError], message: str, value: object, limit: object, unit: str
) -> PluginHostError:
    return kind(message, value=value, limit=limit, unit=unit)


class ChainFileError(PluginHostError):
    """A chain file cannot be read, or does not have the documented form."""


class UnknownPluginError(PluginHostError):
    """A name is neither in the table of effects nor a `.vst3` path."""


class PluginLoadError(PluginHostError):
    """A plugin exists but cannot be opened, or refuses the audio format."""


class ParameterError(PluginHostError):
    """A parameter's value has the wrong type or lies outside its range."""


class UnknownParameterError(ParameterError):
    """A plugin has no parameter of that name."""


class AudioFormatError(PluginHostError):
    """A sample rate, channel count or block that the chain does not take."""


class PluginCrashError(PluginHostError):
    """A plugin took its process with it, or hung, and what was asked of it cannot be done."""


class WorkerLostError(PluginHostError):
    """The plugins' process has died, or answers no more; the text says which."""
