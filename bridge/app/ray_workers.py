"""Replicas of the model as actors of a Ray cluster; Ray is optional and decides where they run.

Thin on purpose: which session is where, and what happens when an actor is lost,
is `bridge.app.replicas`' alone, as with processes of our own.
"""

from importlib import import_module
from typing import Any, Final

from bridge.app.door import Load
from bridge.app.replicas import ReplicatedGenerator
from bridge.app.resident import Answer, Call, Lane, Resident
from bridge.errors import BridgeError, NotReadyError

START_SECONDS: Final = 300.0
NEW_CLUSTER: Final = "local"
"""As an address: one on this machine alone, that ends with the server."""
NAMESPACE: Final = "jukebox-bridge"


def ray_actors(load: Load, count: int, address: str) -> Load:
    """Return what loads a model into so many actors.

    Args:
        load: Returns the model, in the actor.
        count: How many.
        address: Of the cluster's head; `auto` is this machine's cluster, `local` a new one.
    """

    def load_actors() -> ReplicatedGenerator:
        ray = connected(address)
        return ReplicatedGenerator([RayReplica(ray, load) for _ in range(count)])

    return load_actors


def connected(address: str) -> Any:  # noqa: ANN401 - Ray brings no types that pyright reads
    """Return the module of Ray, connected to a cluster.

    Raises:
        NotReadyError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise NotReadyError("Ray is missing: pip install 'jukebox-bridge[ray]'") from error
    if not ray.is_initialized():
        more = {"include_dashboard": False} if address == NEW_CLUSTER else {}
        try:
            ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, **more)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise NotReadyError(f"no Ray cluster answers at {address}: {error}") from error
    return ray


class HostedModel:
    """What runs in the actor."""

    def __init__(self, load: Load) -> None:
        self._resident = Resident(load())

    def answer(self, call: Call) -> Answer | BridgeError:
        """Return the answer; an error of ours as a value, for Ray would wrap it."""
        try:
            return self._resident.answer(call)
        except BridgeError as error:
            return error


class RayReplica:
    """An actor that holds the model."""

    def __init__(self, ray: Any, load: Load) -> None:  # noqa: ANN401 - untyped
        """Return once the actor has loaded the model.

        Args:
            ray: The module, connected.
            load: Returns the model, in the actor.

        Raises:
            NotReadyError: It was not loaded, or not in time.
        """
        self._ray, self._load = ray, load
        lanes = dict.fromkeys(Lane, 1)
        hosted = ray.remote(concurrency_groups={str(lane): n for lane, n in lanes.items()})
        self._actor: Any = hosted(HostedModel).remote(load)
        try:
            self._get(Lane.QUESTIONS, Call(method="info"), START_SECONDS)
        except (ConnectionError, ray.exceptions.GetTimeoutError) as error:
            self.close()
            raise NotReadyError(f"an actor could not load the model: {error}") from error

    def call(self, lane: Lane, call: Call) -> Answer:
        """Return the actor's answer.

        Raises:
            ConnectionError: The actor, or the machine that it was on, is gone.
            Exception: What the call raised there.
        """
        answer = self._get(lane, call, None)
        if isinstance(answer, BridgeError):
            raise answer
        return answer

    def renewed(self) -> "RayReplica":
        """Return another actor in the place of this one.

        Raises:
            NotReadyError: It cannot be started.
        """
        self.close()
        return RayReplica(self._ray, self._load)

    def close(self) -> None:
        """End the actor."""
        self._ray.kill(self._actor)

    def _get(self, lane: Lane, call: Call, seconds: float | None) -> Answer | BridgeError:
        lost = self._ray.exceptions.RayActorError
        try:
            method = self._actor.answer.options(concurrency_group=str(lane))
            return self._ray.get(method.remote(call), timeout=seconds)
        except lost as error:
            raise ConnectionError(f"an actor that held the model is gone: {error}") from error
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
