"""Replicas of the model in processes of their own, beside the server.

A process that dies takes no server with it: it is started again, and its
sessions go on. Calls go over pipes, a pipe a lane, to a thread each.
"""

import multiprocessing
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, Final

from bridge.app.door import Load
from bridge.app.replicas import ReplicatedGenerator
from bridge.app.resident import Answer, Call, Lane, Resident
from bridge.errors import NotReadyError

START_SECONDS: Final = 300.0
END_SECONDS: Final = 5.0


def worker_processes(load: Load, count: int) -> Load:
    """Return what loads a model into so many processes, all at once.

    Args:
        load: Returns the model, in the process; it is pickled.
        count: How many.
    """

    def load_processes() -> ReplicatedGenerator:
        return ReplicatedGenerator(started(load, count))

    return load_processes


def started(load: Load, count: int) -> "list[ProcessReplica]":
    """Return so many processes; if one cannot be started, none stays.

    Raises:
        Exception: What loading the model raised.
    """
    with ThreadPoolExecutor(max_workers=count) as threads:
        starts = [threads.submit(ProcessReplica, load) for _ in range(count)]
    errors = [start.exception() for start in starts]
    replicas = [start.result() for start in starts if start.exception() is None]
    failed = next((error for error in errors if error is not None), None)
    if failed is None:
        return replicas
    for replica in replicas:
        replica.close()
    raise failed


class ProcessReplica:
    """A process that holds the model."""

    def __init__(self, load: Load) -> None:
        """Return once the process has loaded the model.

        Args:
            load: Returns the model, in the process; it is pickled.

        Raises:
            NotReadyError: It took too long, or the process ended.
            Exception: What loading raised.
        """
        context = multiprocessing.get_context("spawn")
        pairs = {lane: context.Pipe() for lane in Lane}
        far = {lane: pair[1] for lane, pair in pairs.items()}
        self._load = load
        self._locks = {lane: threading.Lock() for lane in Lane}
        self._lanes = {lane: pair[0] for lane, pair in pairs.items()}
        self._process = context.Process(target=_live, args=(load, far), daemon=True, name="model")
        self._process.start()
        # Else the end of the process would not be the end of its pipes.
        for connection in far.values():
            connection.close()
        try:
            self._await_model()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """Return the process's number."""
        return self._process.pid

    def call(self, lane: Lane, call: Call) -> Answer:
        """Return the process's answer.

        Raises:
            ConnectionError: The process has ended.
            Exception: What the call raised there.
        """
        with self._locks[lane]:
            answer = self._exchanged(lane, call)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def renewed(self) -> "ProcessReplica":
        """Return another process in the place of this one.

        Raises:
            Exception: It cannot be started.
        """
        self.close()
        return ProcessReplica(self._load)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join(END_SECONDS)
        for connection in self._lanes.values():
            connection.close()

    def _await_model(self) -> None:
        news = self._lanes[Lane.MODEL]
        if not news.poll(START_SECONDS):
            raise NotReadyError(f"the model was not loaded within {START_SECONDS:g} s")
        try:
            loaded = news.recv()
        except (EOFError, OSError) as error:
            raise NotReadyError("the process that loads the model ended") from error
        if isinstance(loaded, BaseException):
            raise loaded

    def _exchanged(self, lane: Lane, call: Call) -> Any:  # noqa: ANN401 - an answer or an error
        try:
            self._lanes[lane].send(call)
            return self._lanes[lane].recv()
        except (EOFError, OSError) as error:
            raise ConnectionError(f"the process {self.pid} that held the model ended") from error


def _live(load: Load, lanes: "dict[Lane, Connection[Any, Any]]") -> None:
    """Hold the model until the server's ends of the pipes are gone."""
    # Ctrl-C goes to all processes of a terminal; running requests may end first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        resident = Resident(load())
    except Exception as error:  # noqa: BLE001 - raised at the other end
        lanes[Lane.MODEL].send(_sendable(error))
        return
    lanes[Lane.MODEL].send(None)
    threads = [
        threading.Thread(target=_serve, args=(resident, lane), daemon=True)
        for lane in lanes.values()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _serve(resident: Resident, lane: "Connection[Any, Any]") -> None:
    while True:
        try:
            call = lane.recv()
        except (EOFError, OSError):
            return
        try:
            answer: object = resident.answer(call)
        except Exception as error:  # noqa: BLE001 - raised at the other end
            answer = _sendable(error)
        try:
            lane.send(answer)
        except OSError:
            return


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - an error may hold anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
