"""The watch folder, the installers, the mailbox and the actions' port."""

import socket
from base64 import b64decode
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
from pythonosc.osc_message_builder import OscMessageBuilder

from bridge.__main__ import main
from bridge.app import embedded_server
from bridge.audio_file import AudioClip, Provenance, read_audio, read_time_reference, write_audio
from bridge.config import private_config
from bridge.errors import InvalidRequestError, NotFoundError, NotReadyError
from bridge.hosts.actions import ActionSocket
from bridge.hosts.install import install_ardour, with_scripts
from bridge.hosts.mailbox import ANSWER, Mailbox, lines_of, text_of
from tests.bridge.hosts.contract import RATE, recording_of
from tests.fakes import CountingGenerator

BAR = 2 * RATE


def export(folder, name, num_samples, start_sample):
    told = Provenance(model="", fingerprint="", seed=0, request_id="", licence="")
    clip = AudioClip(samples=recording_of(num_samples), sample_rate=RATE)
    return write_audio(folder / name, clip, start_sample, told)


def test_a_file_is_continued_once_at_its_end(tmp_path, capsys):
    inbox, outbox = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    export(inbox, "guitar.wav", 50_000, 1_000_000)
    (inbox / "broken.wav").write_bytes(b"RIFF....WAVE")
    with embedded_server(private_config(tmp_path / "spool"), CountingGenerator) as address:
        words = ["hosts", "watch", str(tmp_path), "--once", "--bars", "1", "--tempo", "120"]
        assert main([*words, "--server", address]) == 1, "one was refused"
        (made,) = (outbox / "guitar continued").glob("*.wav")
        assert read_time_reference(made) == 1_050_000
        assert read_audio(made).samples.shape == (2, BAR)
        assert "broken.wav" in (outbox / "broken.wav.txt").read_text("utf-8")
        assert str(made) in capsys.readouterr().out
        assert main([*words, "--server", address]) == 0, "nothing is new"
    assert list((outbox / "guitar continued").glob("*")) == [made]
    assert not (outbox / "progress.txt").exists()


def test_the_installer_keeps_the_musicians_own_scripts(tmp_path):
    own = "scripts = {} scripts[2] = {} scripts[2]['n'] = 'mine' "
    before = (
        b'<UIScripts><ActionScript lua="Lua 5.3">'
        b"c2NyaXB0cyA9IHt9IHNjcmlwdHNbMl0gPSB7fSBzY3JpcHRzWzJdWyduJ10gPSAnbWluZScg"
        b'</ActionScript><ActionHooks><LuaCallback id="1" name="mine" signals="1"/></ActionHooks>'
        b"</UIScripts>"
    )
    once = with_scripts(before)
    root = Xml.fromstring(once)
    saved = b64decode(root.findtext("ActionScript", "")).decode()
    assert saved.startswith(own)
    assert saved.count("Jukebox: ") == 4
    assert "scripts[1] = " in saved
    assert [one.get("name") for one in root.iter("LuaCallback")] == ["mine", "Jukebox Bridge"]
    assert with_scripts(once) == once, "installing again changes nothing"
    (tmp_path / "ui_scripts").write_bytes(before)
    install_ardour(tmp_path, tmp_path / "mailbox")
    assert (tmp_path / "ui_scripts.before-jukebox-bridge").read_bytes() == before
    assert (tmp_path / "jukebox-bridge/companion.lua").exists()


def test_the_installer_refuses_what_it_cannot_use(tmp_path):
    with pytest.raises(InvalidRequestError, match="no XML"):
        with_scripts(b"<UIScripts>")
    assert main(["hosts", "install", "ardour", "--folder", str(tmp_path / "none")]) == 1


@pytest.mark.parametrize("word", ["", "a\tb", "100%", "line\nline\r", "%41", "Gitarre ü"])
def test_words_go_through_the_mailbox_unchanged(word):
    assert lines_of(text_of([("x", word), (word,)])) == (("x", word), (word,))


def test_the_mailbox_says_what_the_companion_refused_and_what_is_no_answer(tmp_path):
    answers = [("fail", "NOT_FOUND", "there is no track Z"), ("what",), ("ok",)]
    box = Mailbox(tmp_path, "host", sleep=lambda _: answer(answers.pop(0)))
    number = iter(range(1, 9))

    def answer(line):
        head = ("jukebox", "1", next(number))
        (tmp_path / ANSWER).write_bytes(text_of([head, line]))

    with pytest.raises(NotFoundError, match="no track Z"):
        box.ask([("clips", "Z")])
    with pytest.raises(Exception, match="neither ok nor fail"):
        box.ask([("clips", "Z")])
    assert box.ask([("undo",)]) == ()


def test_a_companion_that_is_silent_is_named_after_the_time_given(tmp_path):
    now = iter(np.arange(0.0, 100.0, 1.0))
    box = Mailbox(tmp_path, "ardour", clock=lambda: float(next(now)), sleep=lambda _: None)
    with pytest.raises(NotReadyError, match="ardour did not answer within 5 s"):
        box.ask([("undo",)], 5.0)
    assert not (tmp_path / "command.txt").exists(), "it must not be done later"


def test_actions_come_from_any_osc_sender(tmp_path):
    with ActionSocket() as actions, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def send(address):
            packet = OscMessageBuilder(address=address).build().dgram
            sender.sendto(packet, ("127.0.0.1", actions.port))

        send("/jukebox/host/continue")
        assert actions.next(5.0) == "continue"
        send("/jukebox/host/explode")
        with pytest.raises(InvalidRequestError, match="explode"):
            actions.next(5.0)
        send("/jukebox/host/retry")
        send("/jukebox/host/cancel")
        assert actions.next(5.0) == "retry"
        assert actions.take_cancel() or actions.next(5.0) == "cancel"
        assert not actions.take_cancel()
        assert actions.next(0.0) is None
