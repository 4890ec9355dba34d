"""Replicated state machines: consensus cores that run in a deterministic simulator and in production."""

from ratified.machine import StateMachine
from ratified.runtime import (
    Host,
    HostConfig,
    HostFailed,
    LeaseKind,
    OutcomeUnknown,
    RatifiedError,
    RequestRefused,
    ResultInvalid,
    StartRefused,
)

__all__ = [
    "Host",
    "HostConfig",
    "HostFailed",
    "LeaseKind",
    "OutcomeUnknown",
    "RatifiedError",
    "RequestRefused",
    "ResultInvalid",
    "StartRefused",
    "StateMachine",
]
