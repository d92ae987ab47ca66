"""The edge of a wire: whatever fails behind it reaches the caller as one of our errors.

Knows no wire.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from bridge.errors import BridgeError

log = logging.getLogger(__name__)

INTERNAL_TEXT: Final = "internal error"


@contextmanager
def failures_told(where: str, tell: Callable[[BridgeError], object]) -> Generator[None]:
    """Tell what fails inside, and go on after the block; cancellation passes untouched.

    A failure that is none of ours goes to the log with its traceback, and is told as INTERNAL
    without a word of it: the one broad `except` that a wire has.

    Args:
        where: What was asked, for the log.
        tell: Takes the error that the caller is to know.
    """
    try:
        yield
    except BridgeError as error:
        tell(error)
    except Exception:  # a wire's edge: whatever it is, the caller gets INTERNAL, the log the rest
        log.exception("unexpected failure at %s", where)
        tell(BridgeError(INTERNAL_TEXT))
