"""The same codes however audio arrives."""

import numpy as np
import pytest
import torch

from model.codec import Level
from model.grid import ENCODER_REACH_FRAMES
from model.hearing import Hearing
from model.shipped import SMALL_CODEC
from tests.model.tiny import CHUNK, randomised, sound

AFTER = (8, 40, 144)


@pytest.fixture(params=[0, 1, 2], ids="level{}".format)
def hearing(either, request):
    level = either.bundle.codec.level(request.param)
    before = ENCODER_REACH_FRAMES * 128 // level.hop
    return Hearing(level, CHUNK, (before, AFTER[request.param]))


def heard(hearing, audio, start=0, chunks=None):
    count = -(-(start + len(audio)) // CHUNK) if chunks is None else chunks
    return np.concatenate([hearing.encode(audio, start, chunk) for chunk in range(count)])


def test_chunks_give_the_codes_of_one_pass_over_all(hearing):
    audio = sound(3 * CHUNK + 777)
    with torch.no_grad():
        whole = hearing.level.encode(torch.as_tensor(audio)[None])[0].numpy()
    settled = (len(audio) - hearing.after_samples) // hearing.hop
    codes = heard(hearing, audio)
    assert len(codes) == settled
    # Another length may round otherwise: a latent between two rows may then fall to the other.
    assert (codes == whole[:settled]).mean() > 0.995
    assert len(np.unique(codes)) > 4


def _told_apart(made, true):
    """Return which frames lie so far from the true ones that single precision tells them apart."""
    return (made - true).norm(dim=0) > 2e-3 * true.norm(dim=0)


def test_the_shipped_size_hears_in_chunks_what_it_hears_in_one_pass():
    level = randomised(Level(SMALL_CODEC, 2)).eval()
    audio = torch.as_tensor(sound(2 * CHUNK + 144))
    audio[:CHUNK] *= 50
    with torch.no_grad():
        # Row t is frame t as it is; the other rows are frames heard with too little before them.
        true = level.latents(audio[None])[0, :, :128]
        short = [level.latents(audio[None, CHUNK - 128 * back :])[0, :, back:] for back in (9, 32)]
        near = true[:, 64:84]
        short = [made[:, :20][:, _told_apart(made[:, :20], near)] for made in short]
        assert all(made.shape[1] for made in short)
        rows = torch.cat([true, *short], dim=1).t()
        level.quantizer.codebook.fill_(1e3)
        level.quantizer.codebook[: len(rows)] = rows
        whole = level.encode(audio[None])[0, :128]
    assert torch.equal(whole, torch.arange(128))
    hearing = Hearing(level, CHUNK, (ENCODER_REACH_FRAMES, 144))
    assert np.array_equal(heard(hearing, audio.numpy())[:128], whole)


@pytest.mark.parametrize("samples", [CHUNK - 1, CHUNK, CHUNK + 143, CHUNK + 144, 2 * CHUNK - 1])
def test_what_is_settled_stays_bit_for_bit_when_more_arrives(hearing, samples):
    audio = sound(3 * CHUNK)
    early, late = heard(hearing, audio[:samples]), heard(hearing, audio)
    assert np.array_equal(early, late[: len(early)])
    assert len(early) == max(0, (samples - hearing.after_samples) // hearing.hop)


def test_audio_that_no_encoder_looks_back_to_may_be_forgotten(hearing):
    audio = sound(4 * CHUNK)
    kept = 2 * CHUNK - hearing.before_samples
    assert np.array_equal(hearing.encode(audio[kept:], kept, 2), hearing.encode(audio, 0, 2))
    loud = audio.copy()
    loud[:kept] = 1.0
    assert np.array_equal(hearing.encode(loud, 0, 2), hearing.encode(audio, 0, 2))


@pytest.mark.parametrize("start", [1, 128, 5000, CHUNK, 2 * CHUNK + 3])
def test_audio_that_begins_later_is_silent_before(hearing, start):
    audio = sound(2 * CHUNK)
    padded = np.concatenate([np.zeros(start, np.float32), audio])
    assert np.array_equal(heard(hearing, audio, start), heard(hearing, padded))


@pytest.mark.parametrize("start", [-1, -5000, -CHUNK])
def test_audio_from_before_the_grid_is_cut(hearing, start):
    audio = sound(3 * CHUNK)
    assert np.array_equal(heard(hearing, audio, start), heard(hearing, audio[-start:]))


@pytest.mark.parametrize(
    ("chunk", "offset", "frames"), [(0, -1, 0), (0, 0, 0), (0, 1, 1), (1, 3, 3), (1, 10**6, None)]
)
def test_frames_are_ready_when_their_look_ahead_has_come(hearing, chunk, offset, frames):
    whole = CHUNK // hearing.hop
    wanted = chunk * CHUNK + offset * hearing.hop + hearing.after_samples
    assert hearing.frames_ready(chunk, wanted) == (whole if frames is None else frames)
    if frames:
        assert hearing.frames_ready(chunk, wanted - 1) == frames - 1


def test_nothing_heard_gives_no_codes(hearing):
    assert hearing.encode(np.zeros(0, np.float32), 0, 0).shape == (0,)
