"""What a server tells of itself: one value, as metrics for Prometheus and as a page for people.

Knows no HTTP and asks nobody: whoever serves it fills it in.
"""

import html
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bridge.engine import EngineStats
from bridge.entries import TakeEntry
from bridge.jobs import JobInfo
from bridge.model_info import KeptAnswers, ModelInfo
from bridge.store import StoreStats

SERVING: Final = "serving"
PAGE_SECONDS: Final = 5
"""How often a browser asks again."""
_MIB: Final = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """A server at one moment.

    Attributes:
        state: `loading`, `serving`, `unloaded` or `stopping`.
        version: Of this package.
        started_s: Unix time of the start.
        memory_bytes: Resident memory, children included.
        wires: Each way in, and where it is; in words.
        model: What is loaded.
        stats: Counts of the engine.
        store: What is kept.
        jobs: The newest jobs.
        takes: The newest takes.
    """

    state: str
    version: str
    started_s: float
    memory_bytes: int
    wires: Mapping[str, str] = field(default_factory=dict[str, str])
    model: ModelInfo | None = None
    stats: EngineStats | None = None
    store: StoreStats | None = None
    jobs: tuple[JobInfo, ...] = ()
    takes: tuple[TakeEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure for Prometheus, with a value for each set of labels."""

    name: str
    kind: str
    does: str
    values: tuple[tuple[Mapping[str, str], float], ...]


def metrics_of(status: ServerStatus) -> tuple[Metric, ...]:
    """Return the figures of a server; what is not known yet is left out."""
    build = {"version": status.version}
    if status.model is not None:
        build |= {"model": status.model.name, "fingerprint": status.model.fingerprint}
    found = [
        _gauge("jukebox_build_info", "What runs; the value is always 1.", 1, build),
        _gauge("jukebox_ready", "1 if requests are taken, else 0.", status.state == SERVING),
        _gauge("jukebox_start_time_seconds", "Unix time of the start.", status.started_s),
        _gauge("jukebox_memory_bytes", "Resident memory, children included.", status.memory_bytes),
    ]
    if status.stats is not None:
        found += _engine_metrics(status.stats)
    if status.store is not None:
        found += _store_metrics(status.store)
    return tuple(found)


def exposition(metrics: Sequence[Metric]) -> str:
    """Return the figures in Prometheus' text format, version 0.0.4."""
    lines: list[str] = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {metric.does}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        for labels, value in metric.values:
            words = ",".join(f'{name}="{_escaped(word)}"' for name, word in labels.items())
            place = f"{{{words}}}" if words else ""
            lines.append(f"{metric.name}{place} {float(value)!r}")
    return "\n".join(lines) + "\n"


def page(status: ServerStatus, now_s: float) -> str:
    """Return a page for people; it needs no script and asks again by itself.

    Args:
        status: The server.
        now_s: Unix time.
    """
    parts = [
        _table("Server", ("what", "is"), _server_rows(status, now_s)),
        _table("Jobs", JOB_COLUMNS, [_job_row(job) for job in status.jobs]),
        _table("Takes", TAKE_COLUMNS, [_take_row(entry) for entry in status.takes]),
    ]
    return _PAGE.format(
        seconds=PAGE_SECONDS, state=html.escape(status.state), tables="\n".join(parts)
    )


def _engine_metrics(stats: EngineStats) -> list[Metric]:
    return [
        _by_label(
            "jukebox_jobs",
            ("gauge", "Jobs that run or wait."),
            "state",
            {"running": stats.running_jobs, "queued": stats.queued_jobs},
        ),
        _by_label(
            "jukebox_jobs_ended_total",
            ("counter", "Jobs that ended since the start."),
            "outcome",
            {
                "done": stats.done_jobs,
                "failed": stats.failed_jobs,
                "cancelled": stats.cancelled_jobs,
            },
        ),
        _by_label(
            "jukebox_worker_turns_total",
            ("counter", "Pieces of work that a worker did."),
            "worker",
            {"model": stats.model_turns, "sound": stats.sound_turns},
        ),
        _by_label(
            "jukebox_live_blocks_total",
            ("counter", "Blocks that were to sound at a time, and those sent after it."),
            "kept",
            {"in_time": stats.live_blocks - stats.late_blocks, "late": stats.late_blocks},
        ),
        _by_label(
            "jukebox_thinned_chunks_total",
            ("counter", "Chunks that were given fewer passes than asked, to be there in time."),
            "stage",
            {"top": stats.thinned_chunks},
        ),
        *_cache_metrics(stats),
    ]


def _answer_metrics(kept: Mapping[str, KeptAnswers]) -> list[Metric]:
    counts = {
        "hits": ("counter", "Answers of the model's networks that were kept."),
        "misses": ("counter", "Answers of the model's networks that were computed."),
        "evictions": ("counter", "Kept answers that made room for others."),
        "held_bytes": ("gauge", "Bytes of kept answers."),
        "limit_bytes": ("gauge", "Bytes that kept answers may take."),
    }
    return [
        _by_label(
            f"jukebox_answer_{name}{'_total' if kind == 'counter' else ''}",
            (kind, does),
            "answer",
            {answer: getattr(stats, name) for answer, stats in kept.items()},
        )
        for name, (kind, does) in counts.items()
    ]


def _cache_metrics(stats: EngineStats) -> list[Metric]:
    return [
        _by_label(
            "jukebox_cache_hits_total",
            ("counter", "Primes of which a beginning was known, requests that a take answered."),
            "cache",
            {"prime": stats.cache_hits, "take": stats.take_hits},
        ),
        _by_label(
            "jukebox_cache_misses_total",
            ("counter", "Primes and requests that were new."),
            "cache",
            {"prime": stats.cache_misses, "take": stats.take_misses},
        ),
        Metric(
            name="jukebox_cache_evictions_total",
            kind="counter",
            does="States that made room for others.",
            values=(({}, stats.cache_evictions),),
        ),
        *_answer_metrics(stats.kept_answers),
        _gauge("jukebox_cache_states", "States held of primes.", stats.cached_states),
        _gauge("jukebox_cache_bytes", "Bytes of states held.", stats.cached_bytes),
        _gauge("jukebox_cache_limit_bytes", "Bytes that may be held.", stats.cache_limit_bytes),
    ]


def _store_metrics(store: StoreStats) -> list[Metric]:
    return [
        _gauge("jukebox_takes", "Takes in the store.", store.num_takes),
        _gauge("jukebox_takes_kept", "Takes marked to be kept.", store.kept_takes),
        _gauge("jukebox_store_bytes", "Bytes of codes and requests.", store.used_bytes),
        _gauge("jukebox_store_limit_bytes", "Bytes that may be used.", store.limit_bytes),
    ]


def _gauge(name: str, does: str, value: float, labels: Mapping[str, str] | None = None) -> Metric:
    return Metric(name=name, kind="gauge", does=does, values=((labels or {}, float(value)),))


def _by_label(name: str, about: tuple[str, str], label: str, values: Mapping[str, float]) -> Metric:
    kind, does = about
    pairs = tuple(({label: word}, value) for word, value in values.items())
    return Metric(name=name, kind=kind, does=does, values=pairs)


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


JOB_COLUMNS: Final = (
    "job",
    "request",
    "client",
    "state",
    "place",
    "phase",
    "left",
    "take",
    "error",
)
TAKE_COLUMNS: Final = ("take", "name", "verdict", "seed", "samples", "parent", "made")


def _server_rows(status: ServerStatus, now_s: float) -> list[tuple[str, ...]]:
    rows = [
        ("state", status.state),
        ("version", status.version),
        ("up for", f"{max(0.0, now_s - status.started_s):.0f} s"),
        ("memory", f"{status.memory_bytes // _MIB} MiB"),
        *status.wires.items(),
    ]
    if status.model is not None:
        model = status.model
        rows.append(("model", f"{model.name}, fingerprint {model.fingerprint}"))
        rows.append(("licence of results", model.output_licence))
    if status.stats is not None:
        stats = status.stats
        rows.append(("jobs", f"{stats.running_jobs} run, {stats.queued_jobs} wait"))
        rows.append(
            (
                "ended since the start",
                f"{stats.done_jobs} done, {stats.failed_jobs} failed, "
                f"{stats.cancelled_jobs} cancelled",
            )
        )
        asked = stats.cache_hits + stats.cache_misses
        rows.append(
            (
                "known primes",
                f"{stats.cache_hits} of {asked}, {stats.cached_states} states held in "
                f"{stats.cached_bytes // _MIB} of {stats.cache_limit_bytes // _MIB} MiB; "
                f"{stats.take_hits} requests answered by takes",
            )
        )
        rows += [
            (
                f"kept {kind}",
                f"{kept.hits} of {kept.hits + kept.misses}, "
                f"{kept.held_bytes / _MIB:.1f} of {kept.limit_bytes // _MIB} MiB",
            )
            for kind, kept in stats.kept_answers.items()
        ]
    if status.store is not None:
        store = status.store
        rows.append(
            (
                "store",
                f"{store.num_takes} takes, {store.kept_takes} kept; "
                f"{store.used_bytes // _MIB} of {store.limit_bytes // _MIB} MiB",
            )
        )
    return rows


def _job_row(job: JobInfo) -> tuple[str, ...]:
    steps = f"{job.phase} {job.step}/{job.total_steps}" if job.phase else ""
    return (
        job.id,
        job.request_id,
        job.client_id,
        str(job.state),
        str(job.position or ""),
        steps,
        "" if job.state.ended else f"{job.eta_seconds:.0f} s",
        job.take_id,
        f"{job.error_code} {job.error_text}".strip(),
    )


def _take_row(entry: TakeEntry) -> tuple[str, ...]:
    take = entry.take
    made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(entry.created_s))
    return (
        take.id,
        entry.name,
        str(entry.verdict),
        str(take.seed),
        str(take.num_samples),
        take.parent or "",
        made,
    )


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows
    )
    none = "" if rows else "<p>none</p>"
    return f"<h2>{title}</h2>\n<table><tr>{head}</tr>\n{body}</table>{none}"


_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="{seconds}">
<title>Jukebox Bridge: {state}</title>
<style>
body {{ font-family: sans-serif; margin: 2em; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; padding: 0.2em 1em 0.2em 0; border-bottom: 1px solid #ccc; }}
</style>
</head>
<body>
<h1>Jukebox Bridge: {state}</h1>
{tables}
</body>
</html>
"""
