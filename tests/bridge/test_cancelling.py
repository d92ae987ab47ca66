"""Every way to cancel at every phase of a job: the computing stops, nothing half-done is left."""

import threading
from dataclasses import replace

import grpc
import numpy as np
import pytest
from fakes import CountingGenerator, counting_info

from bridge.audio_file import AudioClip, Provenance, write_audio
from bridge.continuation import audio_of, header_of
from bridge.ports import Plan
from protos import bridge_pb2, bridge_pb2_grpc
from tests.bridge.osc.peers import Asker

PATIENCE_SECONDS = 30
PHASES = ("queued", "priming", "generating", "decoding", "keeping")
WAYS = ("call", "verb", "osc", "disconnect", "deadline")
NOBODY = Provenance(model="none", fingerprint="", seed=0, request_id="", licence="")
STEPS_BEFORE_HOLD = 2


class Held:
    """A place in a job's way at which it stops until it is let go."""

    def __init__(self):
        self.reached, self.released = threading.Event(), threading.Event()

    def __call__(self, *_):
        self.reached.set()
        assert self.released.wait(PATIENCE_SECONDS)


class HeldGenerator(CountingGenerator):
    """Stops in the phase named, where a case has put a place to stop."""

    def __init__(self, phase):
        super().__init__(on_step=self._at_step, on_decode=self._at_decode)
        self.phase = phase
        self.held = None
        self.first_step = 0

    def hold(self):
        """Return a new place to stop at."""
        self.held, self.first_step = Held(), self.calls["step"]
        return self.held

    def feed(self, state, audio):
        if self.phase == "priming":
            self.held()
        return super().feed(state, audio)

    def _at_step(self, step):
        at = {"queued": 0, "generating": STEPS_BEFORE_HOLD}.get(self.phase)
        if step - self.first_step == at:
            self.held()

    def _at_decode(self, _):
        if self.phase == "decoding":
            self.held()


class Caller:
    """A gRPC call in a thread of its own, and how it ended."""

    def __init__(self, address, asked, timeout=None):
        self.channel = grpc.insecure_channel(address)
        stub = bridge_pb2_grpc.BridgeStub(self.channel)
        messages = [bridge_pb2.ContinueRequest(header=header_of(asked))]
        messages += [bridge_pb2.ContinueRequest(audio=block) for block in audio_of(asked)]
        self.call = stub.Continue(iter(messages), timeout=timeout)
        self.code = None
        self.done = None
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        try:
            for event in self.call:
                if event.WhichOneof("event") == "done":
                    self.done = event.done
            self.code = grpc.StatusCode.OK
        except grpc.RpcError as error:
            self.code = error.code()

    def ended(self):
        self.thread.join(PATIENCE_SECONDS)
        assert not self.thread.is_alive()
        self.channel.close()
        return self.code


class Case:
    """One job that stops in a phase, and whoever asked for it."""

    def __init__(self, served, generator, way, normal):
        self.served, self.generator, self.way = served, generator, way
        self.phase = generator.phase
        self.name = f"by {way}"
        self.held = generator.hold()
        self.asker = Asker(served.app.osc_port)
        asked = replace(normal, request_id=self.name, plan=Plan(seed=1 + WAYS.index(way)))
        self.before = None
        if self.phase == "queued":
            self.before = Caller(served.address, replace(normal, write_file=False))
            assert self.held.reached.wait(PATIENCE_SECONDS)
        self.caller = self._started(asked)
        self.job = next(job for job in self._jobs() if job.request_id == self.name)

    def _jobs(self):
        return self.served.on_loop(self.served.engine.jobs())

    def _started(self, asked):
        """Return the call once its job is in the phase; None if it was asked for by OSC."""
        if self.way == "osc":
            pair = ("num_samples", str(asked.num_samples))
            self.asker.send("/jukebox/continue", "ssss", self.name, "prime.wav", *pair)
            self._in_phase()
            return None
        # A deadline that a busy machine misses before the phase is tried again, further away.
        for timeout in (1.0, 5.0, 25.0) if self.way == "deadline" else (None,):
            caller = Caller(self.served.address, asked, timeout)
            if self._in_phase(caller):
                break
        return caller

    def _in_phase(self, caller=None):
        pause = threading.Event()
        for _ in range(PATIENCE_SECONDS * 200):
            here = any(job.request_id == self.name and not job.state.ended for job in self._jobs())
            if here and self.held.reached.is_set():
                return True
            if caller is not None and not caller.thread.is_alive():
                return False
            pause.wait(0.005)
        raise AssertionError(f"{self.name} never came to {self.phase}")

    def cancel(self, eventually):
        """Cancel the job while it holds, and let it go on once the server has heard of it."""
        act = {
            "call": lambda: self.caller.call.cancel(),
            "verb": lambda: verb_cancels(self.served, self.job.id),
            "osc": lambda: self.asker.send("/jukebox/cancel", "s", self.name),
            "disconnect": lambda: self.caller.channel.close(),
            "deadline": lambda: self.caller.ended(),
        }[self.way]
        canceller = threading.Thread(target=act)
        canceller.start()
        eventually(lambda: is_cut(self.served, self.job.id))
        steps = self.generator.calls["step"]
        self.held.released.set()
        canceller.join(PATIENCE_SECONDS)
        assert not canceller.is_alive()
        if self.before is not None:
            assert self.before.ended() is grpc.StatusCode.OK
            return None
        return steps

    def last_word(self):
        """Return how whoever asked was told that it is over."""
        if self.caller is not None:
            return self.caller.ended()
        while True:
            address, values = self.asker.receive()
            if values[:2] == ["/jukebox/continue", self.name] and address.endswith(
                ("done", "fail")
            ):
                return address


def expected(way, phase):
    """Return the last word; what is being written is written whole, and is told if one listens."""
    if way == "osc":
        return "/jukebox/done" if phase == "keeping" else "/jukebox/fail"
    if way == "verb" and phase == "keeping":
        return grpc.StatusCode.OK
    return grpc.StatusCode.DEADLINE_EXCEEDED if way == "deadline" else grpc.StatusCode.CANCELLED


@pytest.mark.parametrize("phase", PHASES)
def test_the_computing_stops_and_nothing_half_written_is_left(
    phase, serve, silence, eventually, monkeypatch, tmp_path
):
    generator = HeldGenerator(phase)
    served = serve(generator, max_jobs=1, cache_bytes=0)
    store = served.engine.store
    finish = store.finish
    if phase == "keeping":
        monkeypatch.setattr(store, "finish", lambda *given: (generator.held(), finish(*given)))
    clip = AudioClip(samples=np.zeros((1, 5_000), np.float32), sample_rate=44_100)
    write_audio(tmp_path / "spool" / "prime.wav", clip, 0, NOBODY)
    normal = silence(num_samples=30_000, write_file=True, draw_seed=False, plan=Plan(seed=1))
    for way in WAYS:
        case = Case(served, generator, way, normal)
        steps = case.cancel(eventually)
        assert case.last_word() == expected(way, phase), way
        served.on_loop(served.engine.idle())
        case.asker.socket.close()
        # At most the step in flight came to its end.
        assert steps is None or generator.calls["step"] <= steps + 1, way
        check_remains(served, case.job.id, tmp_path / "spool", is_done=phase == "keeping")
    generator.phase = "none"
    monkeypatch.setattr(store, "finish", finish)
    after = Caller(served.address, replace(normal, request_id="after", plan=Plan(seed=5)))
    assert after.ended() is grpc.StatusCode.OK
    assert store.load(after.done.take_id).sha256 == after.done.sha256


def test_the_trial_of_a_prime_is_one_turn_of_half_a_second(serve, connect, silence):
    tried = []

    class Trying(CountingGenerator):
        def fidelity(self, audio):
            tried.append(len(audio))
            return len(tried) / 4

    client = connect(serve(Trying(counting_info(context_samples=10 * 44_100))))
    result = client.render(silence(prime_samples=4 * 44_100))
    assert result.accepted.codec_fidelity == 0.25
    result = client.render(silence(prime_samples=8_960))
    assert result.accepted.codec_fidelity == 0.5
    assert tried == [22_050, 8_960]


def verb_cancels(served, job_id):
    with grpc.insecure_channel(served.address) as channel:
        return bridge_pb2_grpc.BridgeStub(channel).Cancel(bridge_pb2.CancelRequest(job_id=job_id))


def is_cut(served, job_id):
    """Return whether the server has heard of the cancel, while the step in flight still runs."""
    roster = served.engine._roster
    job = roster.find(job_id)
    return job is None or job.session.reason is not None


def check_remains(served, job_id, spool, *, is_done):
    """Assert that a job is over as it should, and that files and database hold nothing else."""
    store = served.engine.store
    info = served.on_loop(served.engine.job(job_id))
    assert info.state == ("done" if is_done else "cancelled")
    assert store.check() == ()
    assert [path for path in spool.rglob("*") if "part" in path.suffixes] == []
    assert not list(spool.rglob("*.unfinished*"))
    written = {path.stem for path in spool.glob("results/*.wav")}
    assert written <= set(store.ids())
    if is_done:
        take = store.load(info.take_id)
        assert take.num_samples == info.num_samples
        assert info.take_id in written
