"""Published filters: what top-k and the nucleus leave, ties included."""

import torch

from model.sampler import filtered
from tests.vectors import assert_matches, cases_of


@cases_of("filter", "filter_ties")
def test_filters_keep_what_the_published_ones_keep(case):
    recorded = case.arrays()
    for index, setting in enumerate(case["settings"]):
        logits = recorded["logits"].flatten(0, 1) / setting.get("temp", 1.0)
        # 0 switches the published nucleus off, 1 ours.
        top_p = setting.get("top_p", 0.0) or 1.0
        made = filtered(logits, top_k=setting["top_k"], top_p=top_p)
        keep = recorded[f"keep{index}"].flatten(0, 1)
        assert_matches(torch.isfinite(made), keep, str(setting))
        assert keep.sum(1).tolist() == setting["kept"]
        if f"probs{index}" in recorded:
            expected = recorded[f"probs{index}"].flatten(0, 1)
            assert_matches(made.softmax(-1), expected, str(setting))
