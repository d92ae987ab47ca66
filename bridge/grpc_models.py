"""The verbs for models, their labels and the server's counts.

Translates and decides nothing. Knows no socket, no token and no other wire.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from bridge.cache import CacheStats
from bridge.errors import NotFoundError
from bridge.grpc_gate import CLOCK, Call, Verb
from bridge.messages import message_of_model
from bridge.shelf import ShelvedModel
from protos import bridge_pb2


async def _list_models(
    call: Call, asked: bridge_pb2.ListModelsRequest
) -> AsyncGenerator[bridge_pb2.ListModelsResponse]:
    del asked
    models = [_message_of(model) for model in call.desk.shelf.models()]
    yield bridge_pb2.ListModelsResponse(models=models)


async def _load_model(
    call: Call, asked: bridge_pb2.LoadModelRequest
) -> AsyncGenerator[bridge_pb2.Model]:
    call.request_id = asked.name
    yield _message_of(await call.desk.shelf.load_model(asked.name))


async def _unload_model(
    call: Call, asked: bridge_pb2.UnloadModelRequest
) -> AsyncGenerator[bridge_pb2.Model]:
    call.request_id = asked.name
    yield _message_of(await call.desk.shelf.unload_model(asked.name))


async def _list_styles(
    call: Call, asked: bridge_pb2.ListStylesRequest
) -> AsyncGenerator[bridge_pb2.ListStylesResponse]:
    models = call.desk.shelf.models()
    for model in models:
        if asked.model in ("", model.info.name):
            yield bridge_pb2.ListStylesResponse(
                artists=model.info.artists, genres=model.info.genres
            )
            return
    known = ", ".join(model.info.name for model in models)
    raise NotFoundError(f"no model is named {asked.model[:80]!r}; known: {known}", field="model")


async def _get_stats(
    call: Call, asked: bridge_pb2.GetStatsRequest
) -> AsyncGenerator[bridge_pb2.Stats]:
    del asked
    engine = call.desk.engine()
    counts = engine.stats()
    store = await asyncio.to_thread(engine.store.stats)
    yield bridge_pb2.Stats(
        queued_jobs=counts.queued_jobs,
        running_jobs=counts.running_jobs,
        done_jobs=counts.done_jobs,
        failed_jobs=counts.failed_jobs,
        cancelled_jobs=counts.cancelled_jobs,
        model_turns=counts.model_turns,
        sound_turns=counts.sound_turns,
        takes=store.num_takes,
        kept_takes=store.kept_takes,
        stored_bytes=store.used_bytes,
        max_stored_bytes=store.limit_bytes,
        uptime_seconds=CLOCK() - call.desk.begun_s,
        live_blocks=counts.live_blocks,
        late_blocks=counts.late_blocks,
        thinned_chunks=counts.thinned_chunks,
        caches=_message_of_caches(counts),
    )


MODEL_VERBS: Final[Mapping[str, Verb]] = {
    "ListModels": _list_models,
    "LoadModel": _load_model,
    "UnloadModel": _unload_model,
    "ListStyles": _list_styles,
    "GetStats": _get_stats,
}


def _message_of_caches(stats: CacheStats) -> bridge_pb2.CacheStats:
    return bridge_pb2.CacheStats(
        prime_hits=stats.cache_hits,
        prime_misses=stats.cache_misses,
        held_states=stats.cached_states,
        held_bytes=stats.cached_bytes,
        max_bytes=stats.cache_limit_bytes,
        evictions=stats.cache_evictions,
        take_hits=stats.take_hits,
        take_misses=stats.take_misses,
    )


def _message_of(model: ShelvedModel) -> bridge_pb2.Model:
    message = message_of_model(model.info)
    message.loaded = model.loaded
    return message
