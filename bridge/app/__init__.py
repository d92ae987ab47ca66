"""Builds everything, starts it and stops it; the only importer of `model` and `plugin_host`."""

from bridge.app.chains import open_chain
from bridge.app.door import Load, ShippedGenerator, TranslatedGenerator, shipped_model
from bridge.app.embedded import embedded_server
from bridge.app.model_files import ModelFiles, verify_model
from bridge.app.models import (
    MAP_TYPES,
    MODEL_NAMES,
    ModelFacts,
    PartFacts,
    import_released,
    installed_models,
    model_facts,
    models_folder,
    released_folder,
    verify_installed,
)
from bridge.app.rows import ERROR_ROWS, translated_errors
from bridge.app.server import App, open_store, running

__all__ = [
    "ERROR_ROWS",
    "MAP_TYPES",
    "MODEL_NAMES",
    "App",
    "Load",
    "ModelFacts",
    "ModelFiles",
    "PartFacts",
    "ShippedGenerator",
    "TranslatedGenerator",
    "embedded_server",
    "import_released",
    "installed_models",
    "model_facts",
    "models_folder",
    "open_chain",
    "open_store",
    "released_folder",
    "running",
    "shipped_model",
    "translated_errors",
    "verify_installed",
    "verify_model",
]
