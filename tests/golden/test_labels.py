"""Published labels: timing rows and vectors, and what a label may not say."""

import pytest
import torch

from model.conditioning.embeddings import LabelEmbedding, TimingEmbedding
from model.conditioning.labels import check_labels, labels_of_rows
from model.conditioning.timing import timing_rows
from model.config import LabelConfig
from model.errors import ModelError
from model.released import PRIOR_5B
from tests.vectors import assert_matches, cases_of, files_of, synthetic

TABLES = {
    "artist": "artist_emb.emb.weight",
    "genre": "bow_genre_emb.emb.weight",
    "total": "total_length_emb.emb.weight",
    "absolute": "absolute_pos_emb.emb.weight",
    "relative": "relative_pos_emb.emb.weight",
}
LABEL_WINDOW_FRAMES = 8192
"""`label_errors.json` is recorded with the 5B prior."""


def config_of(case):
    genres, artists = case["y_bins"]
    return LabelConfig(
        artists=artists,
        genres=genres,
        timing_bins=case["t_bins"],
        seconds=(case["min_duration"] or 1.0, case["max_duration"] or 600.0),
        sample_rate=case["sr"],
    )


@cases_of("labels")
@torch.no_grad()
def test_labels_and_timing_become_the_published_vectors(case):
    config, recorded = config_of(case), case.arrays()
    parts = [LabelEmbedding(config, case["width"])]
    if case["include_time_signal"]:
        parts.append(TimingEmbedding(config, case["width"]))
    own = {
        TABLES[key.partition(".")[0]]: tensor
        for part in parts
        for key, tensor in part.state_dict().items()
    }
    shapes = {key: tuple(tensor.shape) for key, tensor in own.items()}
    for key, tensor in synthetic(shapes, case).items():
        own[key].copy_(tensor)
    labels = labels_of_rows(recorded["y"], case["max_bow_genre_size"])
    check_labels(labels, config)
    start = parts[0](labels.artist, labels.genres)
    assert_matches(start[:, None], recorded["start_emb"])
    if case["include_time_signal"]:
        rows = timing_rows(config, labels.extents, case["n_time"])
        for name, made in (
            ("total_length_emb", rows.total),
            ("absolute_pos_emb", rows.absolute),
            ("relative_pos_emb", rows.relative),
        ):
            assert_matches(made, recorded[f"bins.{name}"], name)
        made = parts[1].window(labels.extents, case["n_time"])
        assert_matches(made[:, :: case["pos_emb_stride"]], recorded["pos_emb"])


@files_of("label_errors")
def test_what_the_published_tables_refuse_is_refused_with_its_value(document):
    config = PRIOR_5B.labels
    for row in document.content:
        labels = labels_of_rows(torch.tensor([row["y"]]), len(row["y"]) - 4)

        def use(labels=labels):
            check_labels(labels, config)
            timing_rows(config, labels.extents, LABEL_WINDOW_FRAMES)

        if row["outcome"] == "accepted":
            use()
            continue
        with pytest.raises(ModelError) as refusal:
            use()
        values = [*row["y"], row["y"][1] + row["y"][2]]
        assert any(str(value) in str(refusal.value) for value in values), row["why"]
