"""The whole put together: the model behind the port, the error table, start and stop."""

import asyncio
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import CountingGenerator, counting_info

import model.errors as model_errors
import plugin_host.errors as plugin_errors
from bridge.app import (
    ERROR_ROWS,
    App,
    ShippedGenerator,
    TranslatedGenerator,
    embedded_server,
    open_chain,
    shipped_model,
    translated_errors,
)
from bridge.app.numbers import known_of, sampling_plan_of
from bridge.app.server import SWITCH_SECONDS
from bridge.client import Client, Continuation
from bridge.config import private_config
from bridge.errors import (
    BridgeError,
    BusyError,
    InvalidRequestError,
    NotFoundError,
    NotReadyError,
    StoppingError,
    UnsupportedError,
)
from bridge.ports import (
    Conditions,
    Labels,
    MidiPart,
    Note,
    Plan,
    Quality,
    Section,
    Stem,
    StemKind,
    Suffix,
    Timing,
)
from bridge.transport import Meter, pulse_of, steady
from model.bundle import Card, empty_bundle
from model.generator import StreamingGenerator
from model.shipped import TINY
from model.store import Provenance, save_bundle

CARD = Card(
    name=TINY.name,
    fingerprint="tiny-1",
    artists=("bach", "joplin"),
    genres=("chorale",),
    licence="test",
    output_licence="public domain",
)


@pytest.fixture(scope="module")
def tiny():
    """Return an untrained model of the smallest size."""
    torch.manual_seed(0)
    return empty_bundle(TINY, CARD)


@pytest.fixture
def weights(tiny, tmp_path):
    """Return a folder of weights."""
    folder = tmp_path / "weights"
    provenance = Provenance(
        artists=CARD.artists,
        genres=CARD.genres,
        licence=CARD.licence,
        output_licence=CARD.output_licence,
        recipe={},
        figures={},
    )
    save_bundle(tiny, folder, provenance)
    return folder


def embedded(tmp_path, load, **changes):
    return embedded_server(replace(private_config(tmp_path / "spool"), **changes), load)


@pytest.mark.parametrize("quality", [Quality.FAST, Quality.TEACHER])
def test_a_real_model_answers_over_grpc_and_repeats_its_bytes(quality, weights, tmp_path):
    random = np.random.default_rng(1)
    note = Note(start_sample=0, end_sample=9_000, pitch=60, velocity=80, program=40)
    asked = Continuation(
        prime=(0.1 * random.standard_normal((2, 30_001))).astype(np.float32),
        sample_rate=48_000,
        num_samples=1_003,
        conditions=Conditions(
            labels=Labels(artist="joplin", genre="chorale"),
            midi=MidiPart(notes=(note,), start_sample=0, end_sample=40_000),
        ),
        stems={StemKind.BASS: np.zeros((2, 30_000), np.float32)},
        plan=Plan(seed=11, quality=quality),
        draw_seed=False,
    )
    hashes = set()
    for run in range(2):
        with (
            embedded(tmp_path / str(run), shipped_model(weights)) as address,
            Client(address) as client,
        ):
            result = client.render(asked)
            assert result.audio.shape == (2, 1_003)
            assert np.isfinite(result.audio).all()
            assert result.accepted.model == TINY.name
            hashes.add(result.done.sha256)
    assert len(hashes) == 1


def test_no_layer_of_a_served_model_waits_long_for_threads_of_python(weights, tmp_path):
    sys.setswitchinterval(0.005)
    with embedded(tmp_path, shipped_model(weights)):
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)


def test_the_model_tells_what_it_can_do(tiny):
    info = ShippedGenerator(StreamingGenerator(tiny)).info
    assert (info.name, info.sample_rate, info.frame_samples) == (TINY.name, 44_100, 128)
    assert {"midi", "stems", "timing", "artist", "target:bass", "changes"} <= info.supports
    assert {"quality:fast", "quality:exact", "quality:teacher"} <= info.supports
    assert {"suffix", "energy", "density", "sections", "guidance"} <= info.supports
    assert "lyrics" not in info.supports
    assert info.passes == TINY.student.passes
    assert (info.artists, info.licence) == (CARD.artists, CARD.licence)


def test_names_become_rows_of_the_model():
    info = counting_info(artists=("bach", "joplin"), genres=("chorale",))
    drum = Note(start_sample=3, end_sample=9, pitch=38, velocity=100, program=5, is_drum=True)
    tone = Note(start_sample=1, end_sample=5, pitch=60, velocity=70, program=5)
    stem = Stem(kind=StemKind.OTHER, start_sample=7, samples=np.zeros(3, np.float32))
    known = known_of(
        Conditions(
            labels=Labels(artist="joplin"),
            timing=Timing(total_samples=90, offset_samples=30),
            midi=MidiPart(notes=(tone, drum), start_sample=-2, end_sample=50),
            stems=(stem,),
            target=StemKind.BASS,
        ),
        info,
    )
    assert (known.artist, known.genre, known.target) == (2, 0, 2)
    assert (known.total_samples, known.offset_samples) == (90, 30)
    assert known.notes.tolist() == [[1, 5, 60, 70, 5, 0], [3, 9, 38, 100, 128, 0]]
    assert known.notes_span == (-2, 50)
    assert [(given.kind, given.start_sample) for given in known.stems] == [(4, 7)]
    nothing = known_of(Conditions(), info)
    assert (nothing.artist, nothing.notes.shape, nothing.notes_span) == (0, (0, 6), None)


def test_a_plan_keeps_every_number():
    plan = Plan(
        seed=5,
        quality=Quality.TEACHER,
        variation=2,
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        passes=3,
    )
    made = sampling_plan_of(plan)
    assert (made.seed, made.teacher, made.variation) == (5, True, 2)
    assert (made.temperature, made.top_p, made.top_k, made.passes) == (0.5, 0.9, 7, 3)
    assert sampling_plan_of(Plan(seed=0)).teacher is False


SUFFIX = Suffix(start_sample=900, samples=np.zeros(2, np.float32))


@pytest.mark.parametrize(
    ("conditions", "error", "words"),
    [
        (Conditions(labels=Labels(artist="nobody")), NotFoundError, "'nobody'.*bach"),
        (Conditions(labels=Labels(genre="polka")), NotFoundError, "'polka'.*chorale"),
        (Conditions(suffix=SUFFIX, target=StemKind.BASS), UnsupportedError, "for a part.*suffix"),
        (Conditions(lyrics="la"), UnsupportedError, "lyrics"),
        (Conditions(energy_per_bar=(0.5,)), InvalidRequestError, "energy.*no tempo map"),
        (Conditions(density_per_bar=(0.5,)), InvalidRequestError, "density.*no tempo map"),
        (
            Conditions(
                sections=(Section(name="A", start_sample=0, end_sample=1),),
                stems=(Stem(kind=StemKind.BASS, start_sample=0, samples=SUFFIX.samples),),
            ),
            UnsupportedError,
            "beside stems.*sections",
        ),
    ],
)
def test_what_the_model_cannot_use_is_named(conditions, error, words):
    with pytest.raises(error, match=words):
        known_of(conditions, counting_info(artists=("bach",), genres=("chorale",)))


def test_form_and_curves_become_numbers_of_the_model():
    points = pulse_of(steady(44_100, 120, Meter(numerator=3), origin_sample=-500))
    names = (("A", 0), ("B", 10), ("A", 20), ("C", 30), ("A", 40))
    sections = tuple(
        Section(name=name, start_sample=start, end_sample=start + 10, similarity=0.5)
        for name, start in names
    )
    known = known_of(
        Conditions(
            pulse=points,
            energy_per_bar=(0.0, 0.5, 1.0),
            density_per_bar=(0.0, 0.5, 1.0),
            sections=sections,
            suffix=SUFFIX,
        ),
        counting_info(),
    )
    assert known.pulse.knots.tolist() == [[-500.0, 0.0, 0.0, 22_050.0, 3.0]]
    assert (known.energy, known.density) == ((-12.0, 0.0, 12.0), (0.0, 2.0, 8.0))
    assert known.curves_sample == -500
    echoes = [(echo.start_sample, echo.end_sample, echo.source_sample) for echo in known.echoes]
    assert echoes == [(20, 30, 0), (40, 50, 0)]
    assert {echo.similarity for echo in known.echoes} == {0.5}
    assert (known.suffix.start_sample, len(known.suffix.samples)) == (900, 2)
    told = replace(Conditions(), pulse=points, curves_sample=77, energy_per_bar=(0.1,))
    assert known_of(told, counting_info()).curves_sample == 77


@pytest.mark.parametrize("quality", [Quality.TEACHER, Quality.EXACT])
def test_a_plan_that_the_model_cannot_follow_is_refused(quality):
    with pytest.raises(UnsupportedError, match=f"guidance is 2, quality {quality}"):
        sampling_plan_of(Plan(seed=0, guidance=2.0, quality=quality))
    assert sampling_plan_of(Plan(seed=0, guidance=2.0)).guidance == 2.0


def test_an_error_takes_the_row_of_its_nearest_class():
    class Torn(model_errors.CheckpointError):
        pass

    with pytest.raises(NotReadyError, match="top lacks x") as caught, translated_errors():
        raise Torn("top lacks x")
    assert isinstance(caught.value.__cause__, Torn)
    refused = plugin_errors.UnknownParameterError("no gain", value="gain", limit="mix")
    with pytest.raises(InvalidRequestError, match="no gain"), translated_errors():
        raise refused
    with pytest.raises(ZeroDivisionError), translated_errors():
        raise ZeroDivisionError
    assert all(issubclass(row, BridgeError) for row in ERROR_ROWS.values())


@pytest.mark.parametrize(
    "call",
    [
        lambda it: it.open(Conditions(), 0, None),
        lambda it: it.feed(None, None),
        lambda it: it.step([], Plan(seed=0)),
        lambda it: it.steps_per_second(Plan(seed=0)),
        lambda it: it.decode(None, 0),
        lambda it: it.fidelity(None),
        lambda it: it.restore(b""),
        lambda it: it.rewind(None, 0),
        lambda it: it.adopt(None, (), 0),
        lambda it: it.warm_up(),
    ],
)
def test_every_call_of_the_port_is_translated(call):
    class Failing(CountingGenerator):
        def _fail(self, *_):
            raise model_errors.ModelError("broken")

        open = feed = step = steps_per_second = decode = fidelity = restore = _fail
        rewind = adopt = warm_up = _fail

    with pytest.raises(BridgeError, match="broken"):
        call(TranslatedGenerator(Failing()))


def test_an_embedded_server_is_ready_and_gone_afterwards(tmp_path):
    before = threading.active_count()
    with embedded(tmp_path, CountingGenerator) as address, Client(address) as client:
        assert client.is_serving()
    assert not [thread for thread in threading.enumerate() if thread.name == "embedded server"]
    assert threading.active_count() <= before + 1
    with Client(address) as client:
        assert not client.is_serving()


def test_a_server_that_stops_refuses_as_one_that_loads_does_but_in_other_words(tmp_path):
    async def refusals():
        config = private_config(tmp_path)
        app = App(config, CountingGenerator)
        with pytest.raises(NotReadyError, match="still loading"):
            app.engine()
        await app.stop()
        with pytest.raises(StoppingError, match="is stopping"):
            app.engine()

    asyncio.run(refusals())


def test_a_model_that_cannot_be_loaded_is_told(tmp_path):
    missing = shipped_model(tmp_path / "nothing")
    with (
        pytest.raises(NotReadyError, match=r"nothing.*manifest\.json does not exist"),
        embedded(tmp_path, missing),
    ):
        raise AssertionError("it must not start")


def test_damaged_weights_are_told(weights, tmp_path):
    path = weights / "student.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with (
        pytest.raises(NotReadyError, match=r"student\.safetensors is damaged"),
        embedded(tmp_path, shipped_model(weights)),
    ):
        raise AssertionError("it must not start")


def test_a_spool_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "spool").write_text("a file")
    with (
        pytest.raises(NotReadyError, match=r"spool folder .*--spool"),
        embedded(tmp_path, CountingGenerator),
    ):
        raise AssertionError("it must not start")


def test_a_second_server_on_the_port_is_refused_and_the_first_goes_on(tmp_path):
    with embedded(tmp_path / "1", CountingGenerator) as address, Client(address) as client:
        port = int(address.rpartition(":")[2])
        with (
            pytest.raises(BusyError, match=str(port)),
            embedded(tmp_path / "2", CountingGenerator, port=port),
        ):
            raise AssertionError("it must not start")
        assert client.is_serving()


def test_a_chain_runs_over_whole_audio_without_delay(tmp_path):
    path = tmp_path / "chain.json"
    path.write_text('{"plugins": [{"plugin": "Gain", "parameters": {"gain_db": -6.0}}]}')
    audio = np.full((2, 1_001), 0.5, np.float32)
    wet = open_chain(path, 48_000, 2)(audio)
    assert wet.shape == audio.shape
    np.testing.assert_allclose(wet, audio * 10 ** (-6 / 20), rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("{", InvalidRequestError, "chain.json"),
        ('{"plugins": [{"plugin": "Harp"}]}', NotFoundError, "Harp"),
        (
            '{"plugins": [{"plugin": "Gain", "parameters": {"gain_db": 1e9}}]}',
            InvalidRequestError,
            "gain_db",
        ),
    ],
)
def test_a_bad_chain_is_told(text, error, words, tmp_path):
    path = tmp_path / "chain.json"
    path.write_text(text)
    with pytest.raises(error, match=words):
        open_chain(path, 48_000, 2)
