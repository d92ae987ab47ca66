"""The servers of the wires' tests serve the evidence too."""

from tests.bridge.conftest import (  # noqa: F401 - fixtures
    connect,
    eventually,
    listen,
    own_configuration,
    serve,
    silence,
)
