"""One suite for every host: a folder, a real Ardour, REAPER on a stub, Live on simulators."""

import shutil
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bridge.audio_file import AudioClip, Provenance, read_audio, read_time_reference, write_audio
from bridge.client import Result
from bridge.errors import (
    BridgeError,
    InvalidRequestError,
    JobCancelledError,
    NotFoundError,
    NotReadyError,
)
from bridge.hosts.companion import CompanionHost
from bridge.hosts.conductor import Conductor, Wish
from bridge.hosts.contract import Clip, Host, Selection
from bridge.hosts.folder import FolderHost
from bridge.hosts.install import install_reaper
from bridge.hosts.mailbox import Mailbox, text_of
from bridge.request import Accepted, Done, Progress
from tests.bridge.hosts import ardour as real
from tests.bridge.hosts.contract import RATE, recording_of, write_wav
from tests.bridge.hosts.live_extension import extension
from tests.bridge.hosts.live_simulator import TEMPO, live

START, LENGTH, MADE = 24_000, 12_000, 6_000
END = START + LENGTH


@dataclass
class Studio:
    """A host with a recording at `START`, chosen by the musician.

    `own_steps` are those that the host leaves under each of ours, and that hold nothing.
    """

    host: Host
    folder: Path
    tempo: float | None = TEMPO
    meter: tuple[int, int] | None = (4, 4)
    own_steps: int = 0


@contextmanager
def folder_studio(folder: Path) -> Generator[Studio]:
    host = FolderHost(folder / "watched")
    clip = AudioClip(samples=recording_of(LENGTH), sample_rate=RATE)
    told = Provenance(model="", fingerprint="", seed=0, request_id="", licence="")
    host.choose(write_audio(host.inbox / "guitar.wav", clip, START, told))
    yield Studio(host, folder, tempo=None, meter=None)


@contextmanager
def reaper_studio(folder: Path) -> Generator[Studio]:
    lua = shutil.which("lua5.4") or pytest.skip("lua5.4 is missing")
    (folder / "REAPER").mkdir()
    box = folder / "mailbox"
    installed = install_reaper(folder / "REAPER", box)
    scripts = installed.files[0].parent
    mailbox = Mailbox(box, "reaper")
    stub = Path(__file__).with_name("reaper_stub.lua")
    process = subprocess.Popen([lua, stub, box, scripts])
    try:
        host = CompanionHost("reaper", mailbox)
        record(host, folder)
        hand = box / "hand.part"
        hand.write_bytes(text_of([("select", "X")]))
        hand.replace(box / "hand.txt")
        yield Studio(host, folder)
    finally:
        process.kill()
        process.wait(10)


@contextmanager
def live_studio(folder: Path) -> Generator[Studio]:
    with live() as simulated:
        record(simulated.host, folder)
        song = simulated.instance.own_song
        song.view.detail_clip = song.tracks[0].arrangement_clips[0]
        yield Studio(simulated.host, folder)


def record(host: Host, folder: Path) -> None:
    path = write_wav(folder / "X.wav", recording_of(LENGTH))
    with host.transaction("Record") as edit:
        edit.create_clip(edit.import_file(path), "guitar", START, "X")


@contextmanager
def ardour_studio(folder: Path, ardour: real.Ardour) -> Generator[Studio]:
    """Yield the Ardour that runs for all tests, in which nothing stands but what is chosen."""
    host = ardour.host
    with host.transaction("Clear") as edit:
        for track in ("guitar", "guitar continued", "B"):
            for clip in host.clips(track):
                edit.delete_clip(clip.name)
    record(host, folder)
    real.poll(lambda: ardour.select_all("guitar"), "the selection")
    yield Studio(host, folder, own_steps=1)


@contextmanager
def extension_studio(folder: Path) -> Generator[Studio]:
    with extension(folder) as made:
        record(made.host, folder)
        made.hand("take", title="Jukebox: Continue", track="guitar", clip="X")
        yield Studio(made.host, folder, meter=None)


STUDIOS = {
    "folder": folder_studio,
    "reaper": reaper_studio,
    "live": live_studio,
    "live extension": extension_studio,
}
REAL = pytest.param(
    "ardour",
    marks=[
        pytest.mark.host,
        pytest.mark.slow,
        pytest.mark.skipif(bool(real.missing()), reason=f"missing: {real.missing()}"),
    ],
)


@pytest.fixture(scope="module")
def ardour(tmp_path_factory) -> Generator[real.Ardour]:
    with real.ardour(tmp_path_factory.mktemp("ardour")) as made:
        yield made


@pytest.fixture(params=[*STUDIOS, REAL])
def studio(request, tmp_path) -> Generator[Studio]:
    if request.param == "ardour":
        opened = ardour_studio(tmp_path, request.getfixturevalue("ardour"))
    else:
        opened = STUDIOS[request.param](tmp_path)
    with opened as made:
        yield made


def placed(host: Host, folder: Path, name: str, start_sample: int = END) -> Clip:
    path = write_wav(folder / f"{name}.wav", recording_of(MADE))
    with host.transaction("Place") as edit:
        edit.create_clip(edit.import_file(path), "B", start_sample, name)
    return Clip(name=name, track="B", start_sample=start_sample, num_samples=MADE)


def test_the_selection_is_told_in_samples(studio):
    selection = studio.host.selection()
    assert (selection.track, selection.sample_rate) == ("guitar", RATE)
    assert (selection.start_sample, selection.end_sample) == (START, END)
    assert (selection.tempo_bpm, selection.meter) == (studio.tempo, studio.meter)


def test_a_stretch_is_rendered_bit_for_bit_with_its_place(studio, tmp_path):
    studio.host.selection()
    stretch = Selection(
        track="guitar", start_sample=START + 100, end_sample=END - 7, sample_rate=RATE
    )
    path = studio.host.render_range(stretch, tmp_path / "part.wav")
    np.testing.assert_array_equal(read_audio(path).samples, recording_of(LENGTH)[:, 100:-7])
    assert read_time_reference(path) == START + 100


@pytest.mark.parametrize("start_sample", [0, 1, END, 12_345_677])
def test_a_clip_stands_on_the_exact_sample(studio, tmp_path, start_sample):
    clip = placed(studio.host, tmp_path, "one", start_sample)
    assert studio.host.clips("B") == (clip,)
    assert studio.host.clips("no such track") == ()


def test_a_transaction_is_one_undo_step(studio, tmp_path):
    first = placed(studio.host, tmp_path, "one")
    path = write_wav(tmp_path / "two.wav", recording_of(MADE))
    with studio.host.transaction("Replace") as edit:
        edit.delete_clip("one")
        edit.create_clip(edit.import_file(path), "B", END, "two")
    assert [clip.name for clip in studio.host.clips("B")] == ["two"]
    studio.host.undo()
    assert studio.host.clips("B") == (first,)
    for _ in range(1 + studio.own_steps):
        studio.host.undo()
    assert studio.host.clips("B") == ()


def test_an_exception_inside_leaves_no_trace(studio, tmp_path):
    path = write_wav(tmp_path / "one.wav", recording_of(MADE))

    def fail(edit) -> None:
        edit.create_clip(edit.import_file(path), "B", END, "one")
        raise JobCancelledError("changed my mind")

    with pytest.raises(JobCancelledError), studio.host.transaction("Place") as edit:
        fail(edit)
    assert studio.host.clips("B") == ()


def test_a_step_that_cannot_be_done_undoes_the_rest(studio, tmp_path):
    path = write_wav(tmp_path / "one.wav", recording_of(MADE))

    def both() -> None:
        with studio.host.transaction("Both") as edit:
            edit.create_clip(edit.import_file(path), "B", END, "one")
            edit.delete_clip("other")

    with pytest.raises(NotFoundError, match="no clip other"):
        both()
    assert studio.host.clips("B") == ()


def test_what_is_not_there_is_refused(studio, tmp_path):
    with pytest.raises(NotFoundError), studio.host.transaction("Import") as edit:
        edit.create_clip(edit.import_file(tmp_path / "none.wav"), "B", 0, "one")
    nowhere = Selection(track="no such track", start_sample=0, end_sample=9, sample_rate=RATE)
    with pytest.raises(NotFoundError, match="no such track"):
        studio.host.render_range(nowhere, tmp_path / "part.wav")


def test_progress_is_shown_without_aborting(studio):
    with studio.host.progress("Jukebox Bridge") as view:
        view.show(0.25, "prior, 3 s left")
        view.show(0.5, "prior\t100% \n2 s left")
        assert not view.is_aborted()


def test_a_sentence_is_shown(studio):
    if studio.host.name == "ardour":
        pytest.skip("Ardour's dialog waits for a hand that closes it")
    studio.host.tell("well done")
    assert studio.host.selection().track == "guitar"


def render(continuation, on_progress) -> Result:
    """Return what a server would: as many samples as asked, from the splice on."""
    for step in range(3):
        on_progress(Progress(phase="prior", step=step, total_steps=3, eta_seconds=1.0))
    np.testing.assert_array_equal(continuation.prime, recording_of(LENGTH))
    splice = continuation.splice_sample
    return Result(
        audio=recording_of(MADE),
        accepted=Accepted(
            request_id="r", seed=7, anchor_sample=0, splice_sample=splice, expected_samples=MADE,
            codec_fidelity=1.0, advice="", model="m", fingerprint="f",
        ),
        done=Done(
            path=None,
            num_samples=MADE, sha256="", take_id="t", rtf=1.0, first_audio_ms=1.0, gain_db=0.0,
            licence="",
        ),
        blocks=(),
    )  # fmt: skip


def conductor_of(studio: Studio, rendering: Callable = render) -> Conductor:
    results = studio.folder / "results"
    results.mkdir()
    ticks = iter(range(1_000_000))
    return Conductor(
        studio.host, rendering, results, Wish(tempo_bpm=120.0), clock=lambda: float(next(ticks))
    )


def test_continue_retry_and_accept(studio):
    conductor = conductor_of(studio)
    first = conductor.continue_selection()
    (clip,) = studio.host.clips("guitar continued")
    assert (clip.name, clip.start_sample, clip.num_samples) == (first.name, END, MADE)
    second = conductor.retry()
    assert [one.name for one in studio.host.clips("guitar continued")] == [second.name]
    studio.host.undo()
    assert [one.name for one in studio.host.clips("guitar continued")] == [first.name]
    third = conductor.retry()
    names = {one.name for one in studio.host.clips("guitar continued")}
    assert names == {first.name, third.name}, "what the musician brought back stays"
    assert conductor.accept() == third
    with pytest.raises(NotReadyError, match="no continuation"):
        conductor.retry()


def test_cancelling_leaves_the_host_as_it_was(studio):
    conductor = conductor_of(studio)
    with pytest.raises(JobCancelledError):
        conductor.continue_selection(lambda: True)
    assert studio.host.clips("guitar continued") == ()
    assert conductor.last is None
    assert not list((studio.folder / "results").iterdir())


def test_what_the_server_refuses_leaves_the_host_as_it_was(studio):
    def refuse(continuation, on_progress) -> Result:
        raise InvalidRequestError("no")

    with pytest.raises(BridgeError, match="no"):
        conductor_of(studio, refuse).continue_selection()
    assert studio.host.clips("guitar continued") == ()
