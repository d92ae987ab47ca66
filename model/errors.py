"""What the model refuses; `bridge.app` gives each class its row in the error tree."""


class ModelError(Exception):
    """Base of all; the text holds the value, the limit and the unit."""


class ConfigError(ModelError):
    """A configuration that describes no model."""


class CheckpointError(ModelError):
    """A file of weights that is missing, damaged or of another shape."""


class ConditionError(ModelError):
    """A condition that this model cannot use, named."""


class LabelError(ModelError):
    """An artist or genre outside the model's vocabulary."""


class WindowError(ModelError):
    """A length, place or hop that a published model's windows cannot be laid over."""


class TrainingError(ModelError):
    """A training that cannot be run as it is asked for: its configuration, recordings or folder."""
