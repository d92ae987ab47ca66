"""What the codec loses: whole clips in pieces, and figures that known losses have."""

import numpy as np
import pytest

from model.store import Provenance, save_bundle
from model.training import evaluate
from model.training.evaluate import CodecTrips, loss_figures
from tests.model.tiny import CARD, sound

PROVENANCE = Provenance(
    artists=CARD.artists,
    genres=CARD.genres,
    licence="CC0-1.0",
    output_licence="public domain",
    recipe={},
    figures={},
)


@pytest.fixture(scope="module")
def codec(bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    save_bundle(bundle, folder, PROVENANCE)
    return CodecTrips(folder)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_clip_comes_back_at_its_length_whatever_the_pieces(codec, level, monkeypatch):
    audio = sound(30_001)
    whole = codec.through(level, audio)
    hop = (8, 32, 128)[level]
    monkeypatch.setattr(evaluate, "PIECE_FRAMES", 12_800 // hop)
    monkeypatch.setattr(evaluate, "LEAD_FRAMES", 12_800 // hop)
    pieces = codec.through(level, audio)
    assert whole.audio.shape == audio.shape
    assert len(whole.codes) == -(-30_001 // hop)
    assert whole.codes.max() < codec.codebook_sizes[level]
    np.testing.assert_array_equal(pieces.codes, whole.codes)
    np.testing.assert_allclose(pieces.audio, whole.audio, atol=1e-3)


def test_half_the_level_is_half_the_spectrum_and_the_same_wave():
    audio = sound(40_000)
    found = loss_figures(audio / 2, audio)
    assert found["spectral_convergence_db"] == pytest.approx(-6.02, abs=0.05)
    assert found["log_mel_db"] == pytest.approx(6.02, abs=0.05)
    assert found["si_sdr_db"] > 60


@pytest.mark.parametrize("noise_db", [-10.0, -30.0])
def test_noise_is_what_si_sdr_says(noise_db):
    audio, noise = sound(40_000), sound(40_000, seed=1)
    found = loss_figures(audio + noise * 10 ** (noise_db / 20), audio)
    assert found["si_sdr_db"] == pytest.approx(-noise_db, abs=0.2)
    assert found["spectral_convergence_db"] < noise_db + 3
