"""Live's extension in a Live in memory: its menu, its dialogs, its undo steps."""

import time

import pytest

from bridge.__main__ import main
from bridge.errors import InvalidRequestError, JobCancelledError, NotFoundError, NotReadyError
from bridge.hosts.actions import ActionSocket
from bridge.hosts.conductor import Conductor, Wish
from bridge.hosts.desk import Desk
from bridge.request import Progress
from tests.bridge.hosts.contract import RATE, recording_of, write_wav
from tests.bridge.hosts.live_extension import extension

LENGTH = 12_000


@pytest.fixture
def live(tmp_path):
    with extension(tmp_path) as made:
        path = write_wav(tmp_path / "X.wav", recording_of(LENGTH))
        with made.host.transaction("Record") as edit:
            edit.create_clip(edit.import_file(path), "guitar", RATE, "X")
        yield made


def desk_of(live, render, folder, actions):
    folder.mkdir()
    conductor = Conductor(
        live.host, render, folder, Wish(meter=(3, 4)), clock=iter(range(1_000_000)).__next__
    )
    return Desk(conductor, live.host, actions, live.mailbox)


def progress(step):
    return Progress(phase="prior", step=step, total_steps=4, eta_seconds=3.0)


def chosen(live, eventually):
    found = []
    eventually(lambda: found.extend(filter(None, [live.mailbox.action()])) or found)
    return found[0]


def test_a_stretch_of_a_track_is_what_the_menu_was_opened_on(live):
    with pytest.raises(InvalidRequestError, match="nothing was chosen"):
        live.host.selection()
    live.hand("take", title="Jukebox: Continue", track="guitar", **{"from": 2.125, "to": 2.25})
    selection = live.host.selection()
    assert (selection.track, selection.sample_rate) == ("guitar", RATE)
    assert (selection.start_sample, selection.end_sample) == (51_000, 54_000)


def test_what_is_chosen_reaches_the_desk_or_the_musician_is_told(live, eventually):
    live.hand("take", title="Jukebox: Retry", track="guitar", clip="X")
    eventually(lambda: "Nobody answers" in live.shown())
    assert live.mailbox.action() is None
    live.mailbox.beat(time.time(), 7174)
    for action in ("continue", "retry", "accept", "cancel"):
        title = f"Jukebox: {action.capitalize()}"
        live.hand("take", title=title, track="guitar", clip="X")
        assert chosen(live, eventually) == action


def test_a_dialog_that_is_cancelled_stops_the_work_and_goes_away(live, tmp_path, eventually):
    def render(continuation, on_progress):
        assert continuation.meter == (3, 4), "asked for, since this host tells none"
        on_progress(progress(1))
        live.hand("abort")
        on_progress(progress(2))
        raise AssertionError("the work went on")

    live.hand("take", title="Jukebox: Continue", track="guitar", clip="X")
    with ActionSocket() as actions:
        desk = desk_of(live, render, tmp_path / "results", actions)
        assert desk.do("continue") == f"cancelled: {JobCancelledError('the musician stopped it')}"
    assert "prior, 3 s left" in live.shown()
    eventually(lambda: "closed" in live.shown())
    assert live.host.clips("guitar continued") == ()


def test_an_edit_is_one_undo_step_of_live_once_its_track_is_there(live, tmp_path):
    path = write_wav(tmp_path / "one.wav", recording_of(LENGTH))
    with live.host.transaction("Place") as edit:
        edit.create_clip(edit.import_file(path), "B", RATE, "one")
    before = live.hand("facts")["steps"]
    assert before[-3:] == [["create a track"], ["rename a track"], ["create a clip"]]
    path = path.rename(tmp_path / "two.wav")
    with live.host.transaction("Replace") as edit:
        edit.delete_clip("one")
        edit.create_clip(edit.import_file(path), "B", RATE, "two")
    after = live.hand("facts")["steps"]
    assert after[len(before) :] == [["create a clip", "delete a clip"]]


def test_what_was_taken_back_is_not_taken_back_twice(live):
    live.host.undo()
    assert live.host.clips("guitar") == ()
    with pytest.raises(NotReadyError, match="nothing of ours"):
        live.host.undo()


def test_a_sentence_with_marks_of_html_is_shown_as_it_is(live):
    live.host.tell("<b>5 & 6</b>")
    assert "&#60;b&#62;5 &#38; 6&#60;/b&#62;" in live.shown()


def test_names_with_tabs_and_percents_find_their_way(live, tmp_path):
    path = write_wav(tmp_path / "one.wav", recording_of(LENGTH))
    with live.host.transaction("Place") as edit:
        edit.create_clip(edit.import_file(path), "100%\tB\u00e9", 0, "one")
    (clip,) = live.host.clips("100%\tB\u00e9")
    assert (clip.name, clip.num_samples) == ("one", LENGTH)
    with pytest.raises(NotFoundError, match="no clip 50%"), live.host.transaction("No") as edit:
        edit.delete_clip("50%")


def test_the_desk_asks_for_the_folder_that_live_chose(monkeypatch, tmp_path, capsys):
    assert main(["hosts", "run", "live-extension"]) != 0
    assert "--mailbox DIR" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main(["hosts", "install", "live-extension"]) == 0
    assert (tmp_path / "jukebox-bridge-extension/manifest.json").exists()
