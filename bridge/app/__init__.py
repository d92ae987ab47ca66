"""Builds everything, starts it and stops it; the only importer of `model` and `plugin_host`."""

from bridge.app.chains import open_chain
from bridge.app.door import Load, ShippedGenerator, TranslatedGenerator, shipped_model
from bridge.app.model_files import ModelFiles, verify_model
from bridge.app.rows import ERROR_ROWS, translated_errors
from bridge.app.server import App, embedded_server, open_store, running

__all__ = [
    "ERROR_ROWS",
    "App",
    "Load",
    "ModelFiles",
    "ShippedGenerator",
    "TranslatedGenerator",
    "embedded_server",
    "open_chain",
    "open_store",
    "running",
    "shipped_model",
    "translated_errors",
    "verify_model",
]
