"""A real channel, a generator that counts: what is said, what is refused, what is stopped."""

import threading
from contextlib import closing

import grpc
import numpy as np
import pytest
from fakes import ALL_CONDITIONS, CountingGenerator, counting_info, ramp
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from bridge import grpc_service
from bridge.errors import BusyError
from bridge.messages import MAX_OUTGOING_BYTES
from bridge.ports import Conditions, StemKind
from bridge.request import AudioBlock
from model.errors import ConditionError, LabelError
from protos import bridge_pb2, bridge_pb2_grpc

PRIME = bridge_pb2.ROLE_PRIME
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def channel():
    """Return a function that opens a raw channel, closed at the end."""
    channels = []

    def opened(served):
        channels.append(grpc.insecure_channel(served.address))
        return channels[-1]

    yield opened
    for one in channels:
        one.close()


def header(**changes):
    fields = {
        "format": bridge_pb2.AudioFormat(sample_rate=48_000, num_channels=2),
        "prime_samples": 1_000,
        "target": bridge_pb2.Target(num_samples=4_000),
    }
    return bridge_pb2.ContinueHeader(**(fields | changes))


def block(num_samples=1_000, **changes):
    data = np.zeros(2 * num_samples, np.float32).tobytes()
    return bridge_pb2.AudioBlock(**({"role": PRIME, "samples": data} | changes))


def bars(**change):
    return bridge_pb2.Target(bars=4, tempo_map=[bridge_pb2.TempoChange(**change)])


def notes(**note):
    fields = {"start_sample": 0, "end_sample": 10, "pitch": 60, "velocity": 64} | note
    midi = bridge_pb2.MidiPart(notes=[bridge_pb2.Note(**fields)], end_sample=100)
    return bridge_pb2.Conditions(midi=midi)


def stem(kind=bridge_pb2.STEM_KIND_BASS, num_samples=1_000, start_sample=0):
    return bridge_pb2.StemClaim(kind=kind, num_samples=num_samples, start_sample=start_sample)


REFUSED_HEADERS = {
    "3 GB of prime": (
        header(prime_samples=400_000_000),
        ["400000000 samples", "3200000000 bytes", "28800000 samples"],
    ),
    "empty prime": (header(prime_samples=0), ["0 samples", "at least 1"]),
    "negative prime": (header(prime_samples=-5), ["-5 samples", "28800000"]),
    "odd rate": (
        header(format=bridge_pb2.AudioFormat(sample_rate=22_050, num_channels=1)),
        ["22050 Hz", "44100"],
    ),
    "six channels": (
        header(format=bridge_pb2.AudioFormat(sample_rate=48_000, num_channels=6)),
        ["6 channels", "1 to 2"],
    ),
    "no format": (header(format=None), ["0 Hz"]),
    "0 bpm": (header(target=bars(tempo_bpm=0)), ["0 bpm", "10 to 999 bpm"]),
    "NaN bpm": (header(target=bars(tempo_bpm=float("nan"))), ["nan"]),
    "odd meter": (
        header(target=bars(tempo_bpm=120, meter_numerator=4, meter_denominator=3)),
        ["1/3 note"],
    ),
    "bars without tempo": (header(target=bridge_pb2.Target(bars=4)), ["0 entries"]),
    "no length": (header(target=None), ["num_samples", "bars"]),
    "no result": (header(target=bridge_pb2.Target(num_samples=0)), ["0 samples", "1 to"]),
    "a day of result": (
        header(target=bridge_pb2.Target(num_samples=10**10)),
        ["10000000000 samples", "28800000 samples"],
    ),
    "hot": (header(plan=bridge_pb2.Plan(temperature=11)), ["temperature is 11", "0.01 to 10"]),
    "NaN top_p": (header(plan=bridge_pb2.Plan(top_p=float("nan"))), ["top_p is nan"]),
    "unknown quality": (header(plan=bridge_pb2.Plan(quality=9)), ["quality is 9"]),
    "unknown target": (header(conditions=bridge_pb2.Conditions(target=77)), ["kind is 77"]),
    "pitch": (header(conditions=notes(pitch=128)), ["128", "0 to 127"]),
    "backward note": (header(conditions=notes(end_sample=0)), ["note 0", "sample 0"]),
    "stem of no kind": (header(stems=[stem(kind=0)]), ["stem kind is 0"]),
    "two basses": (header(stems=[stem(), stem()]), ["2 stems", "bass"]),
    "long stem": (header(stems=[stem(num_samples=10**9)]), ["1000000000 samples", "bass stem"]),
    "all too much": (
        header(
            prime_samples=28_000_000,
            stems=[stem(num_samples=57_000_000), stem(bridge_pb2.STEM_KIND_DRUMS, 57_000_000)],
        ),
        ["bytes of audio", str(512 * 1024**2)],
    ),
    "long suffix": (header(suffix_samples=10**9), ["1000000000 samples", "suffix"]),
    "far away": (header(prime_start_sample=2**62), [str(2**62), str(2**53)]),
    "far grid": (header(anchor_sample=-(2**62)), [str(-(2**62))]),
    "long id": (header(request_id="x" * 129), ["129 characters", "128"]),
}


@pytest.mark.parametrize("case", REFUSED_HEADERS)
def test_a_bad_header_is_refused_before_any_audio(case, serve, channel):
    served = serve()
    bad, words = REFUSED_HEADERS[case]
    ended = threading.Event()

    def request():
        yield bridge_pb2.ContinueRequest(header=bad)
        ended.wait()

    call = bridge_pb2_grpc.BridgeStub(channel(served)).Continue(request())
    try:
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
    finally:
        ended.set()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [word for word in words if word not in caught.value.details()] == []


def audio(**changes):
    return bridge_pb2.ContinueRequest(audio=block(**changes))


def first(**changes):
    return bridge_pb2.ContinueRequest(header=header(**changes))


NAN = np.full(2_000, np.nan, np.float32).tobytes()
REFUSED_STREAMS = {
    "nothing": ([], ["header"]),
    "no header": ([audio()], ["header"]),
    "two headers": ([first(), first()], ["only audio"]),
    "no audio": ([first()], ["0 samples of the prime", "1000 samples"]),
    "less than claimed": ([first(), audio(num_samples=999)], ["999 samples", "1000 samples"]),
    "more than claimed": ([first(), audio(num_samples=1_001)], ["1001 samples", "1000 samples"]),
    "a gap": (
        [first(), audio(num_samples=10), audio(num_samples=10, start_sample=11)],
        ["10", "11"],
    ),
    "NaN": ([first(), audio(samples=NAN)], ["2000 samples", "NaN"]),
    "torn": ([first(), audio(samples=b"x" * 7)], ["7 bytes", "8 bytes"]),
    "large": ([first(), audio(samples=b"\0" * (2**20 + 8))], ["1048584 bytes", "1048576 bytes"]),
    "no role": ([first(), audio(role=0)], ["role 0", "prime"]),
    "result": ([first(), audio(role=bridge_pb2.ROLE_RESULT)], ["role 4"]),
    "suffix not claimed": ([first(), audio(role=bridge_pb2.ROLE_SUFFIX)], ["role 3", "prime"]),
    "stem not claimed": (
        [first(stems=[stem()]), audio(role=bridge_pb2.ROLE_STEM, stem=bridge_pb2.STEM_KIND_DRUMS)],
        ["stem kind 2", "bass stem"],
    ),
    "stem missing": ([first(stems=[stem()]), audio()], ["0 samples of the bass stem"]),
    "grid after the prime": ([first(anchor_sample=1_000), audio()], ["1000", "999"]),
}


@pytest.mark.parametrize("case", REFUSED_STREAMS)
def test_a_bad_stream_is_refused_with_value_and_limit(case, serve, channel):
    generator = CountingGenerator()
    served = serve(generator)
    sent, words = REFUSED_STREAMS[case]
    with pytest.raises(grpc.RpcError) as caught:
        list(bridge_pb2_grpc.BridgeStub(channel(served)).Continue(iter(sent)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [word for word in words if word not in caught.value.details()] == []
    assert generator.calls["step"] == 0


@pytest.mark.parametrize("num_channels", [1, 2])
def test_the_result_counts_on_from_the_splice(num_channels, serve, connect, silence):
    result = connect(serve()).render(silence(num_channels, prime_start_sample=77))
    splice = result.accepted.splice_sample
    assert splice == 77 + 5_000
    expected = ramp(splice - result.accepted.anchor_sample, 20_001)
    np.testing.assert_array_equal(result.audio, np.stack([expected] * num_channels))


def test_stems_suffix_and_labels_reach_the_model_where_they_belong(serve, connect, silence):
    generator = CountingGenerator()
    served = serve(generator)
    stems = {StemKind.BASS: np.full((2, 6_000), 0.5, np.float32)}
    stems[StemKind.BASS][1] = 0.25
    suffix = np.full((2, 300), 0.125, np.float32)
    connect(served).render(silence(2, stems=stems, suffix=suffix, prime_start_sample=1_000))
    conditions, anchor = generator.opened[-1]
    (bass,) = conditions.stems
    assert bass.kind is StemKind.BASS
    assert bass.start_sample == 0
    np.testing.assert_array_equal(bass.samples, np.float32(0.375).repeat(6_000 + 1_000 - anchor))
    np.testing.assert_array_equal(conditions.suffix.samples, np.float32(0.125).repeat(300))


def test_a_large_block_travels_in_pieces(serve, connect, silence, channel):
    served = serve(CountingGenerator(counting_info(block_samples=400_000)))
    continuation = silence(2, num_samples=500_000)
    with closing(connect(served).events(continuation)) as events:
        sizes = [event.samples.nbytes for event in events if isinstance(event, AudioBlock)]
    assert sum(sizes) == 500_000 * 2 * 4
    assert max(sizes) <= MAX_OUTGOING_BYTES


@pytest.mark.parametrize(
    ("condition", "changes"),
    [
        ("suffix", {"suffix": np.zeros((1, 10), np.float32)}),
        ("stems", {"stems": {StemKind.DRUMS: np.zeros((1, 10), np.float32)}}),
        ("lyrics", {"conditions": Conditions(lyrics="la")}),
        ("target:bass", {"conditions": Conditions(target=StemKind.BASS)}),
    ],
)
def test_what_the_model_cannot_use_is_refused_by_name(condition, changes, serve, silence, channel):
    info = counting_info(supports=ALL_CONDITIONS - {condition})
    error = refusal(serve(CountingGenerator(info)), silence(**changes), channel)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert condition in error.details()


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (LabelError("the artist is 'Nobody', known are Bach"), grpc.StatusCode.NOT_FOUND),
        (ConditionError("lyrics"), grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_an_error_of_the_model_gets_its_row(raised, code, serve, silence, channel):
    class Refusing(CountingGenerator):
        def open(self, conditions, anchor_sample, end_sample):
            raise raised

    error = refusal(serve(Refusing()), silence(), channel)
    assert error.code() is code
    assert error.details() == str(raised)


def test_another_failure_is_internal_and_goes_to_the_log(serve, silence, channel, caplog):
    def fail(step):
        raise ZeroDivisionError("secret")

    error = refusal(serve(CountingGenerator(on_step=fail)), silence(), channel)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "internal error"
    assert "secret" in caplog.text


def test_another_model_is_refused(serve, silence, channel):
    error = refusal(serve(), silence(model="large"), channel)
    assert error.code() is grpc.StatusCode.NOT_FOUND


BLAMED = {
    "header.plan.top_p": header(plan=bridge_pb2.Plan(top_p=2)),
    "header.format": header(format=None),
    "header.target": header(target=None),
    "header.request_id": header(request_id="x" * 129),
    "header.idempotency_key": header(idempotency_key="x" * 129),
    "header.anchor_sample": header(anchor_sample=-(2**62)),
    "header.prime_samples": header(prime_samples=0),
    "header.stems": header(stems=[stem(num_samples=10**9)]),
    "header.conditions.midi.notes[0].pitch": header(conditions=notes(pitch=128)),
    "header.conditions.energy_per_bar[1]": header(
        conditions=bridge_pb2.Conditions(energy_per_bar=[0, 2])
    ),
}


@pytest.mark.parametrize("field", BLAMED)
def test_a_refusal_names_the_field_and_its_reason(field, serve, channel):
    sent = [bridge_pb2.ContinueRequest(header=BLAMED[field])]
    with pytest.raises(grpc.RpcError) as caught:
        list(bridge_pb2_grpc.BridgeStub(channel(serve())).Continue(iter(sent)))
    info, bad = details_of(caught.value)
    assert (info.reason, info.domain) == ("INVALID_REQUEST", "jukebox-bridge")
    (violation,) = bad.field_violations
    assert violation.field == field
    assert violation.description == caught.value.details()


def details_of(error):
    """Return the ErrorInfo and the second detail of a status, as any client would read them."""
    trailing = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    kinds = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
    found = []
    for packed in status.details:
        kind = next(kind for kind in kinds if packed.Is(kind.DESCRIPTOR))
        found.append(kind.FromString(packed.value))
    return found


def test_generate_needs_no_prime_and_begins_where_it_is_told(serve, channel):
    generator = CountingGenerator()
    stub = bridge_pb2_grpc.BridgeStub(channel(serve(generator)))
    asked = first(prime_samples=0, prime_start_sample=500)
    accepted, audio, done = told(stub.Generate(iter([asked])))
    assert (accepted.splice_sample, accepted.expected_samples) == (500, 4_000)
    assert sum(len(block.samples) for block in audio) == 4_000 * 2 * 4
    assert done.num_samples == 4_000
    assert generator.fed == []
    with pytest.raises(grpc.RpcError, match="1000 samples of prime, here 0 are allowed"):
        list(stub.Generate(iter([first()])))


def test_render_midi_plays_the_part_in_its_place_after_the_prime(serve, channel):
    generator = CountingGenerator()
    stub = bridge_pb2_grpc.BridgeStub(channel(serve(generator)))
    part = bridge_pb2.MidiPart(
        notes=[bridge_pb2.Note(start_sample=9_000, end_sample=9_500, pitch=60, velocity=64)],
        start_sample=9_000,
        end_sample=12_000,
    )
    conditions = bridge_pb2.Conditions(midi=part)
    sent = [first(conditions=conditions, target=None), audio(start_sample=8_000)]
    accepted, _, done = told(stub.RenderMidi(iter(sent)))
    assert (accepted.splice_sample, accepted.expected_samples) == (9_000, 3_000)
    assert done.num_samples == 3_000
    ((heard, anchor),) = generator.opened
    assert 8_000 <= anchor < 9_000
    assert len(heard.midi.notes) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "none was given"),
        ({"conditions": notes(), "prime_start_sample": 3}, "sample 3"),
        ({"conditions": notes(), "anchor_sample": 7}, "anchor at 7"),
    ],
)
def test_render_midi_without_a_part_or_with_a_place_of_its_own_is_refused(
    changes, words, serve, channel
):
    stub = bridge_pb2_grpc.BridgeStub(channel(serve()))
    with pytest.raises(grpc.RpcError, match=words):
        list(stub.RenderMidi(iter([first(**changes)])))


def told(events):
    """Return what a call said at its beginning, its audio blocks, and its end."""
    accepted, blocks, done = None, [], None
    for event in events:
        match event.WhichOneof("event"):
            case "accepted":
                accepted = event.accepted
            case "audio":
                blocks.append(event.audio)
            case "done":
                done = event.done
            case _:
                pass
    return accepted, blocks, done


def test_a_call_s_deadline_and_its_caller_reach_the_engine(serve, channel, monkeypatch):
    served = serve()
    asked = []
    render = served.engine.render
    monkeypatch.setattr(
        served.engine, "render", lambda asking: asked.append(asking) or render(asking)
    )
    stub = bridge_pb2_grpc.BridgeStub(channel(served))
    named = [("jukebox-client", "desk")]
    list(stub.Continue(iter([first(), audio()]), timeout=600, metadata=named))
    list(stub.Continue(iter([first(detached=True), audio()]), timeout=600))
    list(stub.Continue(iter([first(idempotency_key="k"), audio()])))
    # On the wire a deadline of more than 100 s is in whole seconds, rounded up.
    assert 0 < asked[0].deadline_s <= 601
    assert (asked[1].deadline_s, asked[2].deadline_s) == (None, None)
    assert asked[0].client_id == "grpc:local/desk"
    assert asked[1].client_id.startswith("grpc:local/ipv4:127.0.0.1:")
    assert [request.idempotency_key for request in asked] == ["", "", "local/k"]
    with pytest.raises(grpc.RpcError, match="jukebox-client has 129 characters"):
        list(stub.Continue(iter([first(), audio()]), metadata=[("jukebox-client", "x" * 129)]))


def test_every_verb_of_the_proto_has_its_handler():
    assert set(grpc_service.VERBS) == {method.name for method in grpc_service.DESCRIPTOR.methods}


def test_a_model_is_listed_unloaded_and_loaded_again(serve, channel, silence):
    served = serve()
    line = channel(served)
    stub = bridge_pb2_grpc.BridgeStub(line)
    assert statuses(line, "model/counting") == {SERVING}
    assert stub.ListStyles(bridge_pb2.ListStylesRequest()).artists == ["Bach"]
    assert not stub.UnloadModel(bridge_pb2.UnloadModelRequest(name="counting")).loaded
    assert statuses(line, "model/counting") == statuses(line) == {NOT_SERVING}
    (listed,) = stub.ListModels(bridge_pb2.ListModelsRequest()).models
    assert not listed.loaded
    error = refusal(served, silence(), channel)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "LoadModel" in error.details()
    assert stub.LoadModel(bridge_pb2.LoadModelRequest()).loaded
    assert statuses(line, "model/counting") == statuses(line) == {SERVING}
    assert told(stub.Continue(iter([first(), audio()])))[2].num_samples == 4_000
    for ask in (
        lambda: stub.LoadModel(bridge_pb2.LoadModelRequest(name="large")),
        lambda: stub.UnloadModel(bridge_pb2.UnloadModelRequest(name="large")),
        lambda: stub.ListStyles(bridge_pb2.ListStylesRequest(model="large")),
    ):
        with pytest.raises(grpc.RpcError, match="known: counting") as caught:
            ask()
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_until_the_model_is_warm_the_server_says_not_serving(listen, channel, silence):
    loaded = threading.Event()

    def load():
        loaded.wait()
        return CountingGenerator()

    served = listen(load)
    try:
        assert statuses(channel(served)) == {NOT_SERVING}
        error = refusal(served, silence(), channel)
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "loading" in error.details()
    finally:
        loaded.set()
    served.serve()
    assert statuses(channel(served)) == {SERVING}


def test_reflection_and_the_list_of_models_tell_what_is_there(serve, channel):
    line = channel(serve())
    stub = reflection_pb2_grpc.ServerReflectionStub(line)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub.ServerReflectionInfo(iter([asked]))
    names = {service.name for service in answer.list_services_response.service}
    assert "jukebox.bridge.v1.Bridge" in names
    answer = bridge_pb2_grpc.BridgeStub(line).ListModels(bridge_pb2.ListModelsRequest())
    assert [(model.name, list(model.artists)) for model in answer.models] == [
        ("counting", ["Bach"])
    ]


def test_ending_a_call_stops_the_steps(serve, connect, silence, eventually):
    held, reached = threading.Event(), threading.Event()

    def hold(step):
        if step == 9:
            reached.set()
            held.wait()

    generator = CountingGenerator(on_step=hold)
    served = serve(generator)
    events = connect(served).events(silence(num_samples=44_100 * 60))
    next(events)
    assert reached.wait(30)
    events.close()
    eventually(lambda: served.engine.stats().cancelled_jobs == 1)
    held.set()
    served.on_loop(served.engine.idle())
    assert generator.calls["step"] == 10
    assert served.engine.stats().running_jobs == 0


def test_a_deadline_that_passes_stops_the_steps(serve, channel, eventually):
    held = threading.Event()
    generator = CountingGenerator(on_step=lambda step: held.wait() if step == 5 else None)
    served = serve(generator)
    sent = [first(target=bridge_pb2.Target(num_samples=10**6)), audio()]
    call = bridge_pb2_grpc.BridgeStub(channel(served)).Continue(iter(sent), timeout=3.0)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: served.engine.stats().cancelled_jobs == 1)
    held.set()
    served.on_loop(served.engine.idle())
    # Six where the machine is quick enough; 1,350 would make the whole result.
    assert 0 < generator.calls["step"] <= 6


def test_all_calls_together_may_send_so_much(monkeypatch, serve, channel):
    monkeypatch.setattr(grpc_service, "MAX_UPLOADS_BYTES", 7_999)
    with pytest.raises(grpc.RpcError) as caught:
        list(bridge_pb2_grpc.BridgeStub(channel(serve())).Continue(iter([first(), audio()])))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "8000 bytes" in caught.value.details()
    assert "7999 bytes" in caught.value.details()
    info, retry = details_of(caught.value)
    assert info.reason == "BUSY"
    assert retry.retry_delay.ToTimedelta().total_seconds() > 0


def test_a_port_in_use_is_refused_and_not_shared(serve, listen):
    served = serve()
    with pytest.raises(BusyError, match=f"TCP port {served.app.port} on 127.0.0.1 is in use"):
        listen(port=served.app.port)


def refusal(served, continuation, channel):
    """Return the status that a continuation ends with, before the client makes words of it."""
    from bridge.continuation import audio_of, header_of

    messages = [bridge_pb2.ContinueRequest(header=header_of(continuation))]
    messages += [bridge_pb2.ContinueRequest(audio=block) for block in audio_of(continuation)]
    with pytest.raises(grpc.RpcError) as caught:
        list(bridge_pb2_grpc.BridgeStub(channel(served)).Continue(iter(messages)))
    return caught.value


def statuses(channel, *names):
    check = health_pb2_grpc.HealthStub(channel).Check
    names = names or ("", "jukebox.bridge.v1.Bridge")
    return {check(health_pb2.HealthCheckRequest(service=name)).status for name in names}
