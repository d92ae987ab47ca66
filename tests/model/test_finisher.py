"""Codes to audio: the same samples whatever the cut, tones only where gates are open."""

import pytest
import torch

from model.conditioning.roll import CUES, PITCHES, PLAYED
from model.config import TINY
from model.finisher import HEARD_FROM, HEARD_LOUDNESS, Finisher, played_by_ear
from model.grid import grid_of
from model.tones import REGISTERS
from tests.model.tiny import randomised

HOP, SIZE = 128, 512
FRAMES = 90


@pytest.fixture(scope="module")
def finisher():
    made = randomised(Finisher(TINY.finisher, codebook_size=32), gain=0.5).eval()
    made.set_codebook(torch.randn(32, 8, generator=torch.Generator().manual_seed(3)))
    return made.requires_grad_(False)


def given(frames=FRAMES, seed=0):
    random = torch.Generator().manual_seed(seed)
    codes = torch.randint(32, (1, frames), generator=random)
    played = torch.zeros(1, frames, PLAYED)
    played[:, :, [40, 55, 70]] = torch.rand(1, frames, 3, generator=random)
    played[:, :, PITCHES:] = torch.rand(1, frames, CUES, generator=random)
    drawn = torch.arange(frames)[None] >= 20
    trusted = torch.rand(1, frames, generator=random) < 0.7
    return codes, played, drawn, trusted, torch.randn(1, frames * HOP, generator=random)


def test_every_frame_makes_its_samples(finisher):
    made = finisher(*given(), 0)
    assert made.shape == (1, FRAMES * HOP)
    assert torch.isfinite(made).all()
    assert float(made.std()) > 0.01


@pytest.mark.parametrize(("start", "end"), [(0, 60), (10, 70), (11, 90), (30, 65)])
def test_a_stretch_sounds_the_same_whatever_is_cut_around_it(bundle, finisher, start, end):
    grid = grid_of(bundle)
    codes, played, drawn, trusted, decoded = given()
    whole = finisher(codes, played, drawn, trusted, decoded, 500)
    samples = slice(start * HOP, end * HOP)
    part = finisher(
        codes[:, start:end],
        played[:, start:end],
        drawn[:, start:end],
        trusted[:, start:end],
        decoded[:, samples],
        500 + start,
    )
    first = start + (grid.finisher_before_frames if start else 0)
    last = end - (grid.finisher_after_frames if end < FRAMES else 0)
    inner = slice((first - start) * HOP, (last - start) * HOP)
    torch.testing.assert_close(
        part[:, inner], whole[:, first * HOP : last * HOP], atol=1e-4, rtol=1e-4
    )
    assert last - first >= 4


@pytest.mark.parametrize("changed", [40, 41])
def test_a_code_is_heard_at_most_five_frames_before_it_stands(bundle, finisher, changed):
    """The quantised path, tones included, through which no gradient passes."""
    grid = grid_of(bundle)
    codes, _, drawn, trusted, decoded = given()

    def made(sequence):
        played = played_by_ear(finisher.hear(sequence) + 2.0)
        return finisher(sequence, played, drawn, trusted, decoded, 0)[0]

    before, firsts = made(codes), []
    for code in range(1, 8):
        other = codes.clone()
        other[0, changed] = (other[0, changed] + code) % 32
        differs = (made(other) - before).abs() > 1e-6
        firsts.append(int(differs.nonzero()[0]))
    ahead = [changed * HOP - first for first in firsts]
    assert HOP < max(ahead) <= grid.finisher_after_frames * HOP - HOP // 2


def test_overlap_add_gives_back_what_was_windowed(finisher):
    signal = torch.randn(1, 20 * HOP + SIZE - HOP, generator=torch.Generator().manual_seed(1))
    frames = signal.unfold(1, SIZE, HOP) * finisher.window.square()
    margin = (SIZE - HOP) // 2
    made = finisher._overlap_add(frames)
    inner = slice(2 * HOP, -2 * HOP)
    torch.testing.assert_close(made[:, inner], signal[:, margin:-margin][:, inner])


def test_without_open_gates_no_tone_gain_is_heard(finisher):
    codes, played, drawn, trusted, decoded = given()
    other = Finisher(TINY.finisher, codebook_size=32).eval().requires_grad_(False)
    other.load_state_dict(finisher.state_dict())
    tone_rows = REGISTERS * (SIZE // 2 + 1)
    other.leave.bias[:tone_rows] += 1.0
    silent = played.clone()
    silent[:, :, :PITCHES] = 0
    assert torch.equal(
        other(codes, silent, drawn, trusted, decoded, 0),
        finisher(codes, silent, drawn, trusted, decoded, 0),
    )
    louder = other(codes, played, drawn, trusted, decoded, 0) - finisher(
        codes, played, drawn, trusted, decoded, 0
    )
    assert float(louder.abs().mean()) > 1e-3


def test_phases_belong_to_the_timeline_and_not_to_the_stretch(finisher):
    codes, played, drawn, trusted, decoded = given()
    assert torch.equal(
        finisher(codes, played, drawn, trusted, decoded, 9),
        finisher(codes, played, drawn, trusted, decoded, 9),
    )
    assert not torch.allclose(
        finisher(codes, played, drawn, trusted, decoded, 9),
        finisher(codes, played, drawn, trusted, decoded, 8),
    )


def test_the_codec_s_decoding_is_added_in_proportion(finisher):
    codes, played, drawn, trusted, decoded = given()
    none, once, twice = (
        finisher(codes, played, drawn, trusted, scale * decoded, 0) for scale in (0, 1, 2)
    )
    torch.testing.assert_close(twice - once, once - none, atol=1e-4, rtol=1e-4)
    assert float((once - none).std()) > 0.01


def test_where_it_is_not_trusted_the_codec_s_decoding_is_left_out(finisher):
    codes, played, drawn, trusted, decoded = given()
    never = torch.zeros_like(trusted)
    made = finisher(codes, played, drawn, never, decoded, 0)
    assert torch.equal(made, finisher(codes, played, drawn, never, 0 * decoded, 0))


def test_notes_that_the_ear_is_unsure_of_stay_silent():
    logit = torch.tensor([-9.0, -0.5, -0.3, 0.0, 9.0])
    likely = logit.sigmoid()
    expected = torch.where(likely > HEARD_FROM, HEARD_LOUDNESS * likely, 0.0)
    made = played_by_ear(logit.reshape(1, 1, -1))[0, 0]
    assert torch.equal(made[:5], expected)
    assert (made[:5] > 0).tolist() == [False, False, True, True, True]
    assert made[5:].tolist() == [0.0] * CUES


def test_the_ear_hears_codes_and_looks_one_frame_ahead(finisher):
    codes, *_ = given()
    before = finisher.hear(codes)
    other = codes.clone()
    other[0, 50] = (other[0, 50] + 1) % 32
    differs = (finisher.hear(other) - before).abs().amax(-1)[0] > 1e-6
    assert int(differs.nonzero()[0]) == 49


@pytest.mark.parametrize("cue", ["drawn", "hits"])
def test_drawn_frames_and_fresh_hits_are_heard(finisher, cue):
    codes, played, drawn, trusted, decoded = given()
    changed = played.clone()
    changed[:, 50, PITCHES:] += 1
    flags = drawn.clone()
    flags[:, 50] = ~flags[:, 50]
    other = (played, flags) if cue == "drawn" else (changed, drawn)
    differs = (
        finisher(codes, *other, trusted, decoded, 0)
        - finisher(codes, played, drawn, trusted, decoded, 0)
    )[0]
    reached = (differs.abs() > 1e-6).nonzero().flatten()
    assert 46 * HOP <= int(reached[0]) <= 50 * HOP
