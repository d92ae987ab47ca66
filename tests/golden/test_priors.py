"""Published priors and upsamplers: conditions, logits, losses, gradients, caches, greedy codes."""

import pytest
import torch
from torch.nn import functional as F

from model.prior import Prior
from model.published.linear import Precision
from model.published.objective import prior_losses, window_logits
from model.published.prior import PackedPrior
from model.upsampler import Upsampler
from tests.golden.priors import (
    greedy_run,
    heard_in,
    labels_in,
    level_of,
    new_level_of,
    sequence_in,
)
from tests.vectors import Case, assert_gradients, assert_matches, cases_of

PRIORS = ("prior", "prior_full_context")


def inner(module: Prior | Upsampler) -> Prior:
    return module.prior if isinstance(module, Upsampler) else module


def losses_of(case: Case, module: Prior | Upsampler, sizes):
    return prior_losses(
        module,
        sizes,
        heard_in(case, module, sizes),
        labels_in(case).characters,
        case.arrays()["z"],
        lyric_fraction=case["hyper_parameters"]["prime_loss_fraction"],
    )


@cases_of("prior")
@torch.no_grad()
def test_what_a_window_is_told(case):
    module, sizes = level_of(case)
    heard, recorded = heard_in(case, module, sizes), case.arrays()
    if "y_cond" in recorded:
        assert_matches(heard.start[:, None], recorded["y_cond"])
    if "x_cond" in recorded:
        assert_matches(heard.conditions[:, sizes.prefix_frames :], recorded["x_cond"])
    else:
        assert not heard.conditions.any()
    assert (heard.encoded is not None) == ("encoder_kv" in recorded)
    if heard.encoded is not None:
        lyrics = inner(module).lyrics
        assert lyrics is not None
        assert_matches(heard.encoded, recorded["encoder_kv"])
        assert_matches(lyrics.hidden(labels_in(case).characters), recorded["prime_acts"])
        assert_matches(lyrics.head(heard.encoded), recorded["prime_logits"])


@cases_of(*PRIORS)
@torch.no_grad()
def test_logits_and_losses_of_a_whole_window(case):
    module, sizes = level_of(case)
    recorded = case.arrays()
    logits = window_logits(module, sizes, heard_in(case, module, sizes), recorded["z"])
    if "logits" in recorded:
        assert_matches(logits, recorded["logits"])
    else:
        assert_matches(logits[:, recorded["row_index"]], recorded["logits_rows"])
    losses = losses_of(case, module, sizes)
    assert_matches(losses.total, recorded["loss"])
    assert_matches(losses.music, recorded["gen_loss"])
    assert_matches(losses.lyrics, recorded["prime_loss"])


@cases_of("prior")
def test_gradients_of_the_loss(case):
    module, sizes = new_level_of(case)
    loss = losses_of(case, module.train(), sizes).total
    loss.backward()
    assert_matches(loss.detach(), case.arrays()["train.loss"])
    assert_gradients(module, case)


def cached_logits(case: Case, chunk: int, last: int | None = None) -> torch.Tensor:
    """Return logits of all positions, through the cache in chunks."""
    module, sizes = level_of(case)
    heard, prior = heard_in(case, module, sizes), PackedPrior(inner(module), Precision.FLOAT32)
    sequence = sequence_in(case, sizes, heard)
    previous = F.pad(sequence[:, :-1], (1, 0), value=-1)[:, :last]
    cache = prior.open(len(previous), heard.encoded)
    made = []
    for first in range(0, previous.shape[1], chunk):
        span = slice(first, first + chunk)
        conditions = heard.conditions[:, span]
        x = prior.inputs(previous[:, span], heard.start, conditions, first)
        hidden = prior.advance(x, cache, first)
        logits = prior.logits(hidden, conditions.transpose(0, 1).flatten(0, 1))
        made.append(logits.view(-1, len(previous), logits.shape[-1]).transpose(0, 1))
    return torch.cat(made, dim=1)


@cases_of("prior")
@torch.no_grad()
def test_logits_one_code_at_a_time_through_the_cache(case):
    made, recorded = cached_logits(case, 1), case.arrays()
    assert_matches(made, recorded["inc_logits"])
    assert_matches(made[:, -1].argmax(-1), recorded["inc_last_token"])


@cases_of("prior")
@torch.no_grad()
def test_logits_through_the_cache_in_the_recorded_chunks(case):
    for chunk in case["max_abs_chunked_minus_full"]:
        size = 10**6 if chunk == "all" else int(chunk)
        assert_matches(cached_logits(case, size), case.arrays()["logits"], chunk)


@cases_of("prior_full_context")
@torch.no_grad()
def test_logits_of_a_released_context_through_the_cache(case):
    recorded = case.arrays()
    made = cached_logits(case, case["chunk_size"])
    assert_matches(made[:, recorded["row_index"]], recorded["logits_rows"])
    single = cached_logits(case, 1, case["single_step_tokens"])
    allowed = 1e-5 * made.square().mean().sqrt()
    assert (single - made[:, : single.shape[1]]).abs().max() <= allowed


@cases_of("prior")
@torch.no_grad()
def test_what_lyric_layers_attend_to(case):
    layers = case.facts.get("attn_layers", ())
    if not layers:
        pytest.skip("no attention map was recorded: the model hears no lyrics")
    module, sizes = level_of(case)
    heard, prior = heard_in(case, module, sizes), PackedPrior(inner(module), Precision.FLOAT32)
    previous = F.pad(sequence_in(case, sizes, heard)[:, :-1], (1, 0), value=-1)
    for layer in layers:
        expected = case.arrays()[f"attn_layer{layer}"]
        x = prior.inputs(previous, heard.start, heard.conditions, 0)
        rows = prior.maps(x, prior.open(len(previous), heard.encoded), 0, layer)
        lyrics = [made[..., : expected.shape[-1]] for made in rows]
        made = torch.cat(
            [F.pad(part, (0, expected.shape[-1] - part.shape[-1])) for part in lyrics], 2
        )
        assert_matches(made[:, :, sizes.prefix_frames :], expected, str(layer))


@cases_of("prior")
def test_greedy_codes(case):
    module, sizes = level_of(case)
    recorded = case.arrays()
    for greedy in case["greedy"]:
        name, frames = greedy["name"], greedy["sample_tokens"] or sizes.context_frames
        parts = greedy_run(case, module, sizes, prefix=greedy["prefix"], frames=frames, chunk=5)
        raw = torch.cat(list(parts), dim=1)
        codes = sizes.codes(raw[:, sizes.prefix_frames :])
        assert_matches(codes, recorded[f"greedy.{name}"], name)
        if f"greedy_raw.{name}" in recorded:
            assert_matches(raw, recorded[f"greedy_raw.{name}"], name)
