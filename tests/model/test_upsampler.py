"""A level from the codes above it: how far its conditioner looks, and that it is heard."""

from dataclasses import replace

import pytest
import torch

from model.errors import ConfigError
from model.shipped import SMALL, TINY
from model.teacher import UPPER_AFTER, UPPER_BEFORE
from model.upsampler import Conditioner, Upsampler
from tests.model.tiny import randomised, reach_of

UPPER_ROW = 16


@pytest.mark.parametrize("index", [0, 1])
def test_a_conditioner_sees_what_the_teacher_waits_for_and_no_more(index):
    config = SMALL.priors[index]
    width = config.transformer.width
    conditioner = randomised(Conditioner(config.upper, 2048, width, streams=True)).eval()

    def conditions(embedded):
        return conditioner.norm(conditioner.body(embedded).transpose(1, 2)).transpose(1, 2)

    embedded = torch.randn(2, width, 60, generator=torch.Generator().manual_seed(0))
    reaches = [reach_of(conditions, embedded, 40 * 4 + offset) for offset in range(4)]
    assert max(last for _, last in reaches) - 40 == UPPER_AFTER
    assert 40 - min(first for first, _ in reaches) <= UPPER_BEFORE


@pytest.mark.parametrize("config", TINY.priors[:2])
def test_every_lower_frame_hears_the_codes_above_it(bundle, config):
    upsampler = bundle.upsamplers[0]
    codes = torch.randint(32, (1, 128), generator=torch.Generator().manual_seed(0))
    upper = torch.randint(32, (1, 32), generator=torch.Generator().manual_seed(1))
    start = torch.zeros(1, 16)
    before = upsampler(codes, upper, start)
    assert before.shape == (1, 128, config.vocabulary)
    changed = upper.clone()
    changed[0, 20] = (changed[0, 20] + 1) % 32
    differs = (upsampler(codes, changed, start) - before).abs().amax((0, 2)) > 1e-6
    assert not differs[: (20 - UPPER_AFTER) * 4].any()
    assert differs[20 * 4 : 21 * 4].all()


def test_an_upsampler_without_a_level_above_is_refused():
    with pytest.raises(ConfigError, match="it is None"):
        Upsampler(replace(TINY.priors[0], upper=None))
