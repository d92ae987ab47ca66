"""Takes as the first version kept them, one folder each, read so that they can be taken over.

They hold no prime and no stereo image: they can be listed, heard and gone on
with, in the middle of the field, and not be made again.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bridge.stereo import StereoImage
from bridge.takes import RequestSummary, Take, plan_from

log = logging.getLogger(__name__)

RECORD: Final = "take.json"
CODES: Final = "codes.bin"


def take_over(folder: Path, keep: Callable[[Take], None]) -> int:
    """Return how many takes were handed to `keep`; each folder goes once its take is kept.

    A folder that cannot be read stays where it is, and the log says so.
    """
    taken = 0
    for record in sorted(folder.glob(f"[!.]*/{RECORD}")):
        try:
            take = _take_from(json.loads(record.read_text()), (record.parent / CODES).read_bytes())
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the take in %s cannot be taken over: %s", record.parent, error)
            continue
        keep(take)
        shutil.rmtree(record.parent)
        taken += 1
    return taken


def _take_from(record: Mapping[str, Any], codes: bytes) -> Take:
    old = record["request"]
    source = {
        "kind": "prime",
        "start_sample": old["prime_start_sample"],
        "num_samples": old["prime_samples"],
        "num_channels": old["num_channels"],
        "sha256": old["prime_sha256"],
    }
    return Take(
        id=record["id"],
        request=RequestSummary(
            request_id=old["request_id"],
            client_id="",
            sample_rate=old["sample_rate"],
            num_channels=old["num_channels"],
            source=source,
            anchor_sample=old["anchor_sample"],
            splice_sample=old["prime_start_sample"] + old["prime_samples"],
            num_samples=old["num_samples"],
            conditions=old["conditions"],
        ),
        plan=plan_from(record["plan"]),
        model=record["model"],
        fingerprint=record["fingerprint"],
        licence=record["licence"],
        parent=None,
        sha256=record["sha256"],
        num_samples=record["num_samples"],
        gain_db=record["gain_db"],
        # Of the gain only the whole was kept; the part that bent peaks is small.
        level_db=record["gain_db"],
        image=StereoImage(sample_rate=old["sample_rate"], num_channels=old["num_channels"]),
        codes=codes,
    )
