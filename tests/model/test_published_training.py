"""Training as published: overfits, goes on as if never stopped, shares work, refuses early."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import torch

from model.conditioning.labels import Piece
from model.errors import CheckpointError, TrainingError
from model.imported import Shards, load_labels, verify_model
from model.published.level import PublishedLevel
from model.published.linear import Precision
from model.published.request import Item, LevelSettings, SystemRequest
from model.published.system import PublishedSystem
from model.trained import (
    CODEC,
    codec_config,
    config_of,
    load_codec,
    load_trained,
    open_trained,
    trained_sizes,
)
from model.training.published import board
from model.training.published.checkpoints import keep, newest
from model.training.published.clips import Cutter, read_stretch
from model.training.published.configuration import asked
from model.training.published.crowd import Crowd
from model.training.published.initial import new_codec, new_prior
from model.training.published.model_sizes import CodecModel
from model.training.published.presets import KINDS, PRIOR_SIZES
from model.training.published.recompute import recompute_layers
from model.training.published.recordings import open_recordings
from model.training.published.run import Order, train_published
from model.training.published_losses import bandwidth_of

RATE = 8000
ROOT = Path(__file__).parents[2]
MODEL = f"""
[model]
sample_rate = {RATE}
downs = [[1], [1, 1]]
multipliers = [2, 1]
width = 8
depth = 1
latent_width = 4
codebook_size = 16
"""
CODEC_TOML = (
    'size = "tiny"'
    + MODEL
    + """
[loss]
resolutions = [[512, 50, 240]]
[data]
clip_samples = 1200
batch_clips = 2
bandwidth_seconds = 1.0
[learning]
steps = {steps}
rate = 0.01
warm_up_steps = 2
[saving]
report_steps = 2
"""
)
PRIOR_TOML = """
size = "tiny"
base = "{base}"
[model]
width = 16
depth = 4
heads = 2
frames = 32
rows = 4
{model}
[data]
batch_clips = 2
[learning]
steps = {steps}
rate = 0.01
warm_up_steps = 2
average = 0.5
[saving]
report_steps = 2
"""


def write_song(path, seconds=1.0, rate=RATE, hertz=220.0, channels=2):
    times = np.arange(int(seconds * rate)) / rate
    wave = 0.4 * np.sin(2 * np.pi * hertz * times)
    soundfile.write(path, np.stack([wave, 0.5 * wave][:channels], 1), rate, subtype="FLOAT")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Return a folder of two short songs with labels and lyrics."""
    folder = tmp_path_factory.mktemp("songs")
    write_song(folder / "one.wav")
    write_song(folder / "two.wav", rate=12_000, hertz=330.0)
    rows = [
        {"path": "one.wav", "artist": "The Band", "genres": ["Slow Rock"], "lyrics": "la " * 9},
        {"path": "two.wav", "total_seconds": 3.0, "offset_seconds": 1.5},
    ]
    (folder / "recordings.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


def train(folder, kind, text, songs, out, lines=None, **order):
    """Train by a configuration's text, as the command does."""
    config = folder / f"{out}.toml"
    config.write_text(text)
    said = [] if lines is None else lines
    stop = order.pop("stop", lambda: False)
    asks = Order(kind=kind, config=config, data=songs, out=folder / out, **order)
    return train_published(asks, said.append, stop)


@pytest.fixture(scope="module")
def codec(songs, tmp_path_factory):
    """Return a codec of a few steps."""
    folder = tmp_path_factory.mktemp("codec")
    return train(folder, "codec", CODEC_TOML.format(steps=4), songs, "codec")


def history(folder):
    return [json.loads(row) for row in (folder / "history.jsonl").read_text().splitlines()]


def tensors_of(out):
    kept = newest(out)
    assert kept is not None
    return kept.tensors()


def same_tensors(ours, theirs):
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


def prior_text(codec, steps, model=""):
    return PRIOR_TOML.format(base=codec.folder, steps=steps, model=model)


def test_a_codec_learns_a_second_of_music_and_its_folder_loads(tmp_path):
    music, lines = tmp_path / "music", []
    music.mkdir()
    write_song(music / "one.wav")
    text = CODEC_TOML.format(steps=60).replace("report_steps = 2", "report_steps = 10")
    made = train(tmp_path, "codec", text, music, "out", lines)
    rows = history(tmp_path / "out")
    assert rows[-1]["loss"] < 0.25 * rows[0]["loss"]
    assert rows[-1]["snr_0_db"] > 6
    assert made.manifest["parts"][CODEC]["step"] == 60
    assert verify_model(made) > 0
    codec = load_codec(open_trained(made.folder))
    weights = tensors_of(tmp_path / "out")
    name = "levels.0.out.conv.weight"
    assert torch.equal(codec.get_parameter(name), weights[f"average/{name}"])
    assert not torch.equal(codec.get_parameter(name), weights[f"weight/{name}"])
    assert any("min left" in line and "snr_0_db" in line for line in lines)


@pytest.mark.parametrize("kind", ["codec", "prior"])
def test_a_training_that_was_stopped_goes_on_to_the_same_numbers(kind, codec, songs, tmp_path):
    text = CODEC_TOML.format(steps=6) if kind == "codec" else prior_text(codec, 6)
    train(tmp_path, kind, text, songs, "whole")
    stops = iter([False, False, True])
    train(tmp_path, kind, text, songs, "parts", stop=lambda: next(stops))
    assert newest(tmp_path / "parts").numbers["step"] == 3
    lines = []
    train(tmp_path, kind, text, songs, "parts", lines)
    assert any("goes on at step 3" in line for line in lines)
    assert newest(tmp_path / "parts").numbers["step"] == 6
    assert same_tensors(tensors_of(tmp_path / "whole"), tensors_of(tmp_path / "parts"))


def test_every_part_is_trained_onto_the_one_before_and_the_whole_samples(codec, songs, tmp_path):
    top = train(tmp_path, "prior", prior_text(codec, 60), songs, "prior")
    rows = history(tmp_path / "prior")
    assert rows[-1]["music_bits"] < rows[0]["music_bits"] - 0.5
    text = f'size = "tiny"\nlevel = 0\nbase = "{top.folder}"\n' + prior_text(codec, 2).split(
        "\n", 3
    )[3].replace("depth = 4", "depth = 3\nupper_depth = 1")
    whole = train(tmp_path, "upsampler", text, songs, "up")
    assert load_labels(whole)["v2"]["artist"] == {"the_band": 1}
    assert load_labels(whole)["v2"]["genre"] == {"rock": 1, "slow": 2}
    sizes = trained_sizes(open_trained(whole.folder))
    parts = [
        PublishedLevel(
            load_trained(whole, f"level_{level}"),
            sizes.level(level),
            precision=Precision.FLOAT32,
        )
        for level in range(2)
    ]
    piece = Piece(artist=1, genres=(1,), lyrics=np.zeros(0, np.int64), total_samples=RATE)
    request = SystemRequest(
        items=((Item(piece=piece),), (Item(piece=piece),)),
        total_samples=32 * 4,
        seed=3,
        variations=(0,),
        settings=(LevelSettings(), LevelSettings()),
        levels=(0, 1),
    )
    system = PublishedSystem(sizes, lambda level: parts[level])
    state = system.begin(request)
    while not state.finished:
        state, _ = system.step(state)
    assert [codes.shape[1] for codes in state.codes] == [64, 32]
    assert load_codec(whole).level(0).decode(state.codes[0]).shape == (1, 128)


@pytest.mark.parametrize(
    "model",
    [
        'lyrics = "encoder"\nattention_order = 8\ndepth = 10\ncharacters = 16',
        'lyrics = "joined"\nattention_order = 12\ndepth = 16\ncharacters = 16\ntext = "v3"',
    ],
    ids=["encoder", "joined"],
)
def test_lyrics_are_learnt_with_the_codes(model, codec, songs, tmp_path):
    text = (
        prior_text(codec, 4, model)
        .replace("depth = 4\n", "")
        .replace("report_steps = 2", "report_steps = 1")
    )
    train(tmp_path, "prior", text, songs, "out")
    first, *_, last = history(tmp_path / "out")
    assert first["lyric_bits"] > 3
    assert last["lyric_bits"] != first["lyric_bits"]
    weight = 0.4 * 16
    total = (weight * first["lyric_bits"] + 32 * first["music_bits"]) / 48
    assert first["loss"] == pytest.approx(total, rel=1e-3)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_and_recomputed_layers_learn_alike(precision, codec, songs, tmp_path):
    text = prior_text(codec, 6)
    train(tmp_path, "prior", text, songs, "single")
    text = text.replace("average = 0.5", f'precision = "{precision}"\ncheckpoint_layers = true')
    train(tmp_path, "prior", text, songs, "half")
    single, half = history(tmp_path / "single"), history(tmp_path / "half")
    assert half[0]["loss"] == pytest.approx(single[0]["loss"], rel=0.02)
    assert half[-1]["loss"] < half[0]["loss"]
    assert any(
        theirs["gradient_norm"] != ours["gradient_norm"]
        for ours, theirs in zip(single, half, strict=True)
    )
    lost = round(sum(2 * row["overflows"] for row in half))
    grown = newest(tmp_path / "half").numbers["loss_scale_log2"]
    assert grown == pytest.approx(16 + ((6 - lost) / 250 - lost if precision == "float16" else 0))


def test_recomputed_layers_give_the_same_gradients():
    gradients = []
    for again in (False, True):
        codec = new_codec(CodecModel(width=8, depth=2, codebook_size=16).config(), seed=1)
        if again:
            assert recompute_layers(codec) > 10
        audio = torch.linspace(-1, 1, 2048)[None].sin()
        level = codec.level(1)
        torch.autograd.backward(level.render(level.latents(audio)).square().mean())
        gradients.append([p.grad for p in level.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


TOGETHER = """
import sys
from pathlib import Path
from model.training.published.run import Order, train_published
config, data, out = map(Path, sys.argv[1:])
train_published(Order(kind=config.stem, config=config, data=data, out=out), lambda _: None)
threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
left = [name for name in threads if "gloo" in name]
assert not left, f"{left} live on, and may abort this process when it ends"
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["codec", "prior"])
def test_two_processes_learn_what_one_learns_from_the_whole_batch(kind, codec, songs, tmp_path):
    text = CODEC_TOML.format(steps=3) if kind == "codec" else prior_text(codec, 3)
    train(tmp_path, kind, text, songs, "one", threads=1)
    script, config = tmp_path / "together.py", tmp_path / f"{kind}.toml"
    script.write_text(TOGETHER)
    config.write_text(text)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, str(script), str(config), str(songs)]
    done = subprocess.run(
        [*command, str(tmp_path / "two")],
        check=False,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    one, two = tensors_of(tmp_path / "one"), tensors_of(tmp_path / "two")
    assert one.keys() == two.keys()
    for key, ours in one.items():
        # Sums in another order; Adam's root makes much of little in gradients near nothing.
        slack = 2e-3 if key.startswith(("weight", "average")) else 1e-4
        torch.testing.assert_close(two[key], ours, rtol=slack, atol=slack, msg=key)
    ours, theirs = history(tmp_path / "one")[0], history(tmp_path / "two")[0]
    for name in ours.keys() - {"minutes"}:
        if not name.startswith("snr"):  # decibels of halves are not those of the whole
            assert theirs[name] == pytest.approx(ours[name], rel=1e-3, abs=1e-3), name


def test_latents_are_chosen_as_one_process_would(monkeypatch):
    latents = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(1))
    whole = Crowd().chosen(latents, 7, torch.Generator().manual_seed(2))
    parts = []
    monkeypatch.setattr("model.training.published.crowd.dist.all_reduce", lambda rows: None)
    for rank in range(2):
        own = latents[2 * rank : 2 * rank + 2]
        crowd = Crowd(rank=rank, size=2)
        parts.append(crowd.chosen(own, 7, torch.Generator().manual_seed(2)))
    assert torch.equal(parts[0] + parts[1], whole)
    flat = latents.movedim(1, -1).flatten(0, 1)
    assert all((flat == row).all(1).any() for row in whole)
    many = Crowd().chosen(latents, 50, torch.Generator().manual_seed(2))
    assert len(many) == 50
    assert len(many.unique(dim=0)) == 50


def test_training_begins_with_a_model_s_weights_and_refuses_sizes_beside_it(codec, songs, tmp_path):
    text = CODEC_TOML.format(steps=1)
    plain = text.replace(MODEL, "\n")
    with pytest.raises(TrainingError, match=r"model\.sample_rate is given.*\[model\] out"):
        train(tmp_path, "codec", text, songs, "out", begin_with=codec.folder)
    # The published rate of the first step is 0: weights stay as they were, codebooks move.
    made = train(tmp_path, "codec", plain, songs, "out", begin_with=codec.folder)
    ours, theirs = load_codec(made), load_codec(codec)
    for before, after in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert torch.equal(before, after)
    counts = tensors_of(tmp_path / "out")["buffer/levels.0.quantizer.counts"]
    assert float(counts.min()) >= 0.99 * (600 / 16) - 1e-3


@torch.no_grad()
def test_weights_begin_as_published():
    settings = PRIOR_SIZES["tiny"].model
    model = replace(
        settings, lyrics="encoder", attention_order=8, depth=10, width=64, init_scale=0.5
    )
    codec = CodecModel().config()
    prior = new_prior(model.config(codec, 2, 300, 200), model, seed=3)
    stack = prior.transformer.stack()
    assert float(prior.codes.weight.std()) == pytest.approx(0.01, rel=0.05)
    assert float(prior.positions.std()) == pytest.approx(0.005, rel=0.1)
    assert float(prior.labels.artist.weight.std()) == pytest.approx(0.005, rel=0.05)
    assert float(stack[0].attention.enter.w.std()) == pytest.approx(0.01, rel=0.05)
    assert float(prior.lyrics.project.w.std()) == pytest.approx(0.02, rel=0.1)
    assert float(prior.lyrics.head.weight.std()) == pytest.approx(0.01, rel=0.1)
    silent = [not bool(layer.attention.leave.w.any() or layer.mlp.leave.w.any()) for layer in stack]
    assert silent == [layer.attention.kind == "encoder" for layer in stack]
    again = new_prior(model.config(codec, 2, 300, 200), model, seed=3)
    assert torch.equal(prior.codes.weight, again.codes.weight)


def cutter(songs, **changes):
    made = Cutter(recordings=open_recordings(songs), sample_rate=RATE, clip_samples=1000, seed=1)
    return replace(made, **changes)


def test_a_clip_depends_on_its_step_and_row_alone(songs):
    cut = cutter(songs)
    whole = cut.batch(7, range(4))
    parts = torch.cat([cut.batch(7, range(2)).audio, cut.batch(7, range(2, 4)).audio])
    assert torch.equal(whole.audio, parts)
    assert not torch.equal(whole.audio, cut.batch(8, range(4)).audio)
    assert not torch.equal(whole.audio, cutter(songs, seed=2).batch(7, range(4)).audio)
    clips = [cut.clip(step, 0) for step in range(200)]
    assert {clip.recording.mix.path.name for clip in clips} == {"one.wav", "two.wav"}
    assert len({clip.left for clip in clips}) > 190
    fixed = [cutter(songs, shift=False, downmix="mid").clip(step, 0) for step in range(50)]
    assert {clip.start_samples for clip in fixed} == {1000 * number for number in range(8)}
    assert {clip.left for clip in fixed} == {0.5}


def test_a_stretch_at_another_rate_is_the_same_music(songs):
    _, other = open_recordings(songs)
    whole = read_stretch(other.mix, 0, RATE, RATE)
    times = np.arange(RATE) / RATE
    inner = slice(200, -200)
    expected = 0.4 * np.sin(2 * np.pi * 330 * times)
    assert np.abs(whole[0] - expected)[inner].max() < 1e-3
    part = read_stretch(other.mix, 3001, 1000, RATE)
    assert np.abs(part - whole[:, 3001:4001]).max() < 1e-3


def test_the_data_s_width_is_that_of_its_samples():
    clips = [torch.full((2, 2048), 0.5), torch.full((2, 2048), -0.5)]
    width = bandwidth_of(clips)
    assert (width.l1, width.l2) == (pytest.approx(0.5), pytest.approx(0.25))
    assert width.spectrum == pytest.approx(bandwidth_of(clips[:1]).spectrum)
    assert bandwidth_of([torch.zeros(1, 2048)]).spectrum == 0


def test_checkpoints_are_bounded_kept_and_passed_over_when_damaged(tmp_path, caplog):
    values = {f"value{number}": torch.full((256,), float(number)) for number in range(6)}
    for step in range(1, 5):
        keep(tmp_path, step, {"step": step}, values.items(), shard_bytes=2048, most=3)
    folders = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert folders == ["step-000000002", "step-000000003", "step-000000004"]
    last = newest(tmp_path)
    assert last.numbers == {"step": 4}
    assert len(last.manifest["files"]) == 3
    assert same_tensors(last.tensors(), values)
    shard = last.folder / next(iter(last.manifest["files"]))
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    with caplog.at_level(logging.WARNING):
        assert newest(tmp_path).numbers == {"step": 3}
    assert "step-000000004 is passed over" in caplog.text
    for name in folders[:2]:
        (tmp_path / "checkpoints" / name / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"all checkpoints .* are damaged: 3"):
        newest(tmp_path)


def test_a_training_with_other_settings_is_not_gone_on_with(codec, songs, tmp_path):
    text = prior_text(codec, 1)
    train(tmp_path, "prior", text, songs, "out")
    with pytest.raises(TrainingError, match=r"learning\.rate was 0\.01, and is now 0\.02"):
        train(tmp_path, "prior", text.replace("rate = 0.01", "rate = 0.02"), songs, "out")
    more = text.replace("steps = 1\n", "steps = 2\n")
    assert train(tmp_path, "prior", more, songs, "out").part("level_1")["step"] == 2


@pytest.mark.parametrize(
    ("kind", "old", "new", "complaint"),
    [
        (
            "codec",
            "rate = 0.01",
            "rat = 0.01",
            r"learning\.rat is unknown; did you mean learning\.rate",
        ),
        ("codec", "[saving]", "[savings]", "savings is unknown; did you mean saving"),
        ("codec", 'size = "tiny"', 'size = "huge"', "size is 'huge', a codec has tiny, small"),
        ("codec", "width = 8", 'width = "8"', r"model\.width is '8', it must be of type int"),
        (
            "codec",
            "clip_samples = 1200",
            "clip_samples = 1202",
            "1202 samples, it must be a multiple of 4",
        ),
        (
            "codec",
            "clip_samples = 1200",
            "clip_samples = 80000",
            "one.wav: 1.00 s long, a clip is 10.00 s",
        ),
        (
            "codec",
            "batch_clips = 2",
            "batch_clips = 0",
            r"data\.batch_clips is 0, it must be above 0",
        ),
        ("codec", "multipliers = [2, 1]", "multipliers = [2]", "one number a level is needed"),
        ("codec", "steps = 1", "betas = [0.9]", r"learning\.betas has 1 entries, 2 are needed"),
        (
            "prior",
            "[data]",
            "[data]\nclip_samples = 256",
            r"256 samples \(0\.03 s\), this model's context of 32 codes takes 128",
        ),
        (
            "prior",
            "[data]",
            "shortest_seconds = 0.01\n[data]",
            r"shortest_seconds is 0\.01 s .*a clip is 0\.016 s",
        ),
        (
            "prior",
            "[data]",
            "longest_seconds = 0.9\n[data]",
            "none of 2 recordings can be used; one.wav: of a piece of 1.00 s",
        ),
        (
            "prior",
            "heads = 2",
            "heads = 3",
            r"model\.heads is 3, it must divide the attention's width of 4",
        ),
        ("prior", "rows = 4", "rows = 5", "5 rows do not divide a context of 32"),
        (
            "prior",
            "[data]",
            "artists = 1\n[data]",
            r"one\.wav has the artist's id 1, model\.artists gives the model 1 rows",
        ),
        (
            "prior",
            "[data]",
            'lyrics = "encoder"\n[data]',
            "model.lyrics is 'encoder', but of 4 layers",
        ),
        (
            "prior",
            "[data]",
            "[data]\nstem_share = 0.5",
            r"data\.stem_share is 0\.5: a prior learns from whole mixes",
        ),
        ("prior", "base =", "bass =", "bass is unknown; did you mean base"),
        (
            "upsampler",
            'size = "tiny"',
            'size = "tiny"\nlevel = 1',
            "level is 1, upsamplers of this codec have levels 0 to 0",
        ),
        (
            "upsampler",
            'size = "tiny"',
            'size = "tiny"\nlevel = 0',
            r"a context of 33|multiple of 2",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(
    kind, old, new, complaint, codec, songs, tmp_path
):
    text = CODEC_TOML.format(steps=1) if kind == "codec" else prior_text(codec, 1)
    if "33" in complaint:
        text = text.replace("frames = 32", "frames = 33").replace("rows = 4", "rows = 3")
    assert old in text
    with pytest.raises(TrainingError, match=complaint):
        train(tmp_path, kind, text.replace(old, new, 1), songs, "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ('{"path": "a.wav", "artis": "x"}', "line 1: 'artis' is unknown; did you mean 'artist'"),
        ('{"path": "b.wav"}', "line 1: path is 'b.wav', there is no such file"),
        ('{"path": "../a.wav"}', "which is outside of"),
        ('{"path": "a.wav"', "line 1: it is no JSON"),
        ("[1]", "expected an object of path"),
        ('{"path": "a.wav", "stems": {"drum": "a.wav"}}', "did you mean 'drums'"),
        ('{"path": "a.wav", "stems": {"drums": "c.wav"}}', "both must be equally long"),
        ('{"path": "a.wav", "midi": "a.wav"}', "no standard MIDI file"),
        ('{"path": "a.wav", "genre": "x", "genres": []}', "both given"),
        ('{"path": "a.wav", "artist": -1}', "artist is -1"),
        ('{"path": "a.wav", "lyrics": 3}', "lyrics is 3, it must be the text"),
        ('{"path": "a.wav", "total_seconds": 0.5}', "it ends at 1.000 s"),
        ('{"path": "a.wav", "offset_seconds": 1}', "without total_seconds"),
        ('{"path": "a.wav", "total_seconds": "1"}', "total_seconds is '1'"),
        ('{"path": "note.txt"}', "cannot be read as audio"),
    ],
)
def test_a_manifest_is_refused_by_line(row, complaint, tmp_path):
    write_song(tmp_path / "a.wav")
    write_song(tmp_path / "c.wav", seconds=0.5)
    (tmp_path / "note.txt").write_text("no audio")
    (tmp_path / "recordings.jsonl").write_text(f"{row}\n")
    with pytest.raises(TrainingError, match=complaint):
        open_recordings(tmp_path)


def test_a_folder_without_manifest_gives_its_files_and_a_manifest_all_it_says(tmp_path):
    with pytest.raises(TrainingError, match="holds no recordings"):
        open_recordings(tmp_path)
    write_song(tmp_path / "b.wav", channels=1)
    (tmp_path / "live").mkdir()
    write_song(tmp_path / "live/a.FLAC".replace("FLAC", "wav"))
    found = open_recordings(tmp_path)
    assert [one.mix.path.name for one in found] == ["b.wav", "a.wav"]
    assert [one.mix.channels for one in found] == [1, 2]
    track = mido.MidiFile()
    track.tracks.append(mido.MidiTrack())
    track.save(tmp_path / "b.mid")
    row = {"path": "b.wav", "midi": "b.mid", "stems": {"bass": "b.wav"}, "genre": 3, "artist": 2}
    (tmp_path / "recordings.jsonl").write_text(json.dumps(row))
    (one,) = open_recordings(tmp_path)
    assert (one.artist, one.genres, one.midi.name) == (2, (3,), "b.mid")
    assert list(one.stems) == ["bass"]


def test_stems_are_heard_by_a_codec_as_often_as_asked(tmp_path):
    write_song(tmp_path / "mix.wav")
    write_song(tmp_path / "bass.wav", hertz=55.0)
    row = {"path": "mix.wav", "stems": {"bass": "bass.wav"}}
    (tmp_path / "recordings.jsonl").write_text(json.dumps(row))
    heard = [cutter(tmp_path, stem_share=0.25).clip(step, 0) for step in range(400)]
    share = sum(clip.source.path.name == "bass.wav" for clip in heard) / 400
    assert share == pytest.approx(0.25, abs=0.06)


def test_silence_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    with pytest.raises(TrainingError, match="all silent"):
        train(tmp_path, "codec", CODEC_TOML.format(steps=1), tmp_path, "out")


def test_tensorboard_gets_scalars_and_audio(songs, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    text = CODEC_TOML.format(steps=2) + "tensorboard = true\n"
    train(tmp_path, "codec", text, songs, "out")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "out/tensorboard")).Reload()
    assert events.Scalars("loss")[0].value == pytest.approx(
        history(tmp_path / "out")[0]["loss"], rel=1e-3
    )
    assert set(events.Tags()["audio"]) == {"true", "level_0", "level_1"}
    assert events.Audio("true")[0].sample_rate == RATE


def test_tensorboard_that_is_not_installed_is_refused(songs, tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(board.importlib, "import_module", missing)
    text = CODEC_TOML.format(steps=2) + "tensorboard = true\n"
    with pytest.raises(TrainingError, match="tensorboard is not installed: pip install"):
        train(tmp_path, "codec", text, songs, "out")


@pytest.mark.parametrize(
    ("kind", "size"), [(kind, size) for kind, sizes in KINDS.items() for size in sizes]
)
def test_every_preset_makes_a_model(kind, size, tmp_path):
    extra = {"codec": {}, "prior": {"base": "x"}, "upsampler": {"base": "x", "level": 0}}[kind]
    settings = asked(kind, {"size": size, **extra}, tmp_path).settings
    if kind == "codec":
        assert settings.model.config().hop(2) == 128
        return
    codec = CodecModel().config()
    config = settings.model.config(codec, 2 if kind == "prior" else 0, 5, 7)
    assert (config.upper is None) == (kind == "prior")
    assert config.labels.artists == 5
    seconds = settings.model.frames * codec.hop(2) / codec.sample_rate
    assert kind == "upsampler" or seconds <= settings.model.shortest_seconds


def test_a_damaged_model_folder_is_refused(codec, tmp_path):
    manifest = json.loads((codec.folder / "manifest.json").read_text())
    for text, complaint in (
        ("[]", "holds a list, expected an object"),
        (json.dumps({**manifest, "parts": {}}), "names no codec"),
        ("{", "cannot be read"),
    ):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(CheckpointError, match=complaint):
            open_trained(tmp_path)
    with pytest.raises(CheckpointError, match=r"has no level_1, it has vqvae"):
        config_of(codec, "level_1")
    broken = {**manifest["parts"][CODEC], "config": {"levels": 3}}
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "parts": {CODEC: broken}}))
    with pytest.raises(CheckpointError, match=r"sizes of vqvae .* are damaged"):
        codec_config(open_trained(tmp_path))
    with pytest.raises(CheckpointError, match="has 0 bytes"):
        Shards.of(open_trained(tmp_path), CODEC)
