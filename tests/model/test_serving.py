"""A model made ready to serve makes what it made before, to the precision it is served in."""

import numpy as np
import pytest
import torch

from model.serving import PackedLinear, compute_dtype, made_ready, packs_half, served_in
from model.transformer import Linear
from tests.model.tiny import CHUNK, decoded, fed, grown, plan, sound, tiny_bundle, tiny_generator


@pytest.fixture(scope="module")
def ready():
    return made_ready(tiny_bundle())


def rounded_bundle():
    """Return a tiny model whose weights lie in half precision, as files hold them."""
    bundle = tiny_bundle()
    for part in (bundle.student, bundle.composer, bundle.top, *bundle.upsamplers):
        for parameter in part.parameters():
            parameter.copy_(parameter.half())
    return bundle


def maps_of(bundle):
    parts = (bundle.student, bundle.composer, bundle.top, *bundle.upsamplers)
    return [child for part in parts for child in part.modules() if isinstance(child, Linear)]


def test_codec_and_finisher_compute_in_what_the_processor_is_good_at(ready):
    assert {ready.codec.level(index).dtype for index in range(3)} == {compute_dtype()}
    assert ready.finisher.dtype == compute_dtype()
    assert ready.codec.level(0).quantizer.codebook.dtype == torch.float32
    assert ready.finisher.codebook.dtype == torch.float32
    assert str(compute_dtype()) in served_in()


@pytest.mark.skipif(not packs_half(), reason="this processor multiplies no packed half precision")
def test_no_map_is_left_unpacked_and_a_packed_one_is_the_same_map(ready):
    plain = rounded_bundle()
    assert maps_of(plain)
    assert not maps_of(ready)
    before = plain.student.transformer.stack()[0].mlp.enter
    x = torch.randn(2, 5, before.w.shape[0], generator=torch.Generator().manual_seed(0))
    expected = before(x)
    after = made_ready(plain).student.transformer.stack()[0].mlp.enter
    assert isinstance(after, PackedLinear)
    torch.testing.assert_close(after(x), expected, atol=1e-5, rtol=1e-5)


def test_it_sounds_the_same_but_for_rounding(ready):
    plain, audio = tiny_generator(rounded_bundle()), sound(2 * CHUNK)
    served = tiny_generator(made_ready(rounded_bundle()))
    state = grown(plain, fed(plain, audio), plan(), 4 * CHUNK)
    ours, theirs = decoded(served, state), decoded(plain, state)
    assert float(np.square(ours - theirs).mean()) < 0.01 * float(np.square(theirs).mean())
    assert float(np.abs(theirs).max()) > 0.01
