"""Ableton Live: AbletonOSC for tempo and meter, our Remote Script for clips.

Live counts in beats; samples come from the tempo and the clip's file. Live renders
nothing for scripts: a stretch is cut from the file of the unwarped clip chosen.
AbletonOSC answers on port 11001, at the address that was asked.
"""

import json
import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Self

from bridge.audio_file import AudioClip, Provenance, read_audio, write_audio
from bridge.errors import BridgeError, InvalidRequestError, NotFoundError, NotReadyError
from bridge.hosts.contract import Clip, Selection
from bridge.osc.packet import Argument, Value, decode, encode
from bridge.request import MAX_PRIME_SECONDS
from bridge.transport import exact

LOCALHOST: Final = "127.0.0.1"
MAX_DATAGRAM: Final = 65_536
MAX_CLIP_SECONDS: Final = 10 * MAX_PRIME_SECONDS

_REFUSALS: Final[dict[str, type[BridgeError]]] = {
    error.code.value: error for error in (InvalidRequestError, NotFoundError, NotReadyError)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePorts:
    """AbletonOSC's two ports, our Remote Script's, and how long an answer may take."""

    osc: int = 11_000
    osc_answers: int = 11_001
    script: int = 11_002
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """The file of a clip, and where in the song its first sample would be."""

    path: Path
    track: str
    first_sample: int


class LiveHost:
    """Live, through two sockets."""

    def __init__(self, ports: LivePorts | None = None) -> None:
        """Open the sockets.

        Raises:
            NotReadyError: AbletonOSC's answers go to a port that another program holds.
        """
        self._ports = ports or LivePorts()
        self._osc = _socket(self._ports.osc_answers, self._ports.timeout_s)
        self._script = _socket(0, self._ports.timeout_s)
        self._number = 0
        self._source: _Source | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._osc.close()
        self._script.close()

    @property
    def name(self) -> str:
        """Return the host's name."""
        return "live"

    def selection(self) -> Selection:
        """Return the audio clip that the musician clicked, in the arrangement.

        Raises:
            InvalidRequestError: None, one of MIDI, or a warped one.
        """
        found = self._asked("selected")
        audio = read_audio(Path(found["path"]), MAX_CLIP_SECONDS)
        rate, tempo = audio.sample_rate, self._tempo()
        start = _samples_of(found["beats"], tempo, rate)
        first, last = round(found["from_s"] * rate), round(found["to_s"] * rate)
        self._source = _Source(
            path=Path(found["path"]), track=found["track"], first_sample=start - first
        )
        return Selection(
            track=found["track"],
            start_sample=start,
            end_sample=start + last - first,
            sample_rate=rate,
            tempo_bpm=float(tempo),
            meter=(
                int(self._property("signature_numerator")),
                int(self._property("signature_denominator")),
            ),
        )

    def clips(self, track: str) -> tuple[Clip, ...]:
        """Return the audio clips of a track's arrangement in time order."""
        found: list[Clip] = []
        tempo = self._tempo()
        for name, beats, path in self._asked("clips", track=track):
            audio = read_audio(Path(path), MAX_CLIP_SECONDS)
            start = _samples_of(beats, tempo, audio.sample_rate)
            length = audio.samples.shape[1]
            found.append(Clip(name=name, track=track, start_sample=start, num_samples=length))
        return tuple(sorted(found, key=lambda one: one.start_sample))

    def render_range(self, stretch: Selection, path: Path) -> Path:
        """Return where a piece of the selected clip's file now lies.

        Raises:
            NotFoundError: The track is not that of the clip selected.
            InvalidRequestError: The stretch is not in the clip's file.
        """
        source = self._source
        if source is None or source.track != stretch.track:
            raise NotFoundError(f"no clip of the track {stretch.track} is selected")
        audio = read_audio(source.path, MAX_CLIP_SECONDS)
        begin = stretch.start_sample - source.first_sample
        end = stretch.end_sample - source.first_sample
        if begin < 0 or end > audio.samples.shape[1]:
            raise InvalidRequestError(
                f"{source.path.name} holds {audio.samples.shape[1]} samples, "
                f"asked were {begin} to {end}"
            )
        piece = AudioClip(samples=audio.samples[:, begin:end], sample_rate=audio.sample_rate)
        origin = f"from {source.path.name}"
        told = Provenance(model="", fingerprint="", seed=0, request_id=origin, licence="")
        return write_audio(path, piece, stretch.start_sample, told)

    @contextmanager
    def transaction(self, title: str) -> Generator["_LiveEdit"]:
        """Yield an edit that our Remote Script does in one undo step."""
        del title
        edit = _LiveEdit(self._tempo())
        yield edit
        self._asked("edit", steps=edit.steps)

    @contextmanager
    def progress(self, title: str) -> Generator["_LiveView"]:
        """Yield a view: Live's status bar, which cannot abort; the cancel action can."""
        yield _LiveView(self, title)

    def undo(self) -> None:
        """Take back the last undo step."""
        self._asked("undo")

    def tell(self, text: str) -> None:
        """Show a sentence in Live's status bar."""
        self._asked("tell", text=text)

    def _tempo(self) -> Fraction:
        return exact(self._property("tempo"))

    def _property(self, name: str) -> float:
        """Return a number of the song, asked of AbletonOSC."""
        address = f"/live/song/get/{name}"
        arguments: tuple[Argument, ...] = ()
        self._osc.sendto(encode(address, arguments), (LOCALHOST, self._ports.osc))
        value = self._osc_answer(address)
        if isinstance(value, bool | str):
            raise BridgeError(f"AbletonOSC answered {value!r} at {address}, a number was due")
        return value

    def _osc_answer(self, address: str) -> Value:
        while True:
            try:
                messages = decode(self._osc.recv(MAX_DATAGRAM))
            except TimeoutError as error:
                raise NotReadyError(
                    f"AbletonOSC did not answer within {self._ports.timeout_s:g} s: is Live open, "
                    "and AbletonOSC chosen as a control surface?"
                ) from error
            for message in messages:
                if message.address == address and message.arguments:
                    return message.arguments[0].value

    def _asked(self, verb: str, **facts: object) -> Any:  # noqa: ANN401 - JSON
        self._number += 1
        question = {"number": self._number, "verb": verb, **facts}
        to = (LOCALHOST, self._ports.script)
        self._script.sendto(json.dumps(question).encode(), to)
        while True:
            try:
                told = json.loads(self._script.recv(MAX_DATAGRAM))
            except (TimeoutError, ConnectionError) as error:
                raise NotReadyError(
                    f"Live did not answer within {self._ports.timeout_s:g} s: is it open, and "
                    "JukeboxBridge chosen as a control surface?"
                ) from error
            if told.get("number") == self._number:
                break
        if "code" in told:
            raise _REFUSALS.get(told["code"], BridgeError)(told["text"])
        return told["result"]


class _LiveEdit:
    def __init__(self, tempo: Fraction) -> None:
        self._tempo = tempo
        self._rates: dict[str, int] = {}
        self.steps: list[dict[str, object]] = []

    def import_file(self, path: Path) -> str:
        self._rates[str(path)] = read_audio(path, MAX_CLIP_SECONDS).sample_rate
        return str(path)

    def create_clip(self, source: str, track: str, start_sample: int, name: str) -> None:
        if start_sample < 0:
            raise InvalidRequestError(f"the clip would begin at sample {start_sample}, 0 is first")
        beats = Fraction(start_sample, self._rates[source]) * self._tempo / 60
        step = {"do": "clip", "track": track, "path": source, "beats": float(beats), "name": name}
        self.steps.append(dict(step))

    def delete_clip(self, name: str) -> None:
        self.steps.append({"do": "delete", "name": name})


class _LiveView:
    def __init__(self, host: LiveHost, title: str) -> None:
        self._host = host
        self._title = title

    def show(self, fraction: float, text: str) -> None:
        self._host.tell(f"{self._title}: {fraction:.0%}, {text}")

    def is_aborted(self) -> bool:
        return False


def _samples_of(beats: float, tempo: Fraction, sample_rate: int) -> int:
    return round(Fraction(beats) * 60 * sample_rate / tempo)


def _socket(port: int, timeout_s: float) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(timeout_s)
    try:
        made.bind((LOCALHOST, port))
    except OSError as error:
        made.close()
        raise NotReadyError(f"port {port} cannot be opened: {error.strerror}") from error
    return made
