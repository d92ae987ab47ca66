"""What the desk asks of Live beyond AbletonOSC: audio clips in the arrangement, in one undo step.

A question is one JSON object in a datagram; so is the answer. It is data: the verbs
are the functions of this module's table. Knows Live's song object, and no server.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from .errors import RefusedError

MAX_STEPS: Final = 100


def answer(song: Any, show: Callable[[str], None], datagram: bytes) -> bytes:  # noqa: ANN401
    """Return the answer to a datagram; a refusal is an answer too.

    Args:
        song: Live's song.
        show: Shows a line in Live's status bar.
        datagram: A question.
    """
    number: object = None
    try:
        question = json.loads(datagram)
        number = question["number"]
        result = _VERBS[question["verb"]](song, show, question)
        told = {"number": number, "result": result}
    except RefusedError as error:
        told = {"number": number, "code": error.args[0], "text": error.args[1]}
    except (ValueError, KeyError, TypeError) as error:
        told = {"number": number, "code": "INVALID_ARGUMENT", "text": repr(error)}
    return json.dumps(told).encode()


def _edit(song: Any, show: Callable[[str], None], question: dict[str, Any]) -> None:  # noqa: ANN401
    """Delete and create clips in one undo step; checks all before it begins."""
    del show
    steps = question["steps"]
    if len(steps) > MAX_STEPS:
        raise RefusedError("INVALID_ARGUMENT", f"{len(steps)} steps, the limit is {MAX_STEPS}")
    doomed = [_clip_named(song, step["name"]) for step in steps if step["do"] == "delete"]
    wanted = [
        (step["track"], step["path"], float(step["beats"]), step["name"])
        for step in steps
        if step["do"] == "clip"
    ]
    if len(doomed) + len(wanted) != len(steps):
        raise RefusedError("INVALID_ARGUMENT", "a step is neither clip nor delete")
    song.begin_undo_step()
    try:
        for track, clip in doomed:
            track.delete_clip(clip)
        for track_name, path, beats, name in wanted:
            track = _track_named(song, track_name) or _new_track(song, track_name)
            clip = track.create_audio_clip(path, beats)
            clip.name = name
            clip.warping = False
    finally:
        song.end_undo_step()


def _clips(song: Any, show: Callable[[str], None], question: dict[str, Any]) -> list[Any]:  # noqa: ANN401
    del show
    track = _track_named(song, question["track"])
    if track is None:
        return []
    return [[clip.name, clip.start_time, clip.file_path] for clip in track.arrangement_clips]


def _selected(song: Any, show: Callable[[str], None], question: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    del show, question
    clip = song.view.detail_clip
    if clip is None or not clip.is_audio_clip:
        raise RefusedError("INVALID_ARGUMENT", "no audio clip is selected: click one")
    if not clip.is_arrangement_clip:
        raise RefusedError("INVALID_ARGUMENT", "the clip is in the session view: drag it over")
    if clip.warping:
        raise RefusedError(
            "INVALID_ARGUMENT", "the clip is warped: switch Warp off, or consolidate it"
        )
    return {
        "track": clip.canonical_parent.name,
        "beats": clip.start_time,
        "path": clip.file_path,
        "from_s": clip.start_marker,
        "to_s": clip.end_marker,
    }


def _tell(song: Any, show: Callable[[str], None], question: dict[str, Any]) -> None:  # noqa: ANN401
    del song
    show(question["text"])


def _undo(song: Any, show: Callable[[str], None], question: dict[str, Any]) -> None:  # noqa: ANN401
    del show, question
    song.undo()


def _track_named(song: Any, name: str) -> Any:  # noqa: ANN401
    return next((track for track in song.tracks if track.name == name), None)


def _new_track(song: Any, name: str) -> Any:  # noqa: ANN401
    song.create_audio_track(-1)
    track = song.tracks[-1]
    track.name = name
    return track


def _clip_named(song: Any, name: str) -> tuple[Any, Any]:  # noqa: ANN401
    for track in song.tracks:
        for clip in track.arrangement_clips:
            if clip.name == name:
                return track, clip
    raise RefusedError("NOT_FOUND", f"there is no clip {name}")


_VERBS: Final[dict[str, Callable[[Any, Callable[[str], None], dict[str, Any]], Any]]] = {
    "edit": _edit,
    "clips": _clips,
    "selected": _selected,
    "tell": _tell,
    "undo": _undo,
}
