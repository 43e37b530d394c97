"""Requests to Pasqal Cloud: what may be asked again is, what submits is sent once.

This is the one boundary at which the exceptions of requests and the errors of the service become
ours; those of pasqal-cloud do so in `tokens`, the only place where its code runs.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.cloud.credentials import scrubbed
from cudaq_target.cloud.errors import CredentialsError
from cudaq_target.cloud.tokens import Tokens
from cudaq_target.errors import MachineError, MachineUnavailableError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cudaq_target.cloud.credentials import Access

_CONNECT_S: Final = 10.0
_READ_S: Final = 30.0
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 5.0
_MOST_GARBAGE: Final = 3
# Answers that may be another one a little later.
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_REASON: Final = 500


@dataclass
class ServiceRefusedError(MachineError):
    """The service refuses a request for good: nothing was done.

    Attributes:
        status: HTTP status.
        reason: In the service's words.
    """

    status: int
    reason: str

    def __str__(self) -> str:
        return f"machine {self.machine}: the cloud refuses (HTTP {self.status}): {self.reason}"


@dataclass
class NoAnswerError(MachineError):
    """A request was sent and its answer did not come, or is none: it may have been carried out.

    Attributes:
        reason: What was seen.
    """

    reason: str

    def __str__(self) -> str:
        return f"machine {self.machine}: {self.reason}"


class Exchange:
    """Requests of one process to one cloud; threads share it."""

    def __init__(self, machine: str, given: Access, *, timeout_s: float) -> None:
        """Send nothing yet.

        Args:
            machine: Device type, for messages.
            given: Where the cloud is, and how to log in.
            timeout_s: How long it may be silent before a question is given up (s).

        Raises:
            OptionError: pasqal-cloud is not installed, which is what logs in.
        """
        try:
            import requests  # noqa: PLC0415
            from pasqal_cloud.endpoints import Endpoints  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise OptionError(
                f"machine {machine!r}",
                f"{error.name} is not installed, which logs in to Pasqal Cloud",
                "Install it: pip install 'cudaq-target[cloud]'",
            ) from error
        core = str(Endpoints.from_region(given.region).core)
        self.core_url = core if given.base_url is None else f"{given.base_url}/core-fast"
        self.machine = machine
        self._tokens = Tokens(machine, given)
        self._timeout_s = timeout_s
        self._requests: Any = requests
        self._session: Any = None
        self._pid = 0

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Ask; again for as long as the cloud may be silent.

        Args:
            path: Below `/api`, for example `/v2/jobs/…`.
            query: Parameters.

        Returns:
            What the answer holds as `data`.

        Raises:
            ServiceRefusedError: It refuses.
            CredentialsError: The credentials are refused.
            MachineUnavailableError: No answer within the time.
        """
        return self._repeated(lambda: self._once("GET", path, query=query))

    def send(self, method: str, path: str, content: object = None) -> Any:  # noqa: ANN401 - JSON
        """Change something; sent once.

        A request that was refused for its expired token was not carried out, and goes out again
        with a new one.

        Args:
            method: HTTP method.
            path: Below `/api`.
            content: JSON, or None for none.

        Returns:
            What the answer holds as `data`.

        Raises:
            ServiceRefusedError: It refuses; nothing was done.
            CredentialsError: The credentials are refused; nothing was done.
            MachineUnavailableError: The cloud was not reached; nothing was done.
            NoAnswerError: It may have been done.
        """
        try:
            return self._once(method, path, content=content)
        except _PassingError as error:
            if error.status == 429 or error.is_before:
                raise MachineUnavailableError(
                    self.machine,
                    f"{error.reason}; nothing was submitted",
                    "Repeat the call later: what submits is not repeated by itself",
                ) from None
            raise NoAnswerError(self.machine, error.reason) from None

    def download(self, url: str) -> bytes:
        """Fetch from an address that the cloud gave; it carries its own permission.

        Raises:
            ServiceRefusedError: There is nothing, or no longer.
            MachineUnavailableError: No answer within the time.
        """

        def once() -> bytes:
            with self._translated():
                # A function in place of credentials: neither our token nor a .netrc goes there.
                reply = self._open().get(url, timeout=(_CONNECT_S, _READ_S), auth=lambda sent: sent)
            self._check(reply, may_log_in=False)
            return bytes(reply.content)

        return bytes(self._repeated(once))

    def close(self) -> None:
        """Close the connections; the next request opens them again."""
        session, self._session = self._session, None
        if session is not None and self._pid == os.getpid():
            session.close()

    def _open(self) -> Any:  # noqa: ANN401 - requests has no types
        """Connections of this process; those of a parent belong to it."""
        if self._session is None or self._pid != os.getpid():
            self._session, self._pid = self._requests.Session(), os.getpid()
        return self._session

    def _repeated(self, ask: Any) -> Any:  # noqa: ANN401 - what the question gives
        began_s = time.monotonic()
        pause_s, n_garbage = _FIRST_PAUSE_S, 0
        while True:
            try:
                return ask()
            except _PassingError as error:
                n_garbage += error.is_garbage
                waited_s = time.monotonic() - began_s
                if waited_s >= self._timeout_s or n_garbage >= _MOST_GARBAGE:
                    raise MachineUnavailableError(
                        self.machine,
                        f"the cloud does not answer ({error.reason}); waited for {waited_s:.1f} s",
                        "Try again later; machine_timeout_s= gives it more time",
                    ) from None
                wanted_s = pause_s if error.retry_after_s is None else error.retry_after_s
                time.sleep(min(wanted_s, self._timeout_s - waited_s))
                pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)

    def _once(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: object = None,
    ) -> Any:  # noqa: ANN401 - JSON
        token = self._tokens.token()
        reply = self._sent(method, path, token, query, content)
        if reply.status_code == 401 and self._tokens.renew(token):
            reply = self._sent(method, path, self._tokens.token(), query, content)
        self._check(reply)
        try:
            return reply.json()["data"]
        except (ValueError, KeyError, TypeError):
            raise _PassingError("the answer is no JSON of the cloud", is_garbage=True) from None

    def _sent(
        self,
        method: str,
        path: str,
        token: str,
        query: Mapping[str, str] | None,
        content: object,
    ) -> Any:  # noqa: ANN401 - requests has no types
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        body = None
        if content is not None:
            headers |= {"Content-Type": "application/json", "Content-Encoding": "gzip"}
            body = gzip.compress(json.dumps(content).encode(), compresslevel=1)
        with self._translated():
            return self._open().request(
                method,
                f"{self.core_url}/api{path}",
                params=query,
                data=body,
                headers=headers,
                # The header is set already; a .netrc must not replace it.
                auth=lambda sent: sent,
                timeout=(_CONNECT_S, min(_READ_S, max(self._timeout_s, 1.0))),
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Say what failed on the way, without texts that may hold addresses with permissions."""
        failures = self._requests.exceptions
        try:
            yield
        except (failures.ConnectTimeout, failures.SSLError, failures.ProxyError) as error:
            raise _PassingError(_phrase(error), is_before=True) from None
        except failures.RequestException as error:
            raise _PassingError(_phrase(error), is_before=_was_refused(error)) from None

    def _check(self, reply: Any, *, may_log_in: bool = True) -> None:  # noqa: ANN401
        status = int(reply.status_code)
        if status < 400:
            return
        reason = scrubbed(_described(reply), self._tokens.secrets)
        if status in _PASSING or status >= 500:
            after = str(reply.headers.get("Retry-After", ""))
            raise _PassingError(
                f"HTTP {status}: {reason}", status, float(after) if after.isdecimal() else None
            )
        if status == 403 and may_log_in:
            raise CredentialsError(
                self.machine,
                f"Pasqal Cloud does not allow this to these credentials ({reason})",
                "Check PASQAL_PROJECT_ID, and what the project may use",
            )
        if status == 401 and may_log_in:
            raise CredentialsError(
                self.machine,
                f"Pasqal Cloud refuses the token ({reason})",
                "Log in again: set a new PASQAL_AUTH_TOKEN, or PASQAL_USERNAME and "
                "PASQAL_PASSWORD, with which tokens are renewed",
            )
        raise ServiceRefusedError(self.machine, status, reason)


class _PassingError(Exception):
    """What may be gone a little later; never leaves this module.

    Attributes:
        reason: What was seen.
        status: HTTP status, or 0 where there was none.
        retry_after_s: When the service wants to be asked again (s), or None.
        is_before: The service was not reached.
        is_garbage: It answered something else than the cloud does.
    """

    def __init__(
        self,
        reason: str,
        status: int = 0,
        retry_after_s: float | None = None,
        *,
        is_before: bool = False,
        is_garbage: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.status, self.retry_after_s = reason, status, retry_after_s
        self.is_before, self.is_garbage = is_before, is_garbage


def _was_refused(error: Any) -> bool:  # noqa: ANN401 - requests has no types
    """Whether no connection came about, so that nothing was sent."""
    cause = error.args[0] if error.args else None
    kind = type(getattr(cause, "reason", cause)).__name__
    return kind in {"NewConnectionError", "NameResolutionError", "ConnectTimeoutError"}


def _phrase(error: Exception) -> str:
    words = {
        "ConnectTimeout": "no connection in time",
        "ReadTimeout": "no answer in time",
        "ConnectionError": "no connection, or it was lost",
        "ChunkedEncodingError": "the answer broke off",
        "SSLError": "no trusted connection (TLS)",
        "ProxyError": "the proxy does not let us through",
    }
    name = type(error).__name__
    return words.get(name, name)


def _described(reply: Any) -> str:  # noqa: ANN401 - requests has no types
    """What the service says, in its own words."""
    try:
        content = reply.json()
        inner = content.get("data")
        said = inner.get("description") if isinstance(inner, dict) else None
        text = str(said or content.get("message") or "no reason given")
    except (ValueError, AttributeError):
        text = "no reason given"
    return text[:_LONGEST_REASON]
