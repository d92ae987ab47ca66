"""Where the model lives: in the server itself, in processes beside it, or on a Ray cluster."""

from bridge.app.door import Load
from bridge.app.replicas import ReplicatedGenerator
from bridge.app.worker_process import worker_processes
from bridge.config import ServerConfig


def placed(config: ServerConfig, load: Load) -> Load:
    """Return what loads the model where the configuration wants it.

    Args:
        config: Of the server.
        load: Returns the model in the process that calls it; it can be pickled.
    """
    if config.engine == "ray":
        # Here, not above: only who asks for it needs it.
        from bridge.app.ray_workers import ray_actors

        return ray_actors(load, max(1, config.workers), config.ray_address)
    return worker_processes(load, config.workers) if config.workers else load


def end_model(generator: object) -> None:
    """End the replicas of a model that has some."""
    if isinstance(generator, ReplicatedGenerator):
        generator.close()
