"""Codes to audio: the same samples whatever the cut, tones only where gates are open."""

from dataclasses import replace

import pytest
import torch

from model.conditioning.roll import CUES, PITCHES, PLAYED
from model.finisher import HEARD_FROM, HEARD_LOUDNESS, Finisher, Material, played_by_ear
from model.grid import grid_of
from model.listening import FEATURES
from model.shipped import TINY
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
    return Material(
        codes=codes,
        played=played,
        drawn=torch.arange(frames)[None] >= 20,
        trusted=torch.rand(1, frames, generator=random) < 0.7,
        decoded=torch.randn(1, frames * HOP, generator=random),
        memory=torch.randn(1, 6, FEATURES, generator=random),
        remembered=torch.tensor([[False, True, True, True, True, True]]),
    )


def cut(material, start, end):
    return replace(
        material,
        codes=material.codes[:, start:end],
        played=material.played[:, start:end],
        drawn=material.drawn[:, start:end],
        trusted=material.trusted[:, start:end],
        decoded=material.decoded[:, start * HOP : end * HOP],
    )


@pytest.mark.parametrize("wanted", [(0, 30), (17, 60), (40, 90), (56, 57)])
def test_what_is_wanted_alone_is_what_it_is_among_the_rest(finisher, wanted):
    first, end = wanted
    whole = finisher(given(), 500)
    part = finisher(replace(given(), wanted=wanted), 500)
    assert part.shape == (1, (end - first) * HOP)
    expected = whole[:, first * HOP : end * HOP]
    torch.testing.assert_close(part, expected, atol=1e-5, rtol=1e-5)


def test_what_was_read_of_a_memory_stands_for_it(finisher):
    material = replace(given(), remembered=None)
    read = replace(material, memory=finisher.read(material.memory))
    assert torch.equal(finisher(read, 0), finisher(material, 0))
    everything = replace(material, remembered=torch.ones(1, 6, dtype=torch.bool))
    torch.testing.assert_close(finisher(everything, 0), finisher(material, 0))


def test_every_frame_makes_its_samples(finisher):
    made = finisher(given(), 0)
    assert made.shape == (1, FRAMES * HOP)
    assert torch.isfinite(made).all()
    assert float(made.std()) > 0.01


@pytest.mark.parametrize(("start", "end"), [(0, 60), (10, 70), (11, 90), (30, 65)])
def test_a_stretch_sounds_the_same_whatever_is_cut_around_it(bundle, finisher, start, end):
    grid = grid_of(bundle)
    whole = finisher(given(), 500)
    part = finisher(cut(given(), start, end), 500 + start)
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
    codes = given().codes

    def made(sequence):
        played = played_by_ear(finisher.hear(sequence) + 2.0)
        return finisher(replace(given(), codes=sequence, played=played), 0)[0]

    before, firsts = made(codes), []
    for code in range(1, 8):
        other = codes.clone()
        other[0, changed] = (other[0, changed] + code) % 32
        differs = (made(other) - before).abs() > 1e-6
        firsts.append(int(differs.nonzero()[0]))
    ahead = [changed * HOP - first for first in firsts]
    assert HOP < max(ahead) <= grid.finisher_after_frames * HOP - HOP // 2


def test_what_is_remembered_is_heard_and_the_rest_is_not(finisher):
    material = given()
    louder = material.memory.clone()
    louder[0, 0] += 2
    assert torch.equal(finisher(replace(material, memory=louder), 0), finisher(material, 0))
    louder[0, 1] += 2
    assert not torch.allclose(finisher(replace(material, memory=louder), 0), finisher(material, 0))


def test_an_empty_memory_is_one_of_which_no_step_is_given(finisher):
    material = given()
    empty = replace(material, memory=material.memory[:, :0], remembered=material.remembered[:, :0])
    nothing = replace(material, remembered=torch.zeros_like(material.remembered))
    torch.testing.assert_close(finisher(empty, 0), finisher(nothing, 0), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(finisher(nothing, 0), finisher(material, 0))


def test_overlap_add_gives_back_what_was_windowed(finisher):
    signal = torch.randn(1, 20 * HOP + SIZE - HOP, generator=torch.Generator().manual_seed(1))
    frames = signal.unfold(1, SIZE, HOP) * finisher.window.square()
    margin = (SIZE - HOP) // 2
    made = finisher._overlap_add(frames)
    inner = slice(2 * HOP, -2 * HOP)
    torch.testing.assert_close(made[:, inner], signal[:, margin:-margin][:, inner])


def test_without_open_gates_no_tone_gain_is_heard(finisher):
    material = given()
    other = Finisher(TINY.finisher, codebook_size=32).eval().requires_grad_(False)
    other.load_state_dict(finisher.state_dict())
    tone_rows = REGISTERS * (SIZE // 2 + 1)
    other.leave.bias[:tone_rows] += 1.0
    played = material.played.clone()
    played[:, :, :PITCHES] = 0
    silent = replace(material, played=played)
    assert torch.equal(other(silent, 0), finisher(silent, 0))
    louder = other(material, 0) - finisher(material, 0)
    assert float(louder.abs().mean()) > 1e-3


def test_phases_belong_to_the_timeline_and_not_to_the_stretch(finisher):
    assert torch.equal(finisher(given(), 9), finisher(given(), 9))
    assert not torch.allclose(finisher(given(), 9), finisher(given(), 8))


def test_the_codec_s_decoding_is_added_in_proportion(finisher):
    material = given()
    none, once, twice = (
        finisher(replace(material, decoded=scale * material.decoded), 0) for scale in (0, 1, 2)
    )
    torch.testing.assert_close(twice - once, once - none, atol=1e-4, rtol=1e-4)
    assert float((once - none).std()) > 0.01


def test_where_it_is_not_trusted_the_codec_s_decoding_is_left_out(finisher):
    material = replace(given(), trusted=torch.zeros(1, FRAMES, dtype=torch.bool))
    silent = replace(material, decoded=0 * material.decoded)
    assert torch.equal(finisher(material, 0), finisher(silent, 0))


def test_notes_that_the_ear_is_unsure_of_stay_silent():
    logit = torch.tensor([-9.0, -0.5, -0.3, 0.0, 9.0])
    likely = logit.sigmoid()
    expected = torch.where(likely > HEARD_FROM, HEARD_LOUDNESS * likely, 0.0)
    made = played_by_ear(logit.reshape(1, 1, -1))[0, 0]
    assert torch.equal(made[:5], expected)
    assert (made[:5] > 0).tolist() == [False, False, True, True, True]
    assert made[5:].tolist() == [0.0] * CUES


def test_the_ear_hears_codes_and_looks_one_frame_ahead(finisher):
    codes = given().codes
    before = finisher.hear(codes)
    other = codes.clone()
    other[0, 50] = (other[0, 50] + 1) % 32
    differs = (finisher.hear(other) - before).abs().amax(-1)[0] > 1e-6
    assert int(differs.nonzero()[0]) == 49


@pytest.mark.parametrize("cue", ["drawn", "hits"])
def test_drawn_frames_and_fresh_hits_are_heard(finisher, cue):
    material = given()
    played, drawn = material.played.clone(), material.drawn.clone()
    played[:, 50, PITCHES:] += 1
    drawn[:, 50] = ~drawn[:, 50]
    other = replace(material, drawn=drawn) if cue == "drawn" else replace(material, played=played)
    differs = (finisher(other, 0) - finisher(material, 0))[0]
    reached = (differs.abs() > 1e-6).nonzero().flatten()
    assert 46 * HOP <= int(reached[0]) <= 50 * HOP
