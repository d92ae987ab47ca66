"""What the Remote Script refuses."""


class RefusedError(Exception):
    """What cannot be done: the error's code, then its text."""
