"""The published codec: latents, codes and audio of every level, losses, and what training moves."""

from dataclasses import replace

import torch

from model.codec import Codec
from model.quantizer import restore_codebook
from model.training.codec_pass import (
    CodebookConfig,
    codec_pass,
    learn_codebooks,
    start_codebooks,
)
from model.training.published_losses import Bandwidth, CodecLossConfig
from tests.golden.configs import codec_config
from tests.vectors import Case, assert_gradients, assert_matches, cases_of, fill

LONE_MIX = (0.5, 1.0, 0.02)
"""What `lmix` takes of each distance where a case repeats its loss with every kind."""
KINDS = ("l1", "l2", "linf", "lmix")


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


def bandwidth_of(case):
    recorded = case["bandwidth"]
    return Bandwidth(l1=recorded["l1"], l2=recorded["l2"], spectrum=recorded["spec"])


def losses_of(case):
    sizes = case["hyper_parameters"]
    return CodecLossConfig(
        wave=case["loss_fn"],
        mix=(sizes["lmix_l1"], sizes["lmix_l2"], sizes["lmix_linf"]),
        largest=sizes["linf_k"],
        spectral=sizes["spectral"],
        multispectral=sizes["multispectral"],
        commitment=sizes["commit"],
        resolutions=tuple(
            zip(
                sizes["multispec_loss_n_fft"],
                sizes["multispec_loss_hop_length"],
                sizes["multispec_loss_window_size"],
                strict=True,
            )
        ),
    )


def published_metrics(passed):
    """Return what a pass made under its published names, where levels count from 1."""
    figures = passed.wave_figures
    metrics = {
        "commit_loss": sum(level.commitment for level in passed.levels),
        "l1_loss": figures.l1,
        "l2_loss": figures.l2,
        "linf_loss": figures.linf,
        "spectral_convergence": figures.convergence,
    }
    names = {"recons": "reconstruction", "spectral": "spectral", "multispectral": "multispectral"}
    for theirs, ours in names.items():
        terms = [getattr(level, ours) for level in passed.levels]
        metrics[f"{theirs}_loss"] = sum(terms)
        for index, term in enumerate(terms, 1):
            metrics[f"{theirs}_loss_l{index}"] = term
    return metrics


def assert_all(made, recorded, prefix):
    """Compare every array of a prefix; none may be left over on either side."""
    wanted = {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    assert wanted == made.keys()
    for key, value in made.items():
        value = torch.as_tensor(value, dtype=torch.float32).detach()
        assert_matches(value, recorded[prefix + key], prefix + key)


@cases_of("vqvae_eval")
@torch.no_grad()
def test_losses_and_metrics_are_the_published_ones(case):
    codec, recorded, config = loaded(case), case.arrays(), losses_of(case)
    audio, bandwidth = recorded["audio"][..., 0], bandwidth_of(case)
    for prefix, relative in (("nonrel.", False), ("rel.", True)):
        passed = codec_pass(codec, audio, bandwidth, replace(config, relative=relative))
        made = published_metrics(passed)
        made |= {"loss": passed.loss, "x_out": passed.made[0][..., None]}
        assert_all(made, recorded, prefix)
    for kind in KINDS:
        alone = replace(config, wave=kind, mix=LONE_MIX)
        passed = codec_pass(codec, audio, bandwidth, alone)
        recons = published_metrics(passed)["recons_loss"]
        assert_all({"loss": passed.loss, "recons_loss": recons}, recorded, f"{kind}.")


def mean(values):
    return sum(values) / len(values)


@cases_of("vqvae_train")
def test_two_steps_of_training_move_codebooks_as_published(case, monkeypatch):
    # Recorded with the identity in place of every random order.
    monkeypatch.setattr(torch, "randperm", lambda size, generator: torch.arange(size))
    codec, recorded, config = loaded(case), case.arrays(), losses_of(case)
    bandwidth, random = bandwidth_of(case), torch.Generator()
    variant = case["variant"]
    levels = [codec.level(index) for index in range(len(codec.levels))]
    if variant["start"] == "restore":
        counts = variant["num_tokens"] or [len(level.quantizer.counts) for level in levels]
        for level, tokens in zip(levels, counts, strict=True):
            restore_codebook(level.quantizer, tokens / len(level.quantizer.counts))
    for step, restarted in enumerate(case["restarted"]):
        audio = recorded[f"step{step}.audio"][..., 0]
        if step == 0 and variant["start"] == "init":
            start_codebooks(codec, audio, random)
        passed = codec_pass(codec, audio, bandwidth, config)
        if step == 0:
            passed.loss.backward()
            assert_gradients(codec, case)
        decay = case["hyper_parameters"]["l_mu"]
        book = CodebookConfig(decay=decay, threshold=variant["threshold"])
        figures = learn_codebooks(codec, passed, random, book)
        rows = len(levels[0].quantizer.counts)
        assert [rows - made.alive for made in figures] == restarted
        assert_matches(passed.loss.detach(), recorded[f"step{step}.loss"])
        made = published_metrics(passed) | {
            "fit": mean([made.distance for made in passed.latent_figures]),
            "pn": mean([made.spread for made in passed.latent_figures]),
            "entropy": mean([made.entropy for made in figures]),
            "used_curr": mean([float(made.used) for made in figures]),
            "usage": mean([float(made.alive) for made in figures]),
            "dk": mean([made.moved for made in figures]),
        }
        assert_all(made, recorded, f"step{step}.metric.")
        for index, level in enumerate(levels):
            for key, buffer in (
                ("k", level.quantizer.codebook),
                ("k_sum", level.quantizer.sums),
                ("k_elem", level.quantizer.counts),
            ):
                assert_matches(buffer, recorded[f"step{step}.{key}{index}"], f"{key}{index}")
