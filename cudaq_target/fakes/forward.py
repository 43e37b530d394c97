"""Runs jobs of the Warden stand-in on a QPU elsewhere on loopback."""

from __future__ import annotations

import json
import threading
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cudaq_target.errors import OptionError
from cudaq_target.fakes.orders import ExecutionError
from cudaq_target.fakes.service import HOST, Refusal

if TYPE_CHECKING:
    import numpy as np

    from cudaq_target.fakes.orders import Order

_PREFIX: Final = "/api/v1"
_AGAIN: Final = (429, 500, 502, 503, 504)
_MOST_TRIES: Final = 10
_PAUSE_S: Final = 0.05
_TIMEOUT_S: Final = 30.0


class QpuClient:
    """Speaks the API of `FakeQpu`; every request has a connection of its own."""

    def __init__(self, url: str, poll_s: float, closing: threading.Event) -> None:
        """Remember where the QPU is.

        Args:
            url: Of the QPU, on loopback.
            poll_s: Time between two looks at a job (s).
            closing: Set when waiting is to end.

        Raises:
            OptionError: The URL is no HTTP URL of this machine.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in (HOST, "localhost") or not parts.port:
            raise OptionError(
                f"qpu_url {url!r}", "no address on loopback", f"Give http://{HOST}:PORT"
            )
        self._port = parts.port
        self._poll_s = poll_s
        self._closing = closing

    def is_operational(self) -> bool:
        """Ask the QPU whether it is up; no answer means that it is not."""
        try:
            data = self._ask("GET", "/system/operational")
        except ExecutionError:
            return False
        return bool(data["operational_status"] == "UP")

    def specs(self) -> str:
        """Ask for the device, as text.

        Raises:
            Refusal: 503, the QPU does not answer.
        """
        try:
            return json.dumps(self._ask("GET", "/system")["specs"])
        except ExecutionError as error:
            raise Refusal(503, str(error)) from error

    def execute(self, order: Order, rng: np.random.Generator) -> str:  # noqa: ARG002
        """Run an order on the QPU and wait for its result.

        Raises:
            ExecutionError: The QPU does not answer, refuses, or the job fails there.
        """
        job = self._ask(
            "POST", "/jobs", {"nb_run": order.n_shots, "pulser_sequence": order.text, "context": {}}
        )
        while job["status"] in ("PENDING", "RUNNING"):
            if order.has_ended:
                self._ask("PUT", f"/jobs/{job['uid']}/cancel")
                raise ExecutionError("canceled")
            if self._closing.wait(self._poll_s):
                raise ExecutionError("the service was closed")
            job = self._ask("GET", f"/jobs/{job['uid']}")
        if job["status"] != "DONE" or job["result"] is None:
            raise ExecutionError(f"the QPU's job {job['uid']} ended {job['status']}")
        return str(job["result"])

    def _ask(self, method: str, path: str, content: object = None) -> Any:  # noqa: ANN401 - JSON
        problem = ""
        for _ in range(_MOST_TRIES):
            try:
                status, reply = self._once(method, path, content)
            except (OSError, HTTPException, ValueError) as error:
                # A job that may have been taken must not be sent again.
                if method == "POST":
                    raise ExecutionError(f"the QPU does not answer ({error!r})") from error
                status, problem = 0, f"the QPU does not answer ({error!r})"
            else:
                if status == 200:
                    return reply["data"]
                problem = f"the QPU says {status}: {reply['data']['description']}"
                if status not in _AGAIN:
                    break
            if self._closing.wait(_PAUSE_S):
                break
        raise ExecutionError(problem)

    def _once(self, method: str, path: str, content: object) -> tuple[int, Any]:
        connection = HTTPConnection(HOST, self._port, timeout=_TIMEOUT_S)
        try:
            body = None if content is None else json.dumps(content)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, f"{_PREFIX}{path}", body, headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()
