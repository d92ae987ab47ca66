"""How alike two sounds are: one for the same, little for another, whatever the phase."""

import pytest
import torch

from model.similarity import mel, mel_similarity


def sine(hertz, samples=22_050, phase=0.0):
    return 0.3 * torch.sin(2 * torch.pi * hertz * torch.arange(samples) / 44_100 + phase)


def noise(samples=22_050, seed=0):
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("samples", [1, 100, 2047, 22_050])
def test_a_sound_is_wholly_like_itself(samples):
    assert mel_similarity(noise(samples), noise(samples)) == pytest.approx(1.0)


def test_phase_hardly_matters_and_pitch_and_loudness_do():
    true = sine(440)
    shifted = mel_similarity(sine(440, phase=1.0), true)
    assert shifted > 0.8
    for other in (sine(880), 0.1 * true, noise()):
        assert mel_similarity(other, true) < 0.8 * shifted


def test_silence_is_nothing_like_a_sound_nor_a_sound_like_silence():
    silence = torch.zeros(22_050)
    assert mel_similarity(silence, noise()) < 0.05
    assert mel_similarity(noise(), silence) == 0
    assert mel_similarity(silence, silence) == 1


@pytest.mark.parametrize("hertz", [200.0, 1000.0, 8000.0])
def test_a_tone_lies_in_the_band_around_it(hertz):
    loudest = int(mel(sine(hertz)).mean(1).argmax())
    top = 2595 * torch.log10(torch.tensor(1 + 22_050 / 700))
    centre = 700 * (10 ** ((loudest + 1) / 65 * float(top) / 2595) - 1)
    assert centre == pytest.approx(hertz, rel=0.25)
