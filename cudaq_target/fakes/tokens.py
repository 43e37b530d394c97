"""Bearer tokens of a stand-in: handed out as JWT, valid for a time, refused afterwards."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from cudaq_target.fakes import checks
from cudaq_target.fakes.service import Refusal, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cudaq_target.fakes.service import Request

REALM_GRANT: Final = "http://auth0.com/oauth/grant-type/password-realm"


class Tokens:
    """The tokens that a service knows.

    Attributes:
        lifetime_s: How long the tokens last that are issued from now on (s).
    """

    def __init__(
        self, now: Callable[[], float], lifetime_s: float, lasting: Iterable[str] = ()
    ) -> None:
        """Start without any.

        Args:
            now: The service's clock (s since 1970).
            lifetime_s: How long issued tokens last (s).
            lasting: Tokens that are valid from the start and do not expire by themselves.
        """
        self.lifetime_s = lifetime_s
        self._now = now
        self._key = secrets.token_bytes(32)
        self._expiry_s: dict[str, float] = dict.fromkeys(lasting, float("inf"))
        self._lock = threading.Lock()

    def issue(self, subject: str) -> str:
        """Make a token.

        Args:
            subject: Whose.

        Returns:
            A signed JWT, with iat and exp by the service's clock.
        """
        now_s = self._now()
        claims = {
            "sub": subject,
            "iat": int(now_s),
            "exp": int(now_s + self.lifetime_s),
            "jti": secrets.token_hex(8),
        }
        signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
        signature = hmac.new(self._key, signed.encode(), hashlib.sha256).digest()
        token = f"{signed}.{_base64(signature)}"
        with self._lock:
            self._expiry_s[token] = now_s + self.lifetime_s
        return token

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse a request without a valid token.

        Raises:
            Refusal: 401, with the reason.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("Missing bearer token")
        with self._lock:
            expiry_s = self._expiry_s.get(token)
        if expiry_s is None:
            raise _unauthorized("Invalid token")
        if expiry_s <= self._now():
            raise _unauthorized("Token has expired")

    def expire(self) -> None:
        """Let every token that exists expire, those that were given from the start too."""
        with self._lock:
            self._expiry_s = dict.fromkeys(self._expiry_s, 0.0)


def _unauthorized(description: str) -> Refusal:
    return Refusal(401, description, headers={"WWW-Authenticate": "Bearer"})


def _part(content: object) -> str:
    return _base64(json.dumps(content, separators=(",", ":")).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Account:
    """Who may have a token.

    Attributes:
        username: For the password grants.
        password: For the password grants.
        client_id: For client credentials.
        client_secret: For client credentials.
    """

    username: str
    password: str = field(repr=False)
    client_id: str
    client_secret: str = field(repr=False)

    def grant(self, request: Request, tokens: Tokens) -> Reply:
        """Answer a request for a token, as RFC 6749 and Auth0 do.

        Args:
            request: Form or JSON.
            tokens: Makes the token.
        """
        values = _values(request)
        grant = checks.form(values, "grant_type")
        if grant in (REALM_GRANT, "password"):
            needed = ["client_id", "realm", "audience"] if grant == REALM_GRANT else ["client_id"]
            expected = {"username": self.username, "password": self.password}
            subject, refused = self.username, (403, "invalid_grant", "Wrong email or password.")
        elif grant == "client_credentials":
            needed = []
            expected = {"client_id": self.client_id, "client_secret": self.client_secret}
            subject, refused = self.client_id, (401, "access_denied", "Unauthorized")
        else:
            return oauth_error(403, "unsupported_grant_type", f"Unsupported grant type: {grant}")
        for name in (*needed, *expected):
            if not checks.form(values, name):
                return oauth_error(400, "invalid_request", f"Missing required parameter: {name}")
        if any(checks.form(values, name) != value for name, value in expected.items()):
            return oauth_error(*refused)
        token = tokens.issue(subject)
        lifetime_s = int(tokens.lifetime_s)
        return Reply.of(
            200, {"access_token": token, "expires_in": lifetime_s, "token_type": "Bearer"}
        )


def _values(request: Request) -> dict[str, list[str]]:
    if not request.headers.get("content-type", "").startswith("application/json"):
        return parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    sent = request.json()
    if not isinstance(sent, dict):
        raise Refusal(400, "invalid_request")
    return {name: [str(value)] for name, value in sent.items()}


def oauth_error(status: int, error: str, description: str) -> Reply:
    """Write an error of RFC 6749."""
    return Reply.of(status, {"error": error, "error_description": description})
