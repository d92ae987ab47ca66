"""What a server tells of itself: figures that Prometheus reads, a page without scripts."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from fakes import counting_info

from bridge.engine import EngineStats
from bridge.jobs import JobInfo, JobState
from bridge.model_info import KeptAnswers
from bridge.status import ServerStatus, exposition, metrics_of, page
from bridge.store import StoreStats

STATS = EngineStats(
    running_jobs=2,
    queued_jobs=3,
    done_jobs=5,
    failed_jobs=1,
    cancelled_jobs=4,
    model_turns=70,
    sound_turns=30,
)
STORE = StoreStats(num_takes=9, kept_takes=2, used_bytes=3 * 1024**2, limit_bytes=2**30)
JOB = JobInfo(
    id="job-1",
    request_id="<b>take</b>",
    client_id="osc",
    state=JobState.RUNNING,
    detached=False,
    live=False,
    seed=7,
    model="counting",
    fingerprint="f",
    created_s=0.0,
    splice_sample=0,
    num_samples=1,
    phase="top",
    step=3,
    total_steps=10,
    eta_seconds=4.4,
)
LOADING = ServerStatus(state="loading", version="0.1", started_s=1_000.0, memory_bytes=5 * 1024**2)
SERVING = replace(
    LOADING,
    state="serving",
    model=counting_info(fingerprint='a"b\\c\nd'),
    stats=STATS,
    store=STORE,
    jobs=(JOB,),
    wires={"gRPC": "127.0.0.1:7171"},
)


def parsed(status):
    """Return the figures as Prometheus' own reader sees them."""
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is missing")
    families = parser.text_string_to_metric_families(exposition(metrics_of(status)))
    return {
        (sample.name, *sample.labels.values()): (sample.value, family.type)
        for family in families
        for sample in family.samples
    }


def test_prometheus_reads_every_figure():
    figures = parsed(SERVING)
    assert figures["jukebox_ready",] == (1, "gauge")
    assert figures["jukebox_jobs", "running"] == (2, "gauge")
    assert figures["jukebox_jobs", "queued"] == (3, "gauge")
    assert figures["jukebox_jobs_ended_total", "cancelled"] == (4, "counter")
    assert figures["jukebox_worker_turns_total", "model"] == (70, "counter")
    assert figures["jukebox_takes",] == (9, "gauge")
    assert figures["jukebox_store_bytes",] == (3 * 1024**2, "gauge")
    assert figures["jukebox_memory_bytes",] == (5 * 1024**2, "gauge")
    assert figures["jukebox_start_time_seconds",] == (1_000, "gauge")


def test_kept_answers_are_told_by_kind():
    kept = KeptAnswers(held=3, held_bytes=2 * 1024**2, limit_bytes=8 * 1024**2, hits=7, misses=5)
    serving = replace(SERVING, stats=replace(STATS, kept_answers={"codes": kept}))
    figures = parsed(serving)
    assert figures["jukebox_answer_hits_total", "codes"] == (7, "counter")
    assert figures["jukebox_answer_misses_total", "codes"] == (5, "counter")
    assert figures["jukebox_answer_evictions_total", "codes"] == (0, "counter")
    assert figures["jukebox_answer_held_bytes", "codes"] == (2 * 1024**2, "gauge")
    assert figures["jukebox_answer_limit_bytes", "codes"] == (8 * 1024**2, "gauge")
    assert "7 of 12, 2.0 of 8 MiB" in Cells(page(serving, 2_000.0)).cells


def test_labels_of_any_text_come_through():
    assert parsed(SERVING)["jukebox_build_info", "0.1", "counting", 'a"b\\c\nd'] == (1, "gauge")


def test_while_it_loads_only_what_is_known_is_told():
    figures = parsed(LOADING)
    assert figures["jukebox_ready",] == (0, "gauge")
    assert not [key for key in figures if key[0].startswith(("jukebox_jobs", "jukebox_takes"))]


class Cells(HTMLParser):
    """Collects the text of table cells, and all tags."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.tags, self._in_cell = [], set(), False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        del attrs
        self.tags.add(tag)
        self._in_cell = tag == "td"
        if self._in_cell:
            self.cells.append("")

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag != "td"

    def handle_data(self, data):
        if self._in_cell:
            self.cells[-1] += data


def test_the_page_shows_jobs_store_model_and_memory_without_a_script():
    seen = Cells(page(SERVING, now_s=1_060.0))
    for cell in ("serving", "60 s", "5 MiB", "127.0.0.1:7171", "2 run, 3 wait", "top 3/10", "4 s"):
        assert cell in seen.cells, cell
    assert "5 done, 1 failed, 4 cancelled" in seen.cells
    assert "9 takes, 2 kept; 3 of 1024 MiB" in seen.cells
    assert "<b>take</b>" in seen.cells
    assert not {"script", "b", "img"} & seen.tags


def test_the_page_says_where_there_is_nothing():
    text = page(LOADING, now_s=1_000.0)
    assert text.count("<p>none</p>") == 2
    assert "<h1>Jukebox Bridge: loading</h1>" in text
