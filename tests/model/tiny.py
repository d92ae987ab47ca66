"""Models of no training but with every weight at work, and short sounds for them."""

from dataclasses import replace

import numpy as np
import torch
from scipy.stats import chisquare

from model.bundle import Card, empty_bundle, modules, share_codebook
from model.composer import HELD, OFF
from model.draft import Draft
from model.generator import StreamingGenerator
from model.shipped import TINY
from model.values import SamplingPlan, nothing_known

CARD = Card(
    name=TINY.name,
    fingerprint="tiny-1",
    artists=("bach",),
    genres=("chorale",),
    licence="test",
    output_licence="public domain",
)
CHUNK = 64 * 128


def randomised(module, seed=0, gain=1.0):
    """Return the module with random weights of about unit gain: no zero hides a path."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            inputs = parameter[0].numel() if parameter.dim() > 1 else 1
            scale = gain / inputs**0.5 if parameter.dim() > 1 else 0.2
            parameter.add_(torch.randn_like(parameter) * scale)
    return module


def tiny_bundle(seed=0, config=TINY, card=CARD, dtype=torch.float32):
    """Return the smallest model, random; `dtype` is that of the codec's convolutions."""
    torch.manual_seed(seed)
    # Drafts are made last, so that they take no random numbers of other parts.
    bare = tuple(replace(prior, draft=None) for prior in config.priors)
    bundle = replace(empty_bundle(replace(config, priors=bare), card), config=config)
    for prior, whole in zip(bundle.priors, config.priors, strict=True):
        prior.config = whole
        if whole.draft is not None:
            prior.draft = Draft(whole.draft, whole.transformer.width).eval().requires_grad_(False)
    for number, part in enumerate(modules(bundle).values()):
        randomised(part, seed=seed + number)
    # Random logits strike a third of all pitches at each step, more notes than any music has and
    # than tests have time for; and hardly hold one. Likelier are to be silent and to hold.
    bundle.composer.leave.bias.view(-1, 3)[:, [OFF, HELD]] += 3.0
    random = torch.Generator().manual_seed(seed)
    for index in range(3):
        level = bundle.codec.level(index)
        frames = 2 * len(level.quantizer.codebook)
        sounds = 0.3 * torch.randn(1, frames * level.hop, generator=random)
        with torch.no_grad():
            latents = level.latents(sounds)[0].t()
        rows = torch.randperm(len(latents), generator=random)[: len(level.quantizer.codebook)]
        level.quantizer.codebook.copy_(latents[rows])
        level.compute_in(dtype)
    bundle.loudness.log_power.normal_(generator=random)
    share_codebook(bundle)
    return bundle


def remembering_bundle():
    """Return a random model of the smallest size that remembers 8 s, as the shipped one does."""
    rows = replace(TINY.student.transformer, frames=44 * 16, rows=44)
    return tiny_bundle(config=replace(TINY, student=replace(TINY.student, transformer=rows)))


def sound(samples, seed=0):
    """Return a reproducible noise."""
    random = np.random.default_rng(seed)
    return (0.3 * random.standard_normal(samples)).astype(np.float32)


def fed(generator, audio, known=None, pieces=None):
    """Return a timeline that heard audio, whole or in pieces of the lengths given in turn."""
    state = generator.open(known or nothing_known(), 0)
    position, turn = 0, 0
    while position < len(audio):
        size = len(audio) if pieces is None else pieces[turn % len(pieces)]
        state = generator.feed(state, audio[position : position + size])
        position, turn = position + size, turn + 1
    return state


def stepped(generator, state, plan, steps):
    """Return the state so many steps later."""
    for _ in range(steps):
        state = generator.step([state], plan)[0].state
    return state


def grown(generator, state, plan, end_sample):
    """Return the state once its codes are settled to a sample."""
    for _ in range(1000):
        if state.generating and state.settled_sample >= end_sample:
            return state
        state = generator.step([state], plan)[0].state
    raise AssertionError(f"settled are {state.settled_sample} samples, wanted were {end_sample}")


def told(**changes):
    """Return conditions that leave nothing to compose: two notes, then silence."""
    notes = np.array([(0, 9000, 60, 100, 5, 0), (9000, 40_000, 67, 90, 40, 0)], np.int64)
    return replace(nothing_known(), **{"notes": notes, "notes_span": (0, 10**9), **changes})


def decoded(generator, state, first=0):
    """Return all blocks from `first` on that can be decoded, joined."""
    blocks = range(first, state.decodable_sample // generator.block_samples)
    return np.concatenate([generator.decode(state, block) for block in blocks])


def plan(**changes):
    """Return a plan with a seed."""
    return replace(SamplingPlan(seed=7), **changes)


def probability(counts, chances):
    """Return how probable counts at least this far from a distribution are; the rare are joined."""
    expected = chances * counts.sum()
    rare = expected < 10
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] < 5:
        counts, expected = counts[:-1], expected[:-1]
    return chisquare(counts, expected * counts.sum() / expected.sum()).pvalue


def tiny_generator(bundle):
    """Return the door to a bundle."""
    return StreamingGenerator(bundle)


def reach_of(function, given, at):
    """Return the first and the last place of the input that place `at` of the output sees.

    Both are the last axis; gradients of a random mix of the other axes tell.
    """
    given = given.clone().requires_grad_()
    made = function(given)[..., at]
    random = torch.Generator().manual_seed(9)
    (made * torch.randn(made.shape, generator=random)).sum().backward()
    seen = given.grad.flatten(0, -2).abs().amax(0).nonzero().flatten()
    return int(seen[0]), int(seen[-1])
