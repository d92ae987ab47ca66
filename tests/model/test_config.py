"""Configurations: checked, and free of any framework."""

import subprocess
import sys
from dataclasses import replace

import pytest

from model.config import BlockConfig, ConfigError
from model.shipped import SMALL, TINY, TINY_CODEC


def test_configurations_need_no_framework():
    script = "import sys, model.config; print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_hops_that_do_not_divide_each_other_are_refused():
    third = (BlockConfig(stride=3, repeats=1, width=8, depth=1),)
    with pytest.raises(ConfigError, match=r"hops are \[8, 3, 128\] samples"):
        replace(TINY_CODEC, levels=(TINY_CODEC.levels[0], third, TINY_CODEC.levels[2]))


def test_rows_that_do_not_divide_the_context_are_refused():
    with pytest.raises(ConfigError, match="5 rows do not divide a context of 256 frames"):
        replace(TINY.priors[0].transformer, rows=5)


@pytest.mark.parametrize("config", [TINY, SMALL], ids=["tiny", "small"])
def test_a_streaming_model_s_parts_fit_each_other(config):
    assert config.codec.streams
    stacks = [prior.transformer for prior in config.priors] + [config.student.transformer]
    assert all(stack.relative for stack in stacks)
    assert not config.student.transformer.causal_rows
    hops = [config.codec.hop(level) for level in range(3)]
    for level in (0, 1):
        assert config.priors[level].upper.hop() == hops[level + 1] // hops[level]
    widths = {config.codec.latent_width, config.student.latent_width, config.finisher.latent_width}
    assert len(widths) == 1
    sizes = {config.codec.codebook_size, config.student.codebook_size}
    assert sizes == {prior.vocabulary for prior in config.priors}
    assert config.finisher.hop_samples == hops[2]
    assert config.student.chunk_frames() == config.priors[2].transformer.row_frames()
    assert sorted(config.student.order) == list(range(config.student.group_frames))
