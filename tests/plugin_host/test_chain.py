"""The chain: exact delays, any block size, and music that goes on when a plugin fails."""

import numpy as np
import pedalboard
import pytest
from pedalboard_native._internal import AddLatency

from plugin_host.chain import Chain, Report, load_chain
from plugin_host.errors import AudioFormatError, PluginLoadError
from plugin_host.loader import LoadedPlugin, PluginSpec, load_plugin
from plugin_host.parameters import EFFECTS

RATE = 44100
BLOCKS = [(1,), (7,), (64,), (1, 500, 3, 2000), (20_000,)]


class Fake:
    """A plugin that adds one, and fails in its own way from a given call on."""

    def __init__(self, fail=None, good_calls=2):
        self.fail = fail
        self.good_calls = good_calls
        self.calls = 0

    def reset(self):
        self.calls = 0

    def process(self, input_array, sample_rate, buffer_size, reset):
        self.calls += 1
        if self.fail is None or self.calls <= self.good_calls:
            return input_array + np.float32(1)
        return self.fail(input_array)


def raise_it(block):
    raise RuntimeError("out of tune")


def loaded(plugin, name="fake"):
    return LoadedPlugin(name=name, plugin=plugin)


def delay(num_samples):
    return loaded(AddLatency(num_samples), "delay")


def built_in(plugin, **parameters):
    return load_plugin(PluginSpec(plugin=plugin, parameters=parameters), sample_rate=RATE)


def chain_of(*plugins, num_channels=2):
    return Chain(plugins, sample_rate=RATE, num_channels=num_channels)


def noise(num_samples, num_channels=2):
    made = np.random.default_rng(7).standard_normal((num_channels, num_samples))
    return (0.3 * made).astype(np.float32)


def by_block(chain, samples, sizes):
    parts, start = [], 0
    while start < samples.shape[1]:
        size = sizes[len(parts) % len(sizes)]
        parts.append(chain.process(samples[:, start : start + size]))
        assert parts[-1].shape == samples[:, start : start + size].shape
        start += size
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("sizes", BLOCKS, ids=str)
@pytest.mark.parametrize("num_channels", [1, 2, 3])
@pytest.mark.parametrize("latency", [0, 1, 63, 64, 1000, 8192, 20_001])
def test_a_delay_of_n_comes_out_as_a_latency_of_n(latency, num_channels, sizes):
    chain = chain_of(delay(latency), num_channels=num_channels)
    samples = noise(latency + 2500, num_channels)
    if sizes[0] == 1:
        samples = samples[:, -3000:]  # a call a sample takes its time
    late = np.pad(samples, ((0, 0), (latency, 0)))[:, : samples.shape[1]]
    assert chain.latency_samples == latency
    np.testing.assert_array_equal(by_block(chain, samples, sizes), late)
    assert chain.latency_samples == latency
    assert chain.reports == []


def test_latencies_add_up_along_the_chain():
    chain = chain_of(delay(100), built_in("Gain", gain_db=0.0), delay(23))
    assert chain.latency_samples == 123
    samples = noise(2000)
    np.testing.assert_array_equal(by_block(chain, samples, (64,))[:, 123:], samples[:, :-123])


@pytest.mark.parametrize("num_samples", [0, 1, 500, 20_000])
def test_a_rendered_whole_is_as_long_as_given_and_not_late(num_samples):
    chain = chain_of(delay(700), delay(33))
    samples = noise(num_samples)
    chain.process(noise(999))
    np.testing.assert_array_equal(chain.render(samples), samples)


@pytest.mark.parametrize("lookahead_ms", [0.01, 5.0, 100.0])
@pytest.mark.parametrize("true_peak", [False, True])
def test_a_limiter_that_looks_ahead_is_late_by_what_is_counted(lookahead_ms, true_peak):
    limiter = built_in("BrickwallLimiter", lookahead_ms=lookahead_ms, true_peak=true_peak)
    chain = chain_of(limiter)
    assert chain.latency_samples >= int(RATE * lookahead_ms / 1000)
    click = np.zeros((2, 9000), np.float32)
    click[:, 400] = 0.5  # below the ceiling, so it passes unchanged
    np.testing.assert_allclose(chain.render(click), click, atol=1e-6)


@pytest.mark.parametrize("sizes", BLOCKS[1:], ids=str)
@pytest.mark.parametrize("name", EFFECTS)
def test_blocks_of_any_size_sound_like_the_whole(name, sizes):
    chain = chain_of(built_in(name))
    samples = noise(10_000)
    whole = chain.process(samples)
    chain.reset()
    np.testing.assert_array_equal(by_block(chain, samples, sizes), whole)


@pytest.mark.parametrize("num_channels", [1, 2, 3])
@pytest.mark.parametrize("name", EFFECTS)
def test_single_samples_sound_like_the_whole(name, num_channels):
    chain = chain_of(built_in(name), num_channels=num_channels)
    samples = noise(400, num_channels)
    whole = chain.process(samples)
    chain.reset()
    np.testing.assert_array_equal(by_block(chain, samples, (1,)), whole)


@pytest.mark.parametrize("name", EFFECTS)
def test_a_reset_chain_is_as_good_as_new(name):
    samples = noise(5000)
    fresh = chain_of(built_in(name)).render(samples)
    used = chain_of(built_in(name))
    used.process(noise(12_345))
    np.testing.assert_array_equal(used.render(samples), fresh)
    assert used.reports == []


def test_the_effects_do_what_they_say():
    samples = noise(3000)
    halved = chain_of(built_in("Gain", gain_db=-6.0206)).process(samples)
    np.testing.assert_allclose(halved, samples / 2, rtol=1e-5)
    inverted = chain_of(built_in("Invert")).process(samples)
    np.testing.assert_array_equal(inverted, -samples)


def test_an_empty_chain_hands_back_a_copy():
    samples = noise(10)
    out = chain_of().process(samples)
    np.testing.assert_array_equal(out, samples)
    assert not np.shares_memory(out, samples)


def test_the_given_block_is_never_written_to():
    samples = noise(9000)
    kept = samples.copy()
    chain = chain_of(built_in("Gain", gain_db=6.0), built_in("Reverb"))
    chain.process(samples)
    chain.render(samples)
    np.testing.assert_array_equal(samples, kept)


FAILURES = [
    (raise_it, "raised RuntimeError: out of tune"),
    (lambda block: block[:, :-1], "expected float32 of (2, 100)"),
    (lambda block: block[:1], "expected float32 of (2, 100)"),
    (lambda block: block.astype(np.float64), "returned float64"),
    (lambda block: block * np.float32(np.nan), "200 values that are not finite"),
    (lambda block: np.full_like(block, np.inf), "200 values that are not finite"),
]


@pytest.mark.parametrize(("fail", "reason"), FAILURES)
def test_a_plugin_that_fails_is_bypassed_and_reported_once(fail, reason):
    chain = chain_of(built_in("Invert"), loaded(Fake(fail), "bad"), delay(10))
    samples = noise(400)
    out = by_block(chain, samples, (100,))
    expected = -samples
    expected[:, :100] += 1  # the block before the failure
    np.testing.assert_allclose(out[:, 10:], expected[:, :-10], atol=1e-6)
    (report,) = chain.reports
    assert (report.plugin, report.position, report.start_sample) == ("bad", 1, 100)
    assert reason in report.reason


def test_a_bypassed_plugin_stays_late_so_that_the_timeline_does_not_jump():
    late_failure = pedalboard.Chain([AddLatency(250)])

    class Fails:
        calls = 0

        def reset(self):
            late_failure.reset()

        def process(self, block, rate, size, reset):
            self.calls += 1
            if self.calls > 5:
                raise ValueError("gone")
            return late_failure.process(block, rate, size, reset)

    chain = chain_of(loaded(Fails()))
    samples = noise(2000)
    out = by_block(chain, samples, (64,))
    assert len(chain.reports) == 1
    np.testing.assert_array_equal(out[:, 250:], samples[:, :-250])


def test_a_reset_gives_a_failed_plugin_another_chance():
    chain = chain_of(loaded(Fake(raise_it)))
    samples = noise(100)
    by_block(chain, samples, (50,))
    assert len(chain.reports) == 1
    chain.reset()
    assert chain.reports == []
    np.testing.assert_array_equal(chain.process(samples), samples + np.float32(1))


def test_a_plugin_that_cannot_be_reset_is_bypassed_and_reported():
    class Stuck(Fake):
        def reset(self):
            if self.calls:
                raise RuntimeError("must be reloaded")

    chain = chain_of(loaded(Stuck(), "stuck"))
    samples = noise(50)
    np.testing.assert_array_equal(chain.render(samples), samples)
    reason = "raised RuntimeError: must be reloaded"
    assert chain.reports == [Report(plugin="stuck", position=0, start_sample=0, reason=reason)]


def test_what_is_no_fault_of_a_plugin_is_not_swallowed():
    def interrupt(block):
        raise KeyboardInterrupt

    chain = chain_of(loaded(Fake(interrupt, good_calls=1)))
    with pytest.raises(KeyboardInterrupt):
        chain.process(noise(10))


@pytest.mark.parametrize("fail", [fail for fail, _ in FAILURES[:1] + FAILURES[2:]])
def test_a_plugin_that_cannot_start_is_refused(fail):
    with pytest.raises(PluginLoadError, match="fake does not run at 44100 Hz with 2 channels"):
        chain_of(loaded(Fake(fail, good_calls=0)))


def test_a_latency_without_end_is_refused():
    with pytest.raises(PluginLoadError, match="over the limit of 441000 samples"):
        chain_of(loaded(Fake(lambda block: block[:, :0], good_calls=0)))


BAD_BLOCKS = [
    (np.zeros((2, 4)), "float64"),
    (np.zeros((3, 4), np.float32), (3, 4)),
    (np.zeros(4, np.float32), (4,)),
    (np.array([[0, 0, np.nan], [0, 0, 0]], np.float32), 2),
    (np.array([[0, np.inf], [0, 0]], np.float32), 1),
]


@pytest.mark.parametrize(("block", "value"), BAD_BLOCKS)
@pytest.mark.parametrize("method", [Chain.process, Chain.render])
def test_a_bad_block_is_refused_with_its_value(block, value, method):
    with pytest.raises(AudioFormatError) as caught:
        method(chain_of(), block)
    assert caught.value.value == value
    assert str(value) in str(caught.value)


@pytest.mark.parametrize(
    ("sample_rate", "num_channels", "value", "unit"),
    [
        (0, 2, 0, "Hz"),
        (400_000, 2, 400_000, "Hz"),
        (RATE, 0, 0, "channels"),
        (RATE, 9, 9, "channels"),
    ],
)
def test_a_bad_format_is_refused_before_a_file_is_read(
    tmp_path, sample_rate, num_channels, value, unit
):
    with pytest.raises(AudioFormatError) as caught:
        load_chain(tmp_path / "absent.json", sample_rate=sample_rate, num_channels=num_channels)
    assert (caught.value.value, caught.value.unit) == (value, unit)


@pytest.mark.skipif(pedalboard.__version__ != "0.9.26", reason="measured with pedalboard 0.9.26")
def test_pitch_shift_still_loses_the_blocks_it_is_fed():
    # The reason for the row in REFUSED: should this fail, the effect can join the table.
    shift = pedalboard.PitchShift(semitones=0)
    tone = np.sin(np.arange(4 * RATE) / 20).astype(np.float32)[None]
    blocks = [shift.process(part, RATE, 8192, False) for part in np.split(tone, 40, axis=1)]
    out = np.concatenate(blocks, axis=1)
    assert out.size > RATE
    assert not out.any()
