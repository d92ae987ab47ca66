"""What holds for a whole live session, and what one answer of it is asked for.

Knows neither engine nor wire.
"""

from dataclasses import dataclass
from typing import Final

from bridge.errors import InvalidRequestError
from bridge.limits import check_position
from bridge.ports import Conditions, Plan
from bridge.request import check_format

KEPT_SECONDS: Final = 60
"""The longest stretch of a recording that a session holds."""
MAX_LEAD_SECONDS: Final = 20
MAX_FADE_SECONDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSetup:
    """What holds for a whole session.

    Raises:
        InvalidRequestError: A rate, a channel count or a place outside its limits.
    """

    session_id: str
    sample_rate: int
    num_channels: int
    start_sample: int
    conditions: Conditions
    plan: Plan
    model: str = ""
    client_id: str = ""

    def __post_init__(self) -> None:
        """Refuse what no session could be."""
        check_format(self.sample_rate, self.num_channels)
        check_position("recording", self.start_sample)

    @property
    def window_bytes(self) -> int:
        """Return the most memory that the recording takes."""
        return 2 * KEPT_SECONDS * self.sample_rate * self.num_channels * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """How an answer joins what sounds, in samples.

    Attributes:
        lead: It is made from what was heard up to so long before the splice.
        fade: Its audio begins so long before the splice.
        reserve: It is made so much longer than it shall sound.

    Raises:
        InvalidRequestError: Below 0, over the limits, or a fade longer than the lead.
    """

    lead: int = 0
    fade: int = 0
    reserve: int = 0

    def __post_init__(self) -> None:
        """Refuse what nobody could play."""
        for name in ("lead", "fade", "reserve"):
            if getattr(self, name) < 0:
                raise InvalidRequestError(
                    f"the {name} is {getattr(self, name)} samples, the least is 0 samples",
                    field=f"{name}_samples",
                )
        if self.fade > self.lead:
            raise InvalidRequestError(
                f"the fade of {self.fade} samples begins before the model stops to listen, "
                f"{self.lead} samples before the splice",
                field="fade_samples",
            )

    def check(self, sample_rate: int) -> None:
        """Refuse margins that are too long for a session's rate.

        Raises:
            InvalidRequestError: Over 20 s of lead or reserve, or 2 s of fade.
        """
        limits = {"lead": MAX_LEAD_SECONDS, "fade": MAX_FADE_SECONDS, "reserve": MAX_LEAD_SECONDS}
        for name, seconds in limits.items():
            if getattr(self, name) > seconds * sample_rate:
                raise InvalidRequestError(
                    f"the {name} is {getattr(self, name)} samples, "
                    f"the limit is {seconds * sample_rate} samples ({seconds} s)",
                    field=f"{name}_samples",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A continuation that is asked for: from where, how long, and how.

    Attributes:
        request_id: Its name.
        splice_sample: The first sample that shall be its own.
        num_samples: How many from there on.
        plan: How to sample.
        margins: How it joins what sounds.
        write_file: Also write a Broadcast Wave file; the lead is part of it.
        keep_source: Write down the recording it stands on.
        keep_up: Give a chunk fewer passes rather than be late.
    """

    request_id: str
    splice_sample: int
    num_samples: int
    plan: Plan
    margins: Margins = Margins()
    write_file: bool = False
    keep_source: bool = True
    keep_up: bool = False

    def sounds_in_s(self, received_sample: int, sample_rate: int) -> float | None:
        """Return when its audio begins to sound; None: as soon as there is some.

        Args:
            received_sample: To which the recording, in real time, has come.
            sample_rate: Of the session.
        """
        if not (self.keep_up and self.margins.lead):
            return None
        return max(0, self.heard_sample - received_sample) / sample_rate

    @property
    def heard_sample(self) -> int:
        """Return the first sample that sounds."""
        return self.splice_sample - self.margins.fade

    @property
    def cut_sample(self) -> int:
        """Return the sample up to which the recording is heard."""
        return self.splice_sample - self.margins.lead
