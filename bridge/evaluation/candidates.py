"""Whose audio is measured: the truth, what is left of it by the codec, toys, and the model's.

The model is heard as a user hears it, through a server. What was made once is kept as FLAC.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile as sf  # pyright: ignore[reportMissingTypeStubs]

from bridge import splice, toys
from bridge.app.codec import CodecTrips
from bridge.client import Client
from bridge.continuation import Continuation
from bridge.evaluation.pieces import Clip
from bridge.ports import Audio, Conditions, Generator, MidiPart, Mono, Plan, Quality, StemKind
from bridge.spectra import ANALYSIS_RATE

TRUTH: Final = "truth"
LAST_BAR: Final = "last_bar"
OTHER_PIECE: Final = "other_piece"
SYNTH: Final = "plain_synth"
FINISHER: Final = "finisher_of_truth"
TOYS: Final = (LAST_BAR, OTHER_PIECE, SYNTH)
NOTES, FREE, MADE = "notes", "free", "made"
"""Whether the model is told the notes; `made` is told nothing, and nothing heard sounds again."""
KNOWN: Final = (NOTES, FREE, MADE)
SEED: Final = 7

Told = dict[str, float | None]
"""What is known of a candidate besides its sound."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """Audio of a candidate from the splice on, and the prime as it leads into it."""

    result: Mono
    before: Mono


def codec_name(level: int) -> str:
    """Return the name of the truth after one level of the codec."""
    return f"codec{level}_of_truth"


def made_name(quality: Quality, known: str) -> str:
    """Return the name of the model's own continuation."""
    return f"{quality}_{known}"


def toy(name: str, clip: Clip, other: Clip) -> Made:
    """Return the truth or a toy, joined to the prime without a fade."""
    num_samples = clip.truth.size
    like = clip.prime[None]
    makers: Mapping[str, Callable[[], Audio]] = {
        TRUTH: lambda: clip.truth[None],
        LAST_BAR: lambda: toys.looped(like, num_samples, min(clip.bar_samples, clip.prime.size)),
        OTHER_PIECE: lambda: other.truth[None, :num_samples],
        SYNTH: lambda: toys.synthesised(
            clip.notes,
            ANALYSIS_RATE,
            start_sample=clip.prime_samples,
            num_samples=num_samples,
            like=like,
        ),
    }
    return Made(result=makers[name]()[0], before=clip.prime)


def after_codec(codec: CodecTrips, level: int, clip: Clip) -> Made:
    """Return the truth after a level."""
    trip = codec.through(level, np.concatenate([clip.prime, clip.truth]))
    result = trip.audio[clip.prime_samples :]
    return Made(result=result, before=clip.prime)


def after_finisher(generator: Generator[Any], clip: Clip) -> Made:
    """Return the truth as the model plays it from its true codes and notes, at its own level."""
    state = generator.open(conditions_of(clip, NOTES), 0, None)
    feed, block = generator.info.feed_samples, generator.info.block_samples
    audio = np.concatenate([clip.prime, clip.truth, np.zeros(4 * feed, np.float32)])
    for start in range(0, audio.size, feed):
        state = generator.feed(state, audio[start : start + feed])
    end = clip.prime_samples + clip.truth.size
    blocks = min(state.decodable_sample // block, -(-end // block))
    first = clip.prime_samples // block
    made = np.concatenate([generator.decode(state, index) for index in range(first, blocks)])
    made = made[clip.prime_samples - first * block :][: clip.truth.size]
    made = np.pad(made, (0, clip.truth.size - made.size))
    return Made(result=made, before=clip.prime)


def conditions_of(clip: Clip, known: str) -> Conditions:
    """Return what the model is told of a clip."""
    if known != NOTES or clip.piece.notes is None:
        return Conditions()
    end = clip.prime_samples + clip.result_samples
    return Conditions(midi=MidiPart(notes=clip.notes, start_sample=0, end_sample=end))


def continued(client: Client, clip: Clip, known: str, plan: Plan) -> tuple[Made, float]:
    """Return the model's continuation of a clip, and the gain that the splice gave it in dB."""
    return _rendered(
        client,
        Continuation(
            prime=clip.prime[None],
            sample_rate=ANALYSIS_RATE,
            num_samples=clip.truth.size,
            tempo_bpm=clip.piece.tempo_bpm,
            meter=clip.piece.meter,
            bar_sample=-clip.start_sample,
            conditions=conditions_of(clip, known),
            plan=plan,
            draw_seed=False,
        ),
    )


def accompanied(client: Client, clip: Clip, target: StemKind, plan: Plan) -> tuple[Made, float]:
    """Return a part that the model adds to the other stems, after the part's own prime."""
    others = {kind: clip.stem(kind)[None] for kind in clip.piece.stems if kind is not target}
    return _rendered(
        client,
        Continuation(
            prime=clip.stem(target)[None, : clip.prime_samples],
            sample_rate=ANALYSIS_RATE,
            num_samples=clip.truth.size,
            tempo_bpm=clip.piece.tempo_bpm,
            meter=clip.piece.meter,
            bar_sample=-clip.start_sample,
            conditions=Conditions(target=target),
            stems=others,
            plan=plan,
            draw_seed=False,
        ),
    )


def _rendered(client: Client, continuation: Continuation) -> tuple[Made, float]:
    result = client.render(continuation)
    prime, lead_in = continuation.prime, result.done.lead_in
    before = prime
    if lead_in.size:
        fade = round(splice.FADE_SECONDS * ANALYSIS_RATE)
        before = splice.joined(prime, lead_in, result.audio, fade)[:, : prime.shape[1]]
    return Made(result=result.audio[0], before=before[0]), float(result.done.gain_db)


class Kept:
    """Audio made before, by name; 24 bits."""

    def __init__(self, folder: Path) -> None:
        """Take a folder, made when something is kept."""
        self._folder = folder

    def path(self, owner: str, clip: str) -> Path:
        """Return where a candidate's audio of a clip lies."""
        return self._folder / owner / f"{clip.replace('/', '-')}.flac"

    def load(self, owner: str, clip: Clip) -> tuple[Made, Told] | None:
        """Return what was made of a clip and told of it, if it was made, and is long enough."""
        path = self.path(owner, clip.name)
        if not path.is_file():
            return None
        samples, _ = sf.read(path, dtype="float32")  # pyright: ignore[reportUnknownMemberType]
        whole = np.asarray(samples, np.float32)
        if whole.size < clip.prime_samples + clip.truth.size:
            return None
        before = whole[: clip.prime_samples]
        result = whole[clip.prime_samples :][: clip.truth.size]
        told: Told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return Made(result=result, before=before), told

    def keep(self, owner: str, clip: Clip, made: Made, told: Told) -> None:
        """Keep what was made of a clip; a file cut short by a crash is not seen."""
        path = self.path(owner, clip.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").write_text(json.dumps(told), encoding="utf-8")
        unfinished = path.with_suffix(".part")
        whole = np.concatenate([made.before, made.result])
        sf.write(  # pyright: ignore[reportUnknownMemberType]
            unfinished, np.clip(whole, -1, 1), ANALYSIS_RATE, format="FLAC", subtype="PCM_24"
        )
        unfinished.replace(path)


def plan_of(quality: Quality, clip: Clip, seed: int = SEED) -> Plan:
    """Return the default plan, with a seed of the clip's own."""
    return replace(
        Plan(seed=seed), quality=quality, seed=zlib.crc32(f"{seed} {clip.name}".encode())
    )
