import json
import sqlite3
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from fakes import counting_info

from bridge.database import Database
from bridge.entries import TakeQuery, Verdict
from bridge.errors import ConflictError, NotFoundError, NotReadyError, StorageError
from bridge.jobs import Checkpoint, JobInfo, JobState
from bridge.ports import Conditions, Plan
from bridge.render import ground_of, likeness_of, place
from bridge.request import Prime, RenderRequest, TakePoint
from bridge.store import DATABASE, FRESH_SECONDS, RESERVE, StoreLimits, TakeStore
from bridge.takes import Take, request_digest, summary, take_id

INFO = counting_info()


class Now:
    """Unix seconds, as the test says."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        self.seconds += 1
        return self.seconds


def request(**changes) -> RenderRequest:
    values = {
        "request_id": "r-1",
        "sample_rate": 48_000,
        "source": Prime(samples=np.linspace(-1, 1, 101, dtype=np.float32)[None]),
        "num_samples": 500,
        "plan": Plan(seed=2**64 - 1),
        "conditions": Conditions(),
    }
    return RenderRequest(**{**values, **changes})


def take_of(asked: RenderRequest, parent: str | None = None, codes: bytes = b"codes") -> Take:
    prime = Prime(samples=np.zeros((1, 101), np.float32))
    placement = place(asked, ground_of(prime), INFO)
    told = summary(asked, placement, 1)
    return Take(
        id=take_id(told, asked.plan, "fingerprint", "ab" * 32),
        request=told,
        plan=asked.plan,
        model="counting",
        fingerprint="fingerprint",
        licence="public domain",
        parent=parent,
        sha256="ab" * 32,
        num_samples=500,
        gain_db=-1.5,
        level_db=-1.25,
        image=likeness_of(prime, 48_000).image,
        codes=codes,
    )


def info_of(asked: RenderRequest, name: str, created_s: float = 0.0) -> JobInfo:
    return JobInfo(
        id=name,
        request_id=asked.request_id,
        client_id=asked.client_id,
        state=JobState.QUEUED,
        detached=asked.detached,
        live=asked.live,
        seed=asked.plan.seed,
        model="counting",
        fingerprint="fingerprint",
        created_s=created_s,
        splice_sample=101,
        num_samples=asked.num_samples,
    )


def begin(store: TakeStore, name: str, asked: RenderRequest | None = None) -> JobInfo:
    asked = asked or request()
    info = info_of(asked, name, store.jobs.now())
    store.jobs.add(info, asked, request_digest(asked))
    return info


def keep(store: TakeStore, seed: int, parent: str | None = None, codes: bytes = b"codes") -> Take:
    """Return a take that a job has made."""
    source = Prime(samples=np.full((1, 9), seed, np.float32)) if parent is None else None
    asked = request(plan=Plan(seed=seed), source=source or TakePoint(take_id=str(parent)))
    info = begin(store, f"job-{seed}", asked)
    take = take_of(asked, parent, codes)
    store.finish(replace(info, state=JobState.DONE, take_id=take.id), take, {"done": {"a": 1}})
    return take


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def store(tmp_path, now):
    store = TakeStore(tmp_path, now=now)
    yield store
    store.close()


def test_a_take_is_there_in_full_after_a_restart(store, tmp_path):
    take = keep(store, 1, codes=bytes(range(256)))
    reopened = TakeStore(tmp_path)
    assert reopened.ids() == (take.id,)
    assert reopened.load(take.id) == take
    assert reopened.entry(take.id).take == replace(take, codes=b"")
    assert reopened.check() == ()
    reopened.close()


def test_the_request_of_a_take_comes_back_with_its_audio(store):
    asked = store.request(keep(store, 7).id)
    assert (asked.plan.seed, asked.num_samples) == (7, 500)
    np.testing.assert_array_equal(asked.source.samples, np.full((1, 9), 7, np.float32))


def test_an_equal_take_of_another_job_is_the_same_take(store):
    first = keep(store, 1)
    info = begin(store, "again", store.request(first.id))
    store.finish(replace(info, state=JobState.DONE, take_id=first.id), first, {})
    assert store.ids() == (first.id,)
    assert {job.take_id for job in store.jobs.newest(9)} == {first.id}


def test_takes_are_found_by_what_was_said_of_them_newest_first(store):
    takes = [keep(store, seed) for seed in (1, 2, 3)]
    child = keep(store, 4, parent=takes[0].id)
    store.tag(takes[0].id, verdict=Verdict.KEEP, name="chorus")
    store.tag(takes[1].id, verdict=Verdict.REJECT)
    found = store.entries()
    assert [entry.take.id for entry in found] == [child.id, *(t.id for t in reversed(takes))]
    assert [e.take.id for e in store.entries(TakeQuery(verdict=Verdict.KEEP))] == [takes[0].id]
    assert [e.take.id for e in store.entries(TakeQuery(parent=takes[0].id))] == [child.id]
    assert [e.take.id for e in store.entries(TakeQuery(name="chorus"))] == [takes[0].id]
    assert len(store.entries(TakeQuery(limit=2))) == 2
    older = store.entries(TakeQuery(before_s=found[1].created_s))
    assert [entry.take.id for entry in older] == [entry.take.id for entry in found[2:]]


def test_a_tag_leaves_alone_what_it_does_not_name(store):
    take = keep(store, 1)
    store.tag(take.id, verdict=Verdict.KEEP)
    entry = store.tag(take.id, name="bridge")
    assert (entry.verdict, entry.name) == (Verdict.KEEP, "bridge")
    assert store.tag(take.id, verdict=Verdict.NONE).verdict is Verdict.NONE


def test_a_kept_take_and_one_that_others_depart_from_cannot_be_deleted(store):
    take = keep(store, 1)
    child = keep(store, 2, parent=take.id)
    with pytest.raises(NotReadyError, match="departs from"):
        store.delete(take.id)
    store.tag(child.id, verdict=Verdict.KEEP)
    with pytest.raises(NotReadyError, match="is kept"):
        store.delete(child.id)
    store.tag(child.id, verdict=Verdict.NONE)
    store.delete(child.id)
    store.delete(take.id)
    assert store.ids() == ()
    assert store.jobs.newest(9) == ()


def test_what_no_row_names_any_more_leaves_the_disk(store, tmp_path):
    first, second = keep(store, 1, codes=b"same"), keep(store, 2, codes=b"same")
    objects = tmp_path / "objects"
    assert len(list(objects.glob("??/*"))) == 3
    store.delete(first.id)
    assert len(list(objects.glob("??/*"))) == 2
    assert store.load(second.id).codes == b"same"
    store.delete(second.id)
    assert not list(objects.glob("??/*"))


def test_the_oldest_takes_make_room_rejected_ones_first_and_never_a_kept_one(tmp_path, now):
    store = TakeStore(tmp_path, StoreLimits(max_takes=3), now)
    takes = [keep(store, seed) for seed in range(1, 7)]
    child = keep(store, 9, parent=takes[1].id)
    store.tag(takes[0].id, verdict=Verdict.KEEP)
    store.tag(takes[4].id, verdict=Verdict.REJECT)
    assert store.tidy() == 0, "all are too young to go"
    now.seconds += 2 * FRESH_SECONDS
    young = keep(store, 10)
    store.tag(child.id, verdict=Verdict.KEEP)
    assert store.tidy() == 4
    # Kept; what a kept one departs from; kept; and the youngest stays though it is one too many.
    assert set(store.ids()) == {takes[0].id, takes[1].id, child.id, young.id}
    store.close()


def test_a_store_that_is_full_of_kept_takes_refuses_more(tmp_path, now):
    store = TakeStore(tmp_path, StoreLimits(max_takes=1), now)
    for seed in (1, 2):
        store.tag(keep(store, seed).id, verdict=Verdict.KEEP)
    now.seconds += 2 * FRESH_SECONDS
    with pytest.raises(StorageError, match=r"2 takes .* the limits are 1 takes"):
        store.check_room()
    assert len(store) == 2
    store.close()


def test_ended_jobs_are_forgotten_in_the_end_and_unfinished_ones_never(tmp_path, now):
    store = TakeStore(tmp_path, StoreLimits(max_jobs=2), now)
    begin(store, "unfinished")
    for number in range(5):
        info = begin(store, f"cancelled-{number}")
        store.jobs.end(replace(info, state=JobState.CANCELLED))
    store.tidy()
    names = {job.id for job in store.jobs.newest(99)}
    assert names == {"unfinished", "cancelled-4", "cancelled-3"}
    store.close()


def test_damage_is_found_and_named(store, tmp_path):
    take = keep(store, 1, codes=b"whole")
    (path,) = (p for p in (tmp_path / "objects").glob("??/*") if p.read_bytes() == b"whole")
    path.write_bytes(b"wholf")
    assert [take.id in problem and "damaged" in problem for problem in store.check()] == [True]
    with pytest.raises(StorageError, match="is damaged"):
        store.load(take.id)


def test_a_reference_to_nothing_is_found(store, tmp_path):
    keep(store, 1)
    connection = sqlite3.connect(tmp_path / DATABASE)
    with connection:
        connection.execute("UPDATE takes SET parent = 'gone'")
    connection.close()
    assert any("refers to no takes" in problem for problem in store.check())


def test_a_store_of_a_later_version_is_left_alone(store, tmp_path):
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(NotReadyError, match="version 99"):
        TakeStore(tmp_path)


def test_an_unknown_take_is_named_in_the_error(store):
    for call in (store.load, store.entry, store.request, store.delete, store.tag):
        with pytest.raises(NotFoundError, match="'nowhere'; 0 takes"):
            call("nowhere")


def test_a_key_names_one_job_until_that_job_fails_or_is_cancelled(store):
    asked = request(idempotency_key="k")
    info = begin(store, "first", asked)
    assert store.jobs.by_key("k") == (info, request_digest(asked))
    with pytest.raises(ConflictError, match="'k' names another job"):
        begin(store, "second", asked)
    store.jobs.end(replace(info, state=JobState.CANCELLED, error_code="CANCELLED"))
    assert store.jobs.by_key("k") is None
    begin(store, "third", asked)
    assert store.jobs.find("first").info.state is JobState.CANCELLED
    assert store.jobs.by_key("") is None


def test_jobs_of_a_dead_server_are_taken_up_and_those_of_a_living_one_are_not(tmp_path, now):
    dead, alive = TakeStore(tmp_path, now=now), TakeStore(tmp_path, now=now)
    infos = [begin(dead, name) for name in ("old", "new")]
    begin(alive, "elsewhere")
    ended = begin(dead, "ended")
    dead.jobs.end(replace(ended, state=JobState.FAILED))
    heir = TakeStore(tmp_path, now=now)
    assert heir.jobs.adopt() == ()
    dead.close()
    assert heir.jobs.adopt() == tuple(infos)
    assert heir.jobs.adopt() == (), "they have a living server now"
    for store in (alive, heir):
        store.close()


def test_a_checkpoint_replaces_the_one_before_and_a_torn_one_is_none(store, tmp_path):
    begin(store, "job")
    assert store.jobs.checkpoint("job") is None
    for number in (1, 2):
        store.jobs.save_checkpoint("job", Checkpoint(fed_blocks=number, state=b"state"))
    assert store.jobs.checkpoint("job") == Checkpoint(fed_blocks=2, state=b"state")
    (path,) = (tmp_path / "checkpoints").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert store.jobs.checkpoint("job") is None


def test_the_remains_of_a_job_go_away_with_it(store, tmp_path):
    info = begin(store, "job")
    store.jobs.save_checkpoint("job", Checkpoint(fed_blocks=1, state=b"state"))
    store.jobs.end(replace(info, state=JobState.FAILED, error_code="INTERNAL"))
    assert not list((tmp_path / "checkpoints").iterdir())
    assert not list((tmp_path / "objects").glob("??/*"))
    with pytest.raises(StorageError):
        store.jobs.request("job")


def test_a_take_of_the_first_version_is_taken_over(tmp_path):
    folder = tmp_path / "takes" / "0123456789"
    folder.mkdir(parents=True)
    (folder / "take.json").write_text(json.dumps(FIRST_VERSION))
    (folder / "codes.bin").write_bytes(b"old codes")
    broken = tmp_path / "takes" / "broken"
    broken.mkdir()
    (broken / "take.json").write_text("{")
    store = TakeStore(tmp_path)
    take = store.load("0123456789")
    assert (take.codes, take.start_sample, take.end_sample) == (b"old codes", 12, 32)
    assert (take.seed, take.plan, take.image.num_channels) == (5, Plan(seed=5), 2)
    assert not folder.exists()
    assert broken.exists()
    with pytest.raises(NotReadyError, match="kept no prime"):
        store.request(take.id)
    store.close()


FIRST_VERSION = {
    "id": "0123456789",
    "request": {
        "request_id": "r",
        "idempotency_key": "",
        "sample_rate": 44_100,
        "num_channels": 2,
        "prime_start_sample": 2,
        "prime_samples": 10,
        "prime_sha256": "cd" * 32,
        "anchor_sample": 3,
        "num_samples": 20,
        "conditions": {},
    },
    "plan": {
        "seed": 5,
        "quality": "fast",
        "variation": 0,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "guidance": 1.0,
        "passes": 0,
    },
    "model": "small",
    "fingerprint": "f",
    "licence": "l",
    "parents": [],
    "sha256": "ab" * 32,
    "num_samples": 20,
    "gain_db": 1.0,
}


def test_a_disk_that_is_full_is_told_and_leaves_all_as_it_was(store, tmp_path, monkeypatch):
    kept = keep(store, 1)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        begin(store, "job", request(plan=Plan(seed=2), num_samples=777))
    monkeypatch.undo()
    assert [job.id for job in store.jobs.newest(9)] == ["job-1"]
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".unfinished")]
    assert store.load(kept.id) == kept
    assert store.check() == ()


def test_where_the_disk_refuses_to_delete_the_room_held_back_is_given_up_for_it(
    store, tmp_path, monkeypatch
):
    take, reserve = keep(store, 1), tmp_path / RESERVE
    transaction = Database.transaction

    @contextmanager
    def refused_while_room_is_held(self):
        if reserve.exists():
            raise StorageError("the disk is full")
        with transaction(self) as connection:
            yield connection

    assert reserve.exists()
    with monkeypatch.context() as patched:
        patched.setattr(Database, "transaction", refused_while_room_is_held)
        store.delete(take.id)
    assert store.ids() == ()
    assert not list((tmp_path / "objects").rglob("*.*"))
    assert reserve.exists()


def test_room_that_could_not_be_held_is_held_when_a_deletion_makes_some(store, tmp_path):
    take, reserve = keep(store, 1), tmp_path / RESERVE
    reserve.unlink()
    store.delete(take.id)
    assert reserve.exists()


def found(store, asked, fingerprint):
    return store.codes_for(request_digest(asked), asked.plan, fingerprint)


def test_a_request_finds_the_codes_it_made_under_whatever_name_it_comes(store):
    asked = request(plan=Plan(seed=5), source=Prime(samples=np.full((1, 9), 5, np.float32)))
    keep(store, 5, codes=b"five")
    keep(store, 6, codes=b"six")
    again = replace(asked, request_id="r-2", client_id="somebody", idempotency_key="k")
    assert found(store, again, "fingerprint") == b"five"
    assert found(store, again, "another model") is None
    for other in (
        replace(asked, num_samples=501),
        replace(asked, plan=Plan(seed=5, variation=1)),
        replace(asked, seed_drawn=True),
        replace(asked, source=Prime(samples=np.full((1, 9), 4, np.float32))),
    ):
        assert found(store, other, "fingerprint") is None


def test_a_job_without_a_take_and_a_take_that_is_gone_or_damaged_answer_nothing(store, tmp_path):
    asked = request(plan=Plan(seed=5), source=Prime(samples=np.full((1, 9), 5, np.float32)))
    begin(store, "job-1", asked)
    assert found(store, asked, "fingerprint") is None
    take = keep(store, 5, codes=b"five")
    for path in (tmp_path / "objects").rglob("*"):
        if path.is_file() and path.read_bytes() == b"five":
            path.write_bytes(b"fiver")
    assert found(store, asked, "fingerprint") is None
    store.delete(take.id)
    assert found(store, asked, "fingerprint") is None


def test_a_store_of_the_first_schema_learns_to_find_requests(store, tmp_path):
    asked = request(plan=Plan(seed=5), source=Prime(samples=np.full((1, 9), 5, np.float32)))
    keep(store, 5, codes=b"five")
    store.close()
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute("DROP INDEX jobs_by_digest")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    newer = TakeStore(tmp_path)
    assert found(newer, asked, "fingerprint") == b"five"
    newer.close()
