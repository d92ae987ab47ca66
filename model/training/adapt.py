"""Fine-tunes a streaming model on a user's recordings: its student, then its finisher.

The codec stays as it is, so that codes keep their meaning, and so do listener and composer. All
weights of both parts learn, slowly and at one rate; the averaged weights are kept. What is
made is a folder that serves as the shipped one does. Every step's batch follows from the
seed and its number, so the same number of steps gives the same weights, in one sitting or several.

out/manifest.json, *.safetensors   the adapted model
out/training/                      what going on needs; may be deleted
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from model.bundle import TOP, Bundle, modules
from model.errors import TrainingError
from model.store import SHIPPED, Provenance, load_bundle, save_bundle
from model.training import finisher as finishing
from model.training import student as guessing
from model.training.figures import ROWS, finisher_figures, student_figures
from model.training.loop import CHECKPOINT, Clock, Figures, LoopConfig, train
from model.training.published.run import Progress
from model.training.recorded import Recorded, as_examples, usable_recordings

FACTS: Final = "facts.json"
TRAINING: Final = "training"
PARTS: Final = ("student", "finisher")
JUDGED_BY: Final = {
    "student": "student_bits_per_code",
    "finisher": "finisher_drawn_log_magnitude_nepers",
}
"""A part that is no better by this figure, the lower the better, stays what it was."""
FRAME_SAMPLES: Final = 128
WARM_UP_STEPS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptSettings:
    """How much is learnt at once, and how fast."""

    student_share: float = 0.4
    """Of the time; the rest is the finisher's."""
    student_batch: int = 3
    student_rate: float = 3e-4
    finisher_batch: int = 12
    finisher_rate: float = 2e-4
    average: float = 0.99
    save_minutes: float = 2.0
    report_steps: int = 5


SETTINGS: Final = AdaptSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptOrder:
    """What to adapt, to what, until when."""

    data: Path
    out: Path
    name: str
    """What the server calls it."""
    base: Path = SHIPPED
    minutes: float = math.inf
    """Of training, all sittings together."""
    steps: int | None = None
    """Of each part at most; None: as many as the time allows."""
    seed: int = 1
    distils: bool = False
    """Whether the student alone learns, from the base's top prior as well as from the codes."""
    settings: AdaptSettings = SETTINGS

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the parts that learn."""
        return PARTS[:1] if self.distils else PARTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """What came of it: steps by part, and figures of what was kept aside, before and after."""

    folder: Path
    steps: Mapping[str, int]
    """Of the parts that are better than they were."""
    before: Mapping[str, float]
    after: Mapping[str, float]


def adapt_model(
    order: AdaptOrder, say: Callable[[str], None], stop: Callable[[], bool] = lambda: False
) -> Adapted:
    """Adapt until the time is up or a stop is asked for; goes on with what `out` holds.

    Raises:
        TrainingError: Recordings that cannot be used, or a folder that holds something else.
        CheckpointError: Weights that cannot be read.
    """
    torch.set_num_threads(1)
    recordings, left_out = usable_recordings(order.data)
    for line in left_out:
        say(line)
    bundle = load_bundle(order.base)
    if order.name == bundle.card.name:
        raise TrainingError(f"the name is {order.name!r}, which is the base's: take another one")
    facts = {
        "base": bundle.card.fingerprint,
        "seed": order.seed,
        "distils": order.distils,
        "settings": asdict(order.settings),
        "recordings": [[one.mix.path.name, one.mix.frames] for one in recordings],
    }
    begun = _kept_facts(order.out, facts)
    heard = as_examples(bundle, recordings, _least_samples(bundle), say)
    for line in heard.notes:
        say(line)
    before = begun["before"] if begun else _figures(bundle, heard)
    (order.out / TRAINING).mkdir(parents=True, exist_ok=True)
    (order.out / TRAINING / FACTS).write_text(json.dumps(facts | {"before": before}), "utf-8")
    share = 1.0 if order.distils else order.settings.student_share
    kept = {part: _state(modules(bundle)[part]) for part in order.parts}
    _learn_student(bundle, heard, order, order.minutes * share, (say, stop))
    if not order.distils and not stop():
        _learn_finisher(bundle, heard, order, order.minutes * (1 - share), (say, stop))
    after = _figures(bundle, heard)
    worse = [part for part in order.parts if after and _is_worse(part, before, after)]
    for part in worse:
        say(f"{part}: no better on what was kept aside, so it stays as it was")
        modules(bundle)[part].load_state_dict(kept[part])
    after = _figures(bundle, heard) if worse else after
    learnt = [part for part in order.parts if part not in worse]
    clocks = {part: clock_of(order.out / TRAINING / part) for part in learnt}
    _save(bundle, order, heard, clocks, (before, after))
    steps = {part: clock.step for part, clock in clocks.items()}
    return Adapted(folder=order.out, steps=steps, before=before, after=after)


_Told = tuple[Callable[[str], None], Callable[[], bool]]


def _learn_student(
    bundle: Bundle, heard: Recorded, order: AdaptOrder, minutes: float, told: _Told
) -> None:
    settings, student = order.settings, bundle.student
    rows = student.config.transformer.rows
    teacher = bundle.top if order.distils else None
    step = guessing.step_of(student, teacher, heard.train, settings.student_batch, (rows, rows))
    config = _loop(order, "student", minutes, settings.student_rate)
    _learn(student, step, replace(config, muon=True), "student", told)


def _learn_finisher(
    bundle: Bundle, heard: Recorded, order: AdaptOrder, minutes: float, told: _Told
) -> None:
    settings, level = order.settings, bundle.codec.level(TOP)
    step = finishing.step_of(
        bundle.finisher, level, bundle.student, heard.train, settings.finisher_batch
    )
    config = _loop(order, "finisher", minutes, settings.finisher_rate)
    _learn(bundle.finisher, step, config, "finisher", told)


def tuning_loop(
    settings: AdaptSettings, out: Path, limits: tuple[float, int | None], seed: int
) -> LoopConfig:
    """Return a loop whose rate does not follow the clock: time decides how many steps alone.

    `limits` are minutes and steps.
    """
    minutes, steps = limits
    return LoopConfig(
        out=out,
        max_minutes=minutes,
        max_steps=math.inf if steps is None else float(steps),
        final_rate=1.0,
        warm_up_steps=WARM_UP_STEPS,
        average=settings.average,
        save_minutes=settings.save_minutes,
        report_steps=settings.report_steps,
        seed=seed,
    )


def clock_of(folder: Path) -> Clock:
    """Return how long has been learnt in a training's folder."""
    path = folder / CHECKPOINT
    if not path.exists():
        return Clock()
    whole = torch.load(path, weights_only=True)
    return Clock(whole["step"], whole["minutes"])


def _loop(order: AdaptOrder, part: str, minutes: float, rate: float) -> LoopConfig:
    out = order.out / TRAINING / part
    config = tuning_loop(order.settings, out, (minutes, order.steps), order.seed)
    return replace(config, learning_rate=rate)


_Step = Callable[[int, torch.Generator, float], tuple[torch.Tensor, Figures]]


def _learn(module: nn.Module, step: _Step, config: LoopConfig, part: str, told: _Told) -> None:
    say, stop = told
    progress = Progress(config.max_minutes, config.max_steps, lambda line: say(f"{part}: {line}"))
    module.requires_grad_(True)
    train(module, step, config, progress.show, stop)
    module.requires_grad_(False)


def _least_samples(bundle: Bundle) -> int:
    """Return how long an example must be, for the longest stretch that is learnt from."""
    config = bundle.student.config
    frames = max(ROWS, config.transformer.rows) * config.chunk_frames()
    return max(frames, finishing.DRAWN_FRAMES) * FRAME_SAMPLES


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _is_worse(part: str, before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    return after[JUDGED_BY[part]] >= before[JUDGED_BY[part]]


@torch.no_grad()
def _figures(bundle: Bundle, heard: Recorded) -> dict[str, float]:
    """Return figures of what was kept aside; none if nothing was."""
    if not heard.held_out:
        return {}
    found = student_figures(bundle.student, heard.held_out)
    for drawn in (False, True):
        found |= finisher_figures(bundle, heard.held_out, drawn=drawn)
    return {name: round(value, 4) for name, value in found.items()}


def _kept_facts(out: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a folder's training began with, None if it holds none.

    Raises:
        TrainingError: It began with something else.
    """
    path = out / TRAINING / FACTS
    if not path.is_file():
        if (out / "manifest.json").exists():
            raise TrainingError(f"{out} holds a model that was not adapted there: name another")
        return None
    kept: dict[str, Any] = json.loads(path.read_text("utf-8"))
    for name, value in facts.items():
        if kept.get(name) != json.loads(json.dumps(value)):
            raise TrainingError(
                f"{out} holds a training whose {name} was {kept.get(name)!r:.80}, now it is "
                f"{value!r:.80}: name another folder"
            )
    return kept


def _save(
    bundle: Bundle,
    order: AdaptOrder,
    heard: Recorded,
    clocks: Mapping[str, Clock],
    figures: tuple[Mapping[str, float], Mapping[str, float]],
) -> None:
    card = bundle.card
    provenance = Provenance(
        artists=card.artists,
        genres=card.genres,
        licence=card.licence,
        output_licence=card.output_licence,
        recipe={
            "kind": "distilled" if order.distils else "adapted",
            "base": {"name": card.name, "fingerprint": card.fingerprint, "licence": card.licence},
            "recordings": {
                "minutes": round(heard.minutes, 2),
                "measured_on_minutes": round(heard.held_out_minutes, 2),
                "with_midi": heard.with_midi,
                "rights": "the user's: the project knows nothing of them",
            },
            "steps": {part: clock.step for part, clock in clocks.items()},
            "minutes": {part: round(clock.minutes, 2) for part, clock in clocks.items()},
            "seed": order.seed,
            "settings": asdict(order.settings),
        },
        figures={"before": dict(figures[0]), "after": dict(figures[1])},
    )
    save_bundle(replace(bundle, card=replace(card, name=order.name)), order.out, provenance)
