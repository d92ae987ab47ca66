"""What can go wrong while training data is made or read."""


class DataError(Exception):
    """Training data cannot be made or read; the message holds the value at fault."""


class MissingToolError(DataError):
    """A SoundFont or a system library that rendering needs is not installed."""


class CorruptDataError(DataError):
    """A data folder does not hold what its tables say."""


class UnreadableScoreError(DataError):
    """A score file cannot be parsed, or holds no notes."""
