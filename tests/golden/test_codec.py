"""The published codec: latents, codes and audio of every level."""

import torch

from model.codec import Codec
from tests.golden.configs import codec_config
from tests.vectors import Case, assert_matches, cases_of, fill


def loaded(case: Case) -> Codec:
    codec = Codec(codec_config(case["hyper_parameters"]))
    fill(codec, case)
    return codec


@cases_of("vqvae_eval", "vqvae_full_size")
@torch.no_grad()
def test_each_level_encodes_and_decodes_as_published(case):
    codec, recorded = loaded(case), case.arrays()
    stride = case.facts.get("latent_stride", 1)
    suffix = f"_every{stride}" if stride > 1 else ""
    audio = recorded["audio"][..., 0]
    for index in range(len(codec.levels)):
        level = codec.level(index)
        latents = level.latents(audio)
        assert_matches(latents[..., ::stride], recorded[f"latent{index}{suffix}"])
        assert_matches(level.quantizer.encode(latents), recorded[f"codes{index}"])
        for kind in ("", "random_"):
            made = level.decode(recorded[f"{kind}codes{index}"])
            assert_matches(made[..., None], recorded[f"{kind}decoded{index}"])
