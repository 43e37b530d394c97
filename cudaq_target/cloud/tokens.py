"""Bearer tokens for Pasqal Cloud, through pasqal-cloud's token providers."""

from __future__ import annotations

import datetime
import threading
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.cloud.credentials import scrubbed
from cudaq_target.cloud.errors import CredentialsError
from cudaq_target.errors import MachineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cudaq_target.cloud.credentials import Access

# A token is renewed so long before its end; pasqal-cloud's minute would renew short ones always.
_WINDOW: Final = datetime.timedelta(seconds=5)
_GRANT_TIMEOUT_S: Final = 10.0
_ATTEMPTS: Final = 3


class Tokens:
    """The token in force; threads share it."""

    def __init__(self, machine: str, given: Access) -> None:
        """Ask for nothing yet.

        Args:
            machine: Device type, for messages.
            given: How to log in.
        """
        self._machine, self._access = machine, given
        self._provider: Any = None
        self._last = ""
        self._lock = threading.Lock()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, the token in force included."""
        return (*self._access.secrets, *([self._last] if self._last else []))

    def token(self) -> str:
        """Return a token that should be valid.

        Raises:
            CredentialsError: They are refused.
            MachineUnavailableError: The authentication service does not answer.
        """
        with self._lock:
            if self._provider is None:
                self._provider = self._made()
            return self._asked()

    def renew(self, stale: str) -> bool:
        """Replace a token that the cloud refuses.

        Args:
            stale: The token.

        Returns:
            Whether there is another one now.

        Raises:
            CredentialsError: The credentials are refused, too.
            MachineUnavailableError: The authentication service does not answer.
        """
        if self._access.token is not None:
            return False
        with self._lock:
            if self._provider is None or self._asked() == stale:
                self._provider = self._made()
                return self._asked() != stale
            return True

    def _asked(self) -> str:
        """Ask the provider; what pasqal-cloud raises becomes ours here.

        Some of its errors are no `Exception`s, and would pass by whoever cleans up.
        """
        from pasqal_cloud.authentication import TokenProviderError  # noqa: PLC0415
        from pasqal_cloud.errors import ExceptionWithResponseContext  # noqa: PLC0415

        try:
            self._last = str(self._provider.get_token())
        except (TokenProviderError, ExceptionWithResponseContext) as error:
            raise CredentialsError(
                self._machine,
                f"pasqal-cloud gives no token ({scrubbed(str(error), self.secrets)})",
                "Check the credentials, and the version of pasqal-cloud",
            ) from None
        return self._last

    def _made(self) -> Any:  # noqa: ANN401 - a provider of pasqal-cloud's
        # Here, because pasqal-cloud takes 0.8 s to import.
        from pasqal_cloud.authentication import (  # noqa: PLC0415
            ExpiringTokenProvider,
            TokenProvider,
        )

        lasting = self._access.token

        class Lasting(TokenProvider):
            """A token that was given, and cannot be renewed."""

            def get_token(self) -> str:
                assert lasting is not None
                return lasting

        class Granted(ExpiringTokenProvider):
            """Tokens that are asked for with a password or the secret of a service account."""

            expiry_window = _WINDOW

            def __init__(self, ask: Callable[[], dict[str, Any]]) -> None:
                self._ask = ask

            def _query_token(self) -> dict[str, Any]:
                return self._ask()

        return Granted(self._granted) if lasting is None else Lasting()

    def _granted(self) -> dict[str, Any]:
        """Ask for a token; asking again does no harm."""
        import requests  # noqa: PLC0415

        url, form = self._request()
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                reply = requests.post(url, data=form, timeout=_GRANT_TIMEOUT_S)
                content = reply.json()
            except requests.JSONDecodeError:
                reason = f"HTTP {reply.status_code} without JSON"
                continue
            except requests.RequestException as error:
                # Without its text or its request, which holds the password.
                reason = type(error).__name__
                continue
            if reply.status_code in (429, *range(500, 600)) or not isinstance(content, dict):
                reason = f"HTTP {reply.status_code}"
                continue
            if reply.status_code >= 400 or not isinstance(content.get("access_token"), str):
                raise self._refused(reply.status_code, content)
            return dict(content)
        raise MachineUnavailableError(
            self._machine,
            f"the authentication service at {url} does not answer ({reason}, {_ATTEMPTS} times)",
            "Try again later, or check PASQAL_AUTH_ENDPOINT and PASQAL_REGION",
        )

    def _request(self) -> tuple[str, dict[str, str]]:
        """Where to ask, and what for."""
        from pasqal_cloud.endpoints import TokenProviderConf  # noqa: PLC0415

        given = self._access
        conf = TokenProviderConf.from_region(given.region)
        url = given.auth_endpoint or conf.token_endpoint
        if given.client_id is not None and given.client_secret is not None:
            return url, {
                "grant_type": "client_credentials",
                "client_id": given.client_id,
                "client_secret": given.client_secret,
                "audience": conf.audience,
            }
        return url, {
            "grant_type": conf.grant_type,
            "client_id": conf.public_client_id,
            "realm": conf.realm,
            "audience": conf.audience,
            "username": given.username or "",
            "password": given.password or "",
        }

    def _refused(self, status: int, content: dict[str, Any]) -> CredentialsError:
        said = str(content.get("error_description") or content.get("error") or "no reason given")
        who = self._access.username or self._access.client_id
        return CredentialsError(
            self._machine,
            f"Pasqal Cloud refuses the credentials of {who} "
            f"(HTTP {status}: {scrubbed(said, self.secrets)})",
            "Check PASQAL_USERNAME and PASQAL_PASSWORD, or the service account",
        )
