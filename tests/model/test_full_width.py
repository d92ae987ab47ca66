"""An upsampler of the released width, context and tables, from published files to codes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.checkpoint import published_state
from model.conditioning.labels import Piece
from model.imported import load_part, verify_model
from model.importing import import_model
from model.noise import choose
from model.offline_loading import level_loader
from model.prior import Prior
from model.published.linear import Precision
from model.published.request import Item, LevelSettings, SystemRequest
from model.published.system import PublishedSystem
from model.published.window import Luck
from model.released import FILES, MODELS, PRIOR_5B, RELEASED, UPSAMPLER_LEVEL_0, VQVAE
from model.trained import load_trained, trained_sizes
from tests.checkpoints import shallow, synthetic_state, write_published

LAYERS, UNITS = 3, 2
"""Of 72 and 16: a row, a column and a previous-row layer."""
HEAT = 3.0
"""Random weights prefer a few codes by far."""
CODES = 96
"""More than a row of 64: the second row hears the first."""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Return a model whose finer upsampler is of full width; the other priors are narrow."""
    narrow = replace(
        PRIOR_5B, transformer=replace(PRIOR_5B.transformer, width=16, depth=3, heads=1)
    )
    small = shallow(UPSAMPLER_LEVEL_0, layers=1, units=1)
    made = {
        "vqvae": VQVAE,
        "level_0": shallow(UPSAMPLER_LEVEL_0, layers=LAYERS, units=UNITS),
        "level_1": replace(
            small,
            transformer=replace(small.transformer, width=16),
            upper=replace(small.upper, width=16),
        ),
        "level_2": narrow,
    }
    folder = tmp_path_factory.mktemp("full")
    with pytest.MonkeyPatch.context() as patch:
        for part, of in MODELS["5b"].items():
            patch.setitem(RELEASED, of, made[part])
        for seed, part in enumerate(MODELS["5b"]):
            write_published(folder / "files" / FILES[part], synthetic_state(made[part], seed))
        yield import_model(folder / "files", folder / "models", "5b")


@pytest.mark.slow
@torch.no_grad()
def test_a_released_upsampler_of_fewer_layers_loads_converts_verifies_and_samples(imported):
    row = imported.part("level_0")
    wide = UPSAMPLER_LEVEL_0.transformer.width
    assert row["numbers"] > 90e6
    assert row["source"]["bytes"] > 2 * row["numbers"]
    held = sum(file["bytes"] for part in FILES for file in imported.part(part)["files"].values())
    assert verify_model(imported) == held

    own = published_state(load_part(imported, "level_0", torch.float16))
    for key, tensor in synthetic_state(RELEASED["upsampler_level_0"], seed=1).items():
        assert own[key].dtype == tensor.dtype
        assert torch.equal(own[key], tensor), key

    sizes = trained_sizes(imported)
    level = level_loader(imported, sizes, Precision.HALF)(0)
    context = sizes.level(0).context_frames
    assert (level.prior.config.transformer.width, context) == (wide, 8192)
    upper = torch.randint(0, 2048, (1, context // 4), generator=torch.Generator().manual_seed(1))
    piece = Piece(
        artist=4110, genres=(119,), lyrics=np.zeros(0, np.int64), total_samples=60 * 44_100
    )
    request = SystemRequest(
        items=((Item(piece=piece),),) * 3,
        total_samples=context * 8,
        seed=3,
        variations=(0,),
        settings=(LevelSettings(temperature=HEAT),) * 3,
        levels=(0,),
    )
    nothing = torch.zeros(1, 0, dtype=torch.long)
    system = PublishedSystem(sizes, lambda _: level)
    state = system.begin(request, (nothing, upper, nothing))
    while state.drawn_frames < CODES:
        state, _ = system.step(state)
    drawn = state.turn.raw[:, :CODES]
    assert len(drawn.unique()) > CODES // 4

    # The same draws from what the plain module says of whole rows, teacher-forced.
    module = load_trained(imported, "level_0")
    assert isinstance(module.prior, Prior)
    conditions = module.conditioner(upper)[:, :128]
    start = module.prior.start_vector(torch.tensor([4110]), torch.tensor([[119, -1, -1, -1, -1]]))
    whole = torch.nn.functional.pad(drawn, (0, 128 - CODES))
    logits = module.prior(whole, start, conditions)[:, :CODES]
    draws = Luck(seed=3, level=0, variations=(0,)).draws(0, CODES)[0]
    expected = choose((logits[0] / HEAT).double().softmax(-1).numpy(), draws)
    differing = int((expected != drawn[0].numpy()).sum())
    assert differing <= 2, "a map in half precision may move a number across an edge, no more"
