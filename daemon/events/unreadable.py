"""Why bytes are not the JSON that was asked for: judged by the bytes, not by the class of an error. Pure."""

from .._fastpath import json_fault
from .vocabulary import FAULT_MESSAGES, Fault


def why_unreadable(payload: bytes, error: Exception) -> tuple[Fault, str]:
    """The fault, and the reason for people. NONE: it is JSON of another shape, and the decoder's own sentence says what
    it looked for and where."""
    fault = Fault(json_fault(payload))
    return fault, FAULT_MESSAGES[fault] if fault else str(error)
