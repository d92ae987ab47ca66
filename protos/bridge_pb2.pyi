from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StemKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STEM_KIND_UNSPECIFIED: _ClassVar[StemKind]
    STEM_KIND_MIX: _ClassVar[StemKind]
    STEM_KIND_DRUMS: _ClassVar[StemKind]
    STEM_KIND_BASS: _ClassVar[StemKind]
    STEM_KIND_VOCALS: _ClassVar[StemKind]
    STEM_KIND_OTHER: _ClassVar[StemKind]

class Quality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUALITY_UNSPECIFIED: _ClassVar[Quality]
    QUALITY_FAST: _ClassVar[Quality]
    QUALITY_EXACT: _ClassVar[Quality]
    QUALITY_TEACHER: _ClassVar[Quality]

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_PRIME: _ClassVar[Role]
    ROLE_STEM: _ClassVar[Role]
    ROLE_SUFFIX: _ClassVar[Role]
    ROLE_RESULT: _ClassVar[Role]

class Pacing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PACING_UNSPECIFIED: _ClassVar[Pacing]
    PACING_FAST: _ClassVar[Pacing]
    PACING_SERVER: _ClassVar[Pacing]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_QUEUED: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_DONE: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]

class Mark(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MARK_UNSPECIFIED: _ClassVar[Mark]
    MARK_NONE: _ClassVar[Mark]
    MARK_KEPT: _ClassVar[Mark]
    MARK_REJECTED: _ClassVar[Mark]
STEM_KIND_UNSPECIFIED: StemKind
STEM_KIND_MIX: StemKind
STEM_KIND_DRUMS: StemKind
STEM_KIND_BASS: StemKind
STEM_KIND_VOCALS: StemKind
STEM_KIND_OTHER: StemKind
QUALITY_UNSPECIFIED: Quality
QUALITY_FAST: Quality
QUALITY_EXACT: Quality
QUALITY_TEACHER: Quality
ROLE_UNSPECIFIED: Role
ROLE_PRIME: Role
ROLE_STEM: Role
ROLE_SUFFIX: Role
ROLE_RESULT: Role
PACING_UNSPECIFIED: Pacing
PACING_FAST: Pacing
PACING_SERVER: Pacing
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_QUEUED: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_DONE: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLED: JobState
MARK_UNSPECIFIED: Mark
MARK_NONE: Mark
MARK_KEPT: Mark
MARK_REJECTED: Mark

class Labels(_message.Message):
    __slots__ = ("artist", "genre")
    ARTIST_FIELD_NUMBER: _ClassVar[int]
    GENRE_FIELD_NUMBER: _ClassVar[int]
    artist: str
    genre: str
    def __init__(self, artist: _Optional[str] = ..., genre: _Optional[str] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("total_samples", "offset_samples")
    TOTAL_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    OFFSET_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    total_samples: int
    offset_samples: int
    def __init__(self, total_samples: _Optional[int] = ..., offset_samples: _Optional[int] = ...) -> None: ...

class Voice(_message.Message):
    __slots__ = ("artist", "genre", "weight")
    ARTIST_FIELD_NUMBER: _ClassVar[int]
    GENRE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    artist: str
    genre: str
    weight: float
    def __init__(self, artist: _Optional[str] = ..., genre: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class Note(_message.Message):
    __slots__ = ("start_sample", "end_sample", "pitch", "velocity", "program", "is_drum")
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    PITCH_FIELD_NUMBER: _ClassVar[int]
    VELOCITY_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    IS_DRUM_FIELD_NUMBER: _ClassVar[int]
    start_sample: int
    end_sample: int
    pitch: int
    velocity: int
    program: int
    is_drum: bool
    def __init__(self, start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ..., pitch: _Optional[int] = ..., velocity: _Optional[int] = ..., program: _Optional[int] = ..., is_drum: _Optional[bool] = ...) -> None: ...

class MidiPart(_message.Message):
    __slots__ = ("notes", "start_sample", "end_sample")
    NOTES_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    notes: _containers.RepeatedCompositeFieldContainer[Note]
    start_sample: int
    end_sample: int
    def __init__(self, notes: _Optional[_Iterable[_Union[Note, _Mapping]]] = ..., start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ...) -> None: ...

class Section(_message.Message):
    __slots__ = ("name", "start_sample", "end_sample", "similarity")
    NAME_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    name: str
    start_sample: int
    end_sample: int
    similarity: float
    def __init__(self, name: _Optional[str] = ..., start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ..., similarity: _Optional[float] = ...) -> None: ...

class Conditions(_message.Message):
    __slots__ = ("labels", "timing", "midi", "target", "energy_per_bar", "density_per_bar", "sections", "lyrics", "blend")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    MIDI_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    ENERGY_PER_BAR_FIELD_NUMBER: _ClassVar[int]
    DENSITY_PER_BAR_FIELD_NUMBER: _ClassVar[int]
    SECTIONS_FIELD_NUMBER: _ClassVar[int]
    LYRICS_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    labels: Labels
    timing: Timing
    midi: MidiPart
    target: StemKind
    energy_per_bar: _containers.RepeatedScalarFieldContainer[float]
    density_per_bar: _containers.RepeatedScalarFieldContainer[float]
    sections: _containers.RepeatedCompositeFieldContainer[Section]
    lyrics: str
    blend: _containers.RepeatedCompositeFieldContainer[Voice]
    def __init__(self, labels: _Optional[_Union[Labels, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., midi: _Optional[_Union[MidiPart, _Mapping]] = ..., target: _Optional[_Union[StemKind, str]] = ..., energy_per_bar: _Optional[_Iterable[float]] = ..., density_per_bar: _Optional[_Iterable[float]] = ..., sections: _Optional[_Iterable[_Union[Section, _Mapping]]] = ..., lyrics: _Optional[str] = ..., blend: _Optional[_Iterable[_Union[Voice, _Mapping]]] = ...) -> None: ...

class TempoChange(_message.Message):
    __slots__ = ("sample", "tempo_bpm", "meter_numerator", "meter_denominator")
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    TEMPO_BPM_FIELD_NUMBER: _ClassVar[int]
    METER_NUMERATOR_FIELD_NUMBER: _ClassVar[int]
    METER_DENOMINATOR_FIELD_NUMBER: _ClassVar[int]
    sample: int
    tempo_bpm: float
    meter_numerator: int
    meter_denominator: int
    def __init__(self, sample: _Optional[int] = ..., tempo_bpm: _Optional[float] = ..., meter_numerator: _Optional[int] = ..., meter_denominator: _Optional[int] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("num_samples", "bars", "tempo_map")
    NUM_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    BARS_FIELD_NUMBER: _ClassVar[int]
    TEMPO_MAP_FIELD_NUMBER: _ClassVar[int]
    num_samples: int
    bars: float
    tempo_map: _containers.RepeatedCompositeFieldContainer[TempoChange]
    def __init__(self, num_samples: _Optional[int] = ..., bars: _Optional[float] = ..., tempo_map: _Optional[_Iterable[_Union[TempoChange, _Mapping]]] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("quality", "seed", "variation", "temperature", "top_p", "top_k", "guidance", "passes", "finest_level", "levels", "changes", "reprise")
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    VARIATION_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    PASSES_FIELD_NUMBER: _ClassVar[int]
    FINEST_LEVEL_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    REPRISE_FIELD_NUMBER: _ClassVar[int]
    quality: Quality
    seed: int
    variation: int
    temperature: float
    top_p: float
    top_k: int
    guidance: float
    passes: int
    finest_level: int
    levels: _containers.RepeatedCompositeFieldContainer[LevelPlan]
    changes: _containers.RepeatedCompositeFieldContainer[PlanChange]
    reprise: bool
    def __init__(self, quality: _Optional[_Union[Quality, str]] = ..., seed: _Optional[int] = ..., variation: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., guidance: _Optional[float] = ..., passes: _Optional[int] = ..., finest_level: _Optional[int] = ..., levels: _Optional[_Iterable[_Union[LevelPlan, _Mapping]]] = ..., changes: _Optional[_Iterable[_Union[PlanChange, _Mapping]]] = ..., reprise: _Optional[bool] = ...) -> None: ...

class PlanChange(_message.Message):
    __slots__ = ("from_sample", "passes")
    FROM_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    PASSES_FIELD_NUMBER: _ClassVar[int]
    from_sample: int
    passes: int
    def __init__(self, from_sample: _Optional[int] = ..., passes: _Optional[int] = ...) -> None: ...

class LevelPlan(_message.Message):
    __slots__ = ("level", "temperature", "top_p", "top_k", "hop_fraction")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    HOP_FRACTION_FIELD_NUMBER: _ClassVar[int]
    level: int
    temperature: float
    top_p: float
    top_k: int
    hop_fraction: float
    def __init__(self, level: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., hop_fraction: _Optional[float] = ...) -> None: ...

class AudioFormat(_message.Message):
    __slots__ = ("sample_rate", "num_channels")
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    NUM_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    sample_rate: int
    num_channels: int
    def __init__(self, sample_rate: _Optional[int] = ..., num_channels: _Optional[int] = ...) -> None: ...

class AudioBlock(_message.Message):
    __slots__ = ("role", "start_sample", "samples", "stem", "underrun")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    STEM_FIELD_NUMBER: _ClassVar[int]
    UNDERRUN_FIELD_NUMBER: _ClassVar[int]
    role: Role
    start_sample: int
    samples: bytes
    stem: StemKind
    underrun: bool
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., start_sample: _Optional[int] = ..., samples: _Optional[bytes] = ..., stem: _Optional[_Union[StemKind, str]] = ..., underrun: _Optional[bool] = ...) -> None: ...

class StemClaim(_message.Message):
    __slots__ = ("kind", "start_sample", "num_samples")
    KIND_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    NUM_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    kind: StemKind
    start_sample: int
    num_samples: int
    def __init__(self, kind: _Optional[_Union[StemKind, str]] = ..., start_sample: _Optional[int] = ..., num_samples: _Optional[int] = ...) -> None: ...

class ContinueHeader(_message.Message):
    __slots__ = ("format", "model", "prime_start_sample", "prime_samples", "conditions", "target", "plan", "suffix_samples", "anchor_sample", "detached", "idempotency_key", "request_id", "write_file", "stems")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRIME_START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    PRIME_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WRITE_FILE_FIELD_NUMBER: _ClassVar[int]
    STEMS_FIELD_NUMBER: _ClassVar[int]
    format: AudioFormat
    model: str
    prime_start_sample: int
    prime_samples: int
    conditions: Conditions
    target: Target
    plan: Plan
    suffix_samples: int
    anchor_sample: int
    detached: bool
    idempotency_key: str
    request_id: str
    write_file: bool
    stems: _containers.RepeatedCompositeFieldContainer[StemClaim]
    def __init__(self, format: _Optional[_Union[AudioFormat, _Mapping]] = ..., model: _Optional[str] = ..., prime_start_sample: _Optional[int] = ..., prime_samples: _Optional[int] = ..., conditions: _Optional[_Union[Conditions, _Mapping]] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., suffix_samples: _Optional[int] = ..., anchor_sample: _Optional[int] = ..., detached: _Optional[bool] = ..., idempotency_key: _Optional[str] = ..., request_id: _Optional[str] = ..., write_file: _Optional[bool] = ..., stems: _Optional[_Iterable[_Union[StemClaim, _Mapping]]] = ...) -> None: ...

class ContinueRequest(_message.Message):
    __slots__ = ("header", "audio")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    header: ContinueHeader
    audio: AudioBlock
    def __init__(self, header: _Optional[_Union[ContinueHeader, _Mapping]] = ..., audio: _Optional[_Union[AudioBlock, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("request_id", "seed", "anchor_sample", "splice_sample", "expected_samples", "codec_fidelity", "advice", "model", "fingerprint", "job_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    SPLICE_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    seed: int
    anchor_sample: int
    splice_sample: int
    expected_samples: int
    codec_fidelity: float
    advice: str
    model: str
    fingerprint: str
    job_id: str
    def __init__(self, request_id: _Optional[str] = ..., seed: _Optional[int] = ..., anchor_sample: _Optional[int] = ..., splice_sample: _Optional[int] = ..., expected_samples: _Optional[int] = ..., codec_fidelity: _Optional[float] = ..., advice: _Optional[str] = ..., model: _Optional[str] = ..., fingerprint: _Optional[str] = ..., job_id: _Optional[str] = ...) -> None: ...

class Queued(_message.Message):
    __slots__ = ("job_id", "request_id", "position", "eta_seconds")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ETA_SECONDS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    request_id: str
    position: int
    eta_seconds: float
    def __init__(self, job_id: _Optional[str] = ..., request_id: _Optional[str] = ..., position: _Optional[int] = ..., eta_seconds: _Optional[float] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("phase", "step", "total_steps", "eta_seconds")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    ETA_SECONDS_FIELD_NUMBER: _ClassVar[int]
    phase: str
    step: int
    total_steps: int
    eta_seconds: float
    def __init__(self, phase: _Optional[str] = ..., step: _Optional[int] = ..., total_steps: _Optional[int] = ..., eta_seconds: _Optional[float] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("take_id", "path", "sha256", "num_samples", "rtf", "first_audio_ms", "gain_db", "licence", "lead_in", "words", "late_blocks")
    TAKE_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    NUM_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    RTF_FIELD_NUMBER: _ClassVar[int]
    FIRST_AUDIO_MS_FIELD_NUMBER: _ClassVar[int]
    GAIN_DB_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    LEAD_IN_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    LATE_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    take_id: str
    path: str
    sha256: str
    num_samples: int
    rtf: float
    first_audio_ms: float
    gain_db: float
    licence: str
    lead_in: bytes
    words: _containers.RepeatedCompositeFieldContainer[TimedWord]
    late_blocks: int
    def __init__(self, take_id: _Optional[str] = ..., path: _Optional[str] = ..., sha256: _Optional[str] = ..., num_samples: _Optional[int] = ..., rtf: _Optional[float] = ..., first_audio_ms: _Optional[float] = ..., gain_db: _Optional[float] = ..., licence: _Optional[str] = ..., lead_in: _Optional[bytes] = ..., words: _Optional[_Iterable[_Union[TimedWord, _Mapping]]] = ..., late_blocks: _Optional[int] = ...) -> None: ...

class TimedWord(_message.Message):
    __slots__ = ("text", "line", "start_sample", "end_sample", "character_samples")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    text: str
    line: int
    start_sample: int
    end_sample: int
    character_samples: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, text: _Optional[str] = ..., line: _Optional[int] = ..., start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ..., character_samples: _Optional[_Iterable[int]] = ...) -> None: ...

class RenderEvent(_message.Message):
    __slots__ = ("accepted", "progress", "audio", "done", "queued", "variation")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    VARIATION_FIELD_NUMBER: _ClassVar[int]
    accepted: Accepted
    progress: Progress
    audio: AudioBlock
    done: Done
    queued: Queued
    variation: int
    def __init__(self, accepted: _Optional[_Union[Accepted, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., audio: _Optional[_Union[AudioBlock, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., queued: _Optional[_Union[Queued, _Mapping]] = ..., variation: _Optional[int] = ...) -> None: ...

class LevelCodes(_message.Message):
    __slots__ = ("level", "codes")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    level: int
    codes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, level: _Optional[int] = ..., codes: _Optional[_Iterable[int]] = ...) -> None: ...

class UpsampleRequest(_message.Message):
    __slots__ = ("format", "model", "start_sample", "levels", "finest_level", "conditions", "target", "plan", "detached", "idempotency_key", "request_id", "write_file")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    FINEST_LEVEL_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WRITE_FILE_FIELD_NUMBER: _ClassVar[int]
    format: AudioFormat
    model: str
    start_sample: int
    levels: _containers.RepeatedCompositeFieldContainer[LevelCodes]
    finest_level: int
    conditions: Conditions
    target: Target
    plan: Plan
    detached: bool
    idempotency_key: str
    request_id: str
    write_file: bool
    def __init__(self, format: _Optional[_Union[AudioFormat, _Mapping]] = ..., model: _Optional[str] = ..., start_sample: _Optional[int] = ..., levels: _Optional[_Iterable[_Union[LevelCodes, _Mapping]]] = ..., finest_level: _Optional[int] = ..., conditions: _Optional[_Union[Conditions, _Mapping]] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., detached: _Optional[bool] = ..., idempotency_key: _Optional[str] = ..., request_id: _Optional[str] = ..., write_file: _Optional[bool] = ...) -> None: ...

class VaryRequest(_message.Message):
    __slots__ = ("take_id", "from_bar", "from_sample", "variations", "target", "plan", "detached", "idempotency_key", "request_id", "write_file")
    TAKE_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_BAR_FIELD_NUMBER: _ClassVar[int]
    FROM_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    VARIATIONS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WRITE_FILE_FIELD_NUMBER: _ClassVar[int]
    take_id: str
    from_bar: float
    from_sample: int
    variations: int
    target: Target
    plan: Plan
    detached: bool
    idempotency_key: str
    request_id: str
    write_file: bool
    def __init__(self, take_id: _Optional[str] = ..., from_bar: _Optional[float] = ..., from_sample: _Optional[int] = ..., variations: _Optional[int] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., detached: _Optional[bool] = ..., idempotency_key: _Optional[str] = ..., request_id: _Optional[str] = ..., write_file: _Optional[bool] = ...) -> None: ...

class LiveRequest(_message.Message):
    __slots__ = ("header", "audio", "continuation", "credit", "stop", "loop", "tempo", "notes")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    CONTINUATION_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    LOOP_FIELD_NUMBER: _ClassVar[int]
    TEMPO_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    header: LiveHeader
    audio: AudioBlock
    continuation: LiveContinuation
    credit: LiveCredit
    stop: LiveStop
    loop: LiveLoop
    tempo: LiveTempo
    notes: MidiPart
    def __init__(self, header: _Optional[_Union[LiveHeader, _Mapping]] = ..., audio: _Optional[_Union[AudioBlock, _Mapping]] = ..., continuation: _Optional[_Union[LiveContinuation, _Mapping]] = ..., credit: _Optional[_Union[LiveCredit, _Mapping]] = ..., stop: _Optional[_Union[LiveStop, _Mapping]] = ..., loop: _Optional[_Union[LiveLoop, _Mapping]] = ..., tempo: _Optional[_Union[LiveTempo, _Mapping]] = ..., notes: _Optional[_Union[MidiPart, _Mapping]] = ...) -> None: ...

class LiveHeader(_message.Message):
    __slots__ = ("format", "model", "start_sample", "conditions", "plan", "pacing", "credit_samples", "request_id")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    PACING_FIELD_NUMBER: _ClassVar[int]
    CREDIT_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    format: AudioFormat
    model: str
    start_sample: int
    conditions: Conditions
    plan: Plan
    pacing: Pacing
    credit_samples: int
    request_id: str
    def __init__(self, format: _Optional[_Union[AudioFormat, _Mapping]] = ..., model: _Optional[str] = ..., start_sample: _Optional[int] = ..., conditions: _Optional[_Union[Conditions, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., pacing: _Optional[_Union[Pacing, str]] = ..., credit_samples: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class LiveContinuation(_message.Message):
    __slots__ = ("splice_sample", "target", "plan", "request_id", "write_file", "lead_samples", "fade_samples", "keep_up")
    SPLICE_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WRITE_FILE_FIELD_NUMBER: _ClassVar[int]
    LEAD_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    FADE_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    KEEP_UP_FIELD_NUMBER: _ClassVar[int]
    splice_sample: int
    target: Target
    plan: Plan
    request_id: str
    write_file: bool
    lead_samples: int
    fade_samples: int
    keep_up: bool
    def __init__(self, splice_sample: _Optional[int] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., request_id: _Optional[str] = ..., write_file: _Optional[bool] = ..., lead_samples: _Optional[int] = ..., fade_samples: _Optional[int] = ..., keep_up: _Optional[bool] = ...) -> None: ...

class LiveLoop(_message.Message):
    __slots__ = ("tempo_map", "first_sample", "bars", "listen_bars", "lead_samples", "fade_samples", "reserve_samples", "plan", "request_id", "keep_up")
    TEMPO_MAP_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    BARS_FIELD_NUMBER: _ClassVar[int]
    LISTEN_BARS_FIELD_NUMBER: _ClassVar[int]
    LEAD_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    FADE_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    RESERVE_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    KEEP_UP_FIELD_NUMBER: _ClassVar[int]
    tempo_map: _containers.RepeatedCompositeFieldContainer[TempoChange]
    first_sample: int
    bars: float
    listen_bars: float
    lead_samples: int
    fade_samples: int
    reserve_samples: int
    plan: Plan
    request_id: str
    keep_up: bool
    def __init__(self, tempo_map: _Optional[_Iterable[_Union[TempoChange, _Mapping]]] = ..., first_sample: _Optional[int] = ..., bars: _Optional[float] = ..., listen_bars: _Optional[float] = ..., lead_samples: _Optional[int] = ..., fade_samples: _Optional[int] = ..., reserve_samples: _Optional[int] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., request_id: _Optional[str] = ..., keep_up: _Optional[bool] = ...) -> None: ...

class LiveTempo(_message.Message):
    __slots__ = ("tempo_map",)
    TEMPO_MAP_FIELD_NUMBER: _ClassVar[int]
    tempo_map: _containers.RepeatedCompositeFieldContainer[TempoChange]
    def __init__(self, tempo_map: _Optional[_Iterable[_Union[TempoChange, _Mapping]]] = ...) -> None: ...

class LiveCredit(_message.Message):
    __slots__ = ("num_samples",)
    NUM_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    num_samples: int
    def __init__(self, num_samples: _Optional[int] = ...) -> None: ...

class LiveStop(_message.Message):
    __slots__ = ("at_bar",)
    AT_BAR_FIELD_NUMBER: _ClassVar[int]
    at_bar: bool
    def __init__(self, at_bar: _Optional[bool] = ...) -> None: ...

class LiveEvent(_message.Message):
    __slots__ = ("opened", "heard", "render", "stopped", "failed", "turn", "request_id")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    RENDER_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    opened: LiveOpened
    heard: LiveHeard
    render: RenderEvent
    stopped: LiveStopped
    failed: LiveFailed
    turn: LiveTurn
    request_id: str
    def __init__(self, opened: _Optional[_Union[LiveOpened, _Mapping]] = ..., heard: _Optional[_Union[LiveHeard, _Mapping]] = ..., render: _Optional[_Union[RenderEvent, _Mapping]] = ..., stopped: _Optional[_Union[LiveStopped, _Mapping]] = ..., failed: _Optional[_Union[LiveFailed, _Mapping]] = ..., turn: _Optional[_Union[LiveTurn, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class LiveTurn(_message.Message):
    __slots__ = ("request_id", "start_sample", "end_sample", "fade_samples")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    FADE_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    start_sample: int
    end_sample: int
    fade_samples: int
    def __init__(self, request_id: _Optional[str] = ..., start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ..., fade_samples: _Optional[int] = ...) -> None: ...

class LiveOpened(_message.Message):
    __slots__ = ("session_id", "model", "fingerprint", "anchor_sample")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    model: str
    fingerprint: str
    anchor_sample: int
    def __init__(self, session_id: _Optional[str] = ..., model: _Optional[str] = ..., fingerprint: _Optional[str] = ..., anchor_sample: _Optional[int] = ...) -> None: ...

class LiveHeard(_message.Message):
    __slots__ = ("received_sample", "prefilled_sample")
    RECEIVED_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    PREFILLED_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    received_sample: int
    prefilled_sample: int
    def __init__(self, received_sample: _Optional[int] = ..., prefilled_sample: _Optional[int] = ...) -> None: ...

class LiveStopped(_message.Message):
    __slots__ = ("request_id", "end_sample")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    end_sample: int
    def __init__(self, request_id: _Optional[str] = ..., end_sample: _Optional[int] = ...) -> None: ...

class LiveFailed(_message.Message):
    __slots__ = ("request_id", "code", "reason", "message", "field")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    code: str
    reason: str
    message: str
    field: str
    def __init__(self, request_id: _Optional[str] = ..., code: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., field: _Optional[str] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("job_id", "from_sample")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    from_sample: int
    def __init__(self, job_id: _Optional[str] = ..., from_sample: _Optional[int] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("job_id", "request_id", "client_id", "state", "position", "eta_seconds", "phase", "step", "total_steps", "detached", "take_id", "error", "model", "created_seconds")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ETA_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    TAKE_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CREATED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    request_id: str
    client_id: str
    state: JobState
    position: int
    eta_seconds: float
    phase: str
    step: int
    total_steps: int
    detached: bool
    take_id: str
    error: str
    model: str
    created_seconds: float
    def __init__(self, job_id: _Optional[str] = ..., request_id: _Optional[str] = ..., client_id: _Optional[str] = ..., state: _Optional[_Union[JobState, str]] = ..., position: _Optional[int] = ..., eta_seconds: _Optional[float] = ..., phase: _Optional[str] = ..., step: _Optional[int] = ..., total_steps: _Optional[int] = ..., detached: _Optional[bool] = ..., take_id: _Optional[str] = ..., error: _Optional[str] = ..., model: _Optional[str] = ..., created_seconds: _Optional[float] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("states",)
    STATES_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[JobState]
    def __init__(self, states: _Optional[_Iterable[_Union[JobState, str]]] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ...) -> None: ...

class Take(_message.Message):
    __slots__ = ("take_id", "name", "mark", "parent_id", "departure_sample", "request_id", "format", "anchor_sample", "splice_sample", "num_samples", "plan", "model", "fingerprint", "licence", "sha256", "gain_db", "created_seconds", "words")
    TAKE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    DEPARTURE_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    SPLICE_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    NUM_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    GAIN_DB_FIELD_NUMBER: _ClassVar[int]
    CREATED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    take_id: str
    name: str
    mark: Mark
    parent_id: str
    departure_sample: int
    request_id: str
    format: AudioFormat
    anchor_sample: int
    splice_sample: int
    num_samples: int
    plan: Plan
    model: str
    fingerprint: str
    licence: str
    sha256: str
    gain_db: float
    created_seconds: float
    words: _containers.RepeatedCompositeFieldContainer[TimedWord]
    def __init__(self, take_id: _Optional[str] = ..., name: _Optional[str] = ..., mark: _Optional[_Union[Mark, str]] = ..., parent_id: _Optional[str] = ..., departure_sample: _Optional[int] = ..., request_id: _Optional[str] = ..., format: _Optional[_Union[AudioFormat, _Mapping]] = ..., anchor_sample: _Optional[int] = ..., splice_sample: _Optional[int] = ..., num_samples: _Optional[int] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., model: _Optional[str] = ..., fingerprint: _Optional[str] = ..., licence: _Optional[str] = ..., sha256: _Optional[str] = ..., gain_db: _Optional[float] = ..., created_seconds: _Optional[float] = ..., words: _Optional[_Iterable[_Union[TimedWord, _Mapping]]] = ...) -> None: ...

class ListTakesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "mark", "parent_id")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    mark: Mark
    parent_id: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., mark: _Optional[_Union[Mark, str]] = ..., parent_id: _Optional[str] = ...) -> None: ...

class ListTakesResponse(_message.Message):
    __slots__ = ("takes", "next_page_token")
    TAKES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    takes: _containers.RepeatedCompositeFieldContainer[Take]
    next_page_token: str
    def __init__(self, takes: _Optional[_Iterable[_Union[Take, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetTakeRequest(_message.Message):
    __slots__ = ("take_id",)
    TAKE_ID_FIELD_NUMBER: _ClassVar[int]
    take_id: str
    def __init__(self, take_id: _Optional[str] = ...) -> None: ...

class TagTakeRequest(_message.Message):
    __slots__ = ("take_id", "mark", "name")
    TAKE_ID_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    take_id: str
    mark: Mark
    name: str
    def __init__(self, take_id: _Optional[str] = ..., mark: _Optional[_Union[Mark, str]] = ..., name: _Optional[str] = ...) -> None: ...

class ExportTakeRequest(_message.Message):
    __slots__ = ("take_id", "write_file", "codes")
    TAKE_ID_FIELD_NUMBER: _ClassVar[int]
    WRITE_FILE_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    take_id: str
    write_file: bool
    codes: bool
    def __init__(self, take_id: _Optional[str] = ..., write_file: _Optional[bool] = ..., codes: _Optional[bool] = ...) -> None: ...

class ExportEvent(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: ExportHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[ExportHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class ExportHeader(_message.Message):
    __slots__ = ("file_name", "path", "size_bytes", "file_sha256")
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FILE_SHA256_FIELD_NUMBER: _ClassVar[int]
    file_name: str
    path: str
    size_bytes: int
    file_sha256: str
    def __init__(self, file_name: _Optional[str] = ..., path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., file_sha256: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "fingerprint", "sample_rate", "streams", "supports", "artists", "genres", "licence", "output_licence", "loaded")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    SUPPORTS_FIELD_NUMBER: _ClassVar[int]
    ARTISTS_FIELD_NUMBER: _ClassVar[int]
    GENRES_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_LICENCE_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    name: str
    fingerprint: str
    sample_rate: int
    streams: bool
    supports: _containers.RepeatedScalarFieldContainer[str]
    artists: _containers.RepeatedScalarFieldContainer[str]
    genres: _containers.RepeatedScalarFieldContainer[str]
    licence: str
    output_licence: str
    loaded: bool
    def __init__(self, name: _Optional[str] = ..., fingerprint: _Optional[str] = ..., sample_rate: _Optional[int] = ..., streams: _Optional[bool] = ..., supports: _Optional[_Iterable[str]] = ..., artists: _Optional[_Iterable[str]] = ..., genres: _Optional[_Iterable[str]] = ..., licence: _Optional[str] = ..., output_licence: _Optional[str] = ..., loaded: _Optional[bool] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class LoadModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UnloadModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListStylesRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ListStylesResponse(_message.Message):
    __slots__ = ("artists", "genres")
    ARTISTS_FIELD_NUMBER: _ClassVar[int]
    GENRES_FIELD_NUMBER: _ClassVar[int]
    artists: _containers.RepeatedScalarFieldContainer[str]
    genres: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, artists: _Optional[_Iterable[str]] = ..., genres: _Optional[_Iterable[str]] = ...) -> None: ...

class GetStatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Stats(_message.Message):
    __slots__ = ("queued_jobs", "running_jobs", "done_jobs", "failed_jobs", "cancelled_jobs", "model_turns", "sound_turns", "takes", "kept_takes", "stored_bytes", "max_stored_bytes", "uptime_seconds", "live_blocks", "late_blocks", "thinned_chunks", "caches")
    QUEUED_JOBS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_JOBS_FIELD_NUMBER: _ClassVar[int]
    DONE_JOBS_FIELD_NUMBER: _ClassVar[int]
    FAILED_JOBS_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_JOBS_FIELD_NUMBER: _ClassVar[int]
    MODEL_TURNS_FIELD_NUMBER: _ClassVar[int]
    SOUND_TURNS_FIELD_NUMBER: _ClassVar[int]
    TAKES_FIELD_NUMBER: _ClassVar[int]
    KEPT_TAKES_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LIVE_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    LATE_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    THINNED_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    CACHES_FIELD_NUMBER: _ClassVar[int]
    queued_jobs: int
    running_jobs: int
    done_jobs: int
    failed_jobs: int
    cancelled_jobs: int
    model_turns: int
    sound_turns: int
    takes: int
    kept_takes: int
    stored_bytes: int
    max_stored_bytes: int
    uptime_seconds: float
    live_blocks: int
    late_blocks: int
    thinned_chunks: int
    caches: CacheStats
    def __init__(self, queued_jobs: _Optional[int] = ..., running_jobs: _Optional[int] = ..., done_jobs: _Optional[int] = ..., failed_jobs: _Optional[int] = ..., cancelled_jobs: _Optional[int] = ..., model_turns: _Optional[int] = ..., sound_turns: _Optional[int] = ..., takes: _Optional[int] = ..., kept_takes: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., max_stored_bytes: _Optional[int] = ..., uptime_seconds: _Optional[float] = ..., live_blocks: _Optional[int] = ..., late_blocks: _Optional[int] = ..., thinned_chunks: _Optional[int] = ..., caches: _Optional[_Union[CacheStats, _Mapping]] = ...) -> None: ...

class CacheStats(_message.Message):
    __slots__ = ("prime_hits", "prime_misses", "held_states", "held_bytes", "max_bytes", "evictions", "take_hits", "take_misses")
    PRIME_HITS_FIELD_NUMBER: _ClassVar[int]
    PRIME_MISSES_FIELD_NUMBER: _ClassVar[int]
    HELD_STATES_FIELD_NUMBER: _ClassVar[int]
    HELD_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    EVICTIONS_FIELD_NUMBER: _ClassVar[int]
    TAKE_HITS_FIELD_NUMBER: _ClassVar[int]
    TAKE_MISSES_FIELD_NUMBER: _ClassVar[int]
    prime_hits: int
    prime_misses: int
    held_states: int
    held_bytes: int
    max_bytes: int
    evictions: int
    take_hits: int
    take_misses: int
    def __init__(self, prime_hits: _Optional[int] = ..., prime_misses: _Optional[int] = ..., held_states: _Optional[int] = ..., held_bytes: _Optional[int] = ..., max_bytes: _Optional[int] = ..., evictions: _Optional[int] = ..., take_hits: _Optional[int] = ..., take_misses: _Optional[int] = ...) -> None: ...

class PluginRequest(_message.Message):
    __slots__ = ("hello", "live", "midi", "tag")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    MIDI_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    hello: PluginHello
    live: LiveRequest
    midi: PluginMidi
    tag: TagTakeRequest
    def __init__(self, hello: _Optional[_Union[PluginHello, _Mapping]] = ..., live: _Optional[_Union[LiveRequest, _Mapping]] = ..., midi: _Optional[_Union[PluginMidi, _Mapping]] = ..., tag: _Optional[_Union[TagTakeRequest, _Mapping]] = ...) -> None: ...

class PluginHello(_message.Message):
    __slots__ = ("protocol", "plugin", "token")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    plugin: str
    token: str
    def __init__(self, protocol: _Optional[int] = ..., plugin: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class MidiMessage(_message.Message):
    __slots__ = ("sample", "data")
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    sample: int
    data: bytes
    def __init__(self, sample: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class PluginMidi(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[MidiMessage]
    def __init__(self, messages: _Optional[_Iterable[_Union[MidiMessage, _Mapping]]] = ...) -> None: ...

class PluginEvent(_message.Message):
    __slots__ = ("welcome", "live", "failed", "tagged")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    TAGGED_FIELD_NUMBER: _ClassVar[int]
    welcome: PluginWelcome
    live: LiveEvent
    failed: LiveFailed
    tagged: Take
    def __init__(self, welcome: _Optional[_Union[PluginWelcome, _Mapping]] = ..., live: _Optional[_Union[LiveEvent, _Mapping]] = ..., failed: _Optional[_Union[LiveFailed, _Mapping]] = ..., tagged: _Optional[_Union[Take, _Mapping]] = ...) -> None: ...

class PluginWelcome(_message.Message):
    __slots__ = ("protocol", "server", "model")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    server: str
    model: str
    def __init__(self, protocol: _Optional[int] = ..., server: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...
