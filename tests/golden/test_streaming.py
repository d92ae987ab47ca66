"""The stack that streams without end, as the shipped model runs it, on published priors."""

import pytest
import torch
from torch.nn import functional as F

from model.upsampler import Upsampler
from tests.golden.priors import heard_in, level_of
from tests.vectors import assert_matches, cases_of

STREAMED = {"row", "column", "previous"}


@cases_of("prior")
@pytest.mark.parametrize("whole_rows", [False, True], ids=["by frame", "by row"])
@torch.no_grad()
def test_streamed_priors_compute_as_published(case, whole_rows):
    module, sizes = level_of(case)
    if not set(sizes.prior.transformer.layer_kinds()) <= STREAMED:
        pytest.skip("the streaming stack has row, column and previous-row attention alone")
    heard, recorded = heard_in(case, module, sizes), case.arrays()
    prior = module.prior if isinstance(module, Upsampler) else module
    previous = F.pad(recorded["z"][:, :-1], (1, 0), value=-1)
    frames = sizes.prior.transformer.row_frames() if whole_rows else 1
    state = (0, prior.transformer.start(len(previous)))
    made = []
    for first in range(0, previous.shape[1], frames):
        span = slice(first, first + frames)
        conditions = heard.conditions[:, span]
        logits, state = prior.advance(previous[:, span], heard.start, conditions, state)
        made.append(logits)
    assert_matches(torch.cat(made, dim=1), recorded["inc_logits"])
