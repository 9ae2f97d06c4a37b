"""Why a connection failed, in a sentence a person can act on."""

import socket
import ssl
from collections.abc import Iterator

from livermore.outbound import Forbidden


def why(error: BaseException) -> str:
    """The plainest cause in a chain of exceptions."""
    for cause in _chain(error):
        if isinstance(cause, Forbidden):
            return str(cause)
        if isinstance(cause, socket.gaierror):
            return "the host name cannot be resolved (is this machine online?)"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason or cause}"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused: nothing listens there"
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        if isinstance(cause, OSError) and cause.strerror:
            return f"{cause.strerror.lower()} (is this machine online?)"
    text = str(error)
    if "name resolution" in text or "Name or service" in text or "nodename nor servname" in text:
        return "the host name cannot be resolved (is this machine online?)"
    if "All connection attempts failed" in text:
        return "no connection (is this machine online?)"
    return f"{type(error).__name__}: {text}".rstrip(": ")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [cause for cause in (one.__cause__, one.__context__) if cause is not None]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
