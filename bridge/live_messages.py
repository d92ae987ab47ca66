"""What live sessions say and are told, between messages and values.

Knows neither what is asked when nor what is made.
"""

import secrets
import uuid
from typing import Any, Final

import numpy as np

from bridge.errors import BridgeError, InvalidRequestError, blaming
from bridge.live import LiveSession
from bridge.live_setup import LiveSetup
from bridge.messages import samples_of
from bridge.ports import Audio
from bridge.request_messages import conditions_of, plan_of
from bridge.upload import MAX_BLOCK_BYTES, check_id
from protos import bridge_pb2

SEED_BITS: Final = 63
PACINGS: Final = (
    bridge_pb2.PACING_UNSPECIFIED,
    bridge_pb2.PACING_FAST,
    bridge_pb2.PACING_SERVER,
)


def setup_of(client_id: str, header: bridge_pb2.LiveHeader) -> LiveSetup:
    """Return what holds for the session that a header opens.

    Raises:
        InvalidRequestError: A value outside its limits.
    """
    with blaming("header"):
        for name in ("request_id", "model"):
            check_id(name, getattr(header, name))
        if header.pacing not in PACINGS:
            raise InvalidRequestError(
                f"the pacing is {header.pacing}, known are {sorted(PACINGS)}", field="pacing"
            )
        with blaming("plan"):
            plan = plan_of(header.plan, secrets.randbits(SEED_BITS))
        with blaming("conditions"):
            conditions = conditions_of(header.conditions)
        return LiveSetup(
            session_id=header.request_id or uuid.uuid4().hex,
            sample_rate=header.format.sample_rate,
            num_channels=header.format.num_channels,
            start_sample=header.start_sample,
            conditions=conditions,
            plan=plan,
            model=header.model,
            client_id=client_id,
        )


def checked_credit(num_samples: int) -> int:
    """Return a credit in samples.

    Raises:
        InvalidRequestError: It is below 0.
    """
    if num_samples < 0:
        raise InvalidRequestError(
            f"the credit is {num_samples} samples, at least 0 are needed", field="credit"
        )
    return num_samples


def recorded(block: bridge_pb2.AudioBlock, num_channels: int) -> Audio:
    """Return what a block of a recording or a stem holds.

    Raises:
        InvalidRequestError: It is too long, of another role, or holds samples that are no numbers.
    """
    if len(block.samples) > MAX_BLOCK_BYTES:
        raise InvalidRequestError(
            f"an audio block holds {len(block.samples)} bytes, the limit is {MAX_BLOCK_BYTES} bytes"
        )
    if block.role not in (bridge_pb2.ROLE_PRIME, bridge_pb2.ROLE_STEM):
        raise InvalidRequestError(
            f"an audio block has role {block.role}, here {bridge_pb2.ROLE_PRIME} is needed "
            f"(or {bridge_pb2.ROLE_STEM}, a stem)"
        )
    samples = samples_of(block.samples, num_channels)
    bad = int(np.count_nonzero(~np.isfinite(samples)))
    if bad:
        raise InvalidRequestError(
            f"the block at sample {block.start_sample} holds {bad} samples that are NaN or "
            "infinite, 0 are allowed"
        )
    return samples


def opened(session: LiveSession[Any], setup: LiveSetup) -> bridge_pb2.LiveEvent:
    """Return what is told first."""
    info = session.info
    told = bridge_pb2.LiveOpened(
        session_id=setup.session_id,
        model=info.name,
        fingerprint=info.fingerprint,
        anchor_sample=session.anchor_sample,
    )
    return bridge_pb2.LiveEvent(opened=told)


def heard(session: LiveSession[Any]) -> bridge_pb2.LiveEvent:
    """Return how far the recording has come, and the model in hearing it."""
    told = bridge_pb2.LiveHeard(
        received_sample=session.received_sample, prefilled_sample=session.prefilled_sample
    )
    return bridge_pb2.LiveEvent(heard=told)


def failure(request_id: str, error: BridgeError) -> bridge_pb2.LiveFailed:
    """Return an error as the wire spells it."""
    return bridge_pb2.LiveFailed(
        request_id=request_id,
        code=error.code.name,
        reason=error.reason(),
        message=str(error),
        field=error.field,
    )
