"""Pasqal Cloud on loopback, as its Python SDK, QRMI and CUDA-Q speak to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cudaq_target.fakes import checks, devices
from cudaq_target.fakes.desk import CORE, Desk
from cudaq_target.fakes.orders import Orders
from cudaq_target.fakes.service import (
    FakeService,
    Refusal,
    Reply,
    Request,
    Route,
    jsend,
    jsend_error,
)
from cudaq_target.fakes.tokens import Account, Tokens, oauth_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cudaq_target.fakes.batches import Batch, Job
    from cudaq_target.fakes.orders import EngineName

PROJECT_ID: Final = "00000000-0000-4000-8000-000000000001"


class FakeCloud(FakeService):
    """Pasqal Cloud on 127.0.0.1.

    Programs run at once and in the background: jobs of one batch one after another, batches on
    emulators side by side, batches on a QPU in turn. A QPU takes analog sequences for its device.

    Attributes:
        project_id: The project that may be used.
        account: Names and secrets that get a token.
        token: A token that works without any grant, or None.
        tokens: The tokens that were handed out; `tokens.lifetime_s` may be changed.
        availability: By device type: "ACTIVE", or another word for a device that is away.
        orders: What runs; `orders.service_s` may be changed.
        desk: Its batches and jobs.

    >>> with FakeCloud(engine="zeros") as cloud:
    ...     environment = cloud.qrmi_environment("EMU_FREE")
    >>> environment["QRMI_JOB_QPU_RESOURCES"], environment["QRMI_JOB_QPU_TYPES"]
    ('EMU_FREE', 'pasqal-cloud')
    """

    name = "cloud"

    def __init__(
        self,
        *,
        port: int = 0,
        engine: EngineName = "local",
        service_s: float = 0.0,
        seed: int | None = None,
        project_id: str = PROJECT_ID,
        username: str = "ada@example.org",
        password: str = "correct-horse",
        client_id: str = "fake-client",
        client_secret: str = "fake-client-secret",
        token: str | None = "opaque-token",
        token_lifetime_s: float = 3600.0,
        clock_skew_s: float = 0.0,
    ) -> None:
        """Configure; `start` or `with` listens.

        Args:
            port: Where to listen; 0 takes a free port.
            engine: "local" emulates programs, "zeros" answers that no atom was excited.
            service_s: How long the machine takes for each job (s).
            seed: Makes equal requests in equal order give equal counts.
            project_id: The project that may be used.
            username: For the password grant.
            password: For the password grant.
            client_id: For client credentials.
            client_secret: For client credentials.
            token: A token that works without any grant, or None.
            token_lifetime_s: How long tokens last (s).
            clock_skew_s: How far the service's clock is ahead (s).

        Raises:
            OptionError: No such engine, or a negative time.
        """
        self.desk = Desk(self)
        super().__init__(port=port, clock_skew_s=clock_skew_s)
        self.project_id = project_id
        self.account = Account(username, password, client_id, client_secret)
        self.token = token
        self.tokens = Tokens(self.now, token_lifetime_s, () if token is None else (token,))
        self.availability = dict.fromkeys(devices.DEVICE_TYPES, "ACTIVE")
        self.orders = Orders(engine, self._faults, self.now, service_s=service_s, seed=seed)

    @property
    def core_url(self) -> str:
        """For `pasqal_cloud.Endpoints(core=…)`."""
        return f"{self.url}/core-fast"

    @property
    def account_url(self) -> str:
        """For `pasqal_cloud.Endpoints(account=…)`."""
        return f"{self.url}/account"

    @property
    def token_url(self) -> str:
        """Where tokens are handed out."""
        return f"{self.url}/oauth/token"

    @property
    def batches(self) -> tuple[Batch, ...]:
        """All batches, in the order in which they were accepted."""
        return tuple(self.desk.batches.values())

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs, in the order in which they were accepted."""
        return tuple(self.desk.jobs.values())

    def qrmi_config(self, *, client: bool = False) -> dict[str, str]:
        """Return what `QuantumResource.from_config` takes, with the lasting token.

        Args:
            client: Give client credentials in place of the token.
        """
        prefix = "QRMI_PASQAL_CLOUD_"
        config = {
            f"{prefix}BASE_URL": self.url,
            f"{prefix}AUTH_ENDPOINT": self.token_url,
            f"{prefix}PROJECT_ID": self.project_id,
        }
        if client or self.token is None:
            credentials = {
                "CLIENT_ID": self.account.client_id,
                "CLIENT_SECRET": self.account.client_secret,
            }
            return config | {f"{prefix}{name}": value for name, value in credentials.items()}
        return config | {f"{prefix}AUTH_TOKEN": self.token}

    def qrmi_environment(
        self, resource: str = "EMU_FREE", *, client: bool = False
    ) -> dict[str, str]:
        """Return the variables that a scheduler sets in a job with this resource.

        Args:
            resource: A device type.
            client: Give client credentials in place of the token.
        """
        kinds = {"RESOURCES": resource, "TYPES": "pasqal-cloud"}
        return {
            f"{family}_JOB_QPU_{name}": value
            for family in ("QRMI", "SLURM")
            for name, value in kinds.items()
        } | {f"{resource}_{key}": value for key, value in self.qrmi_config(client=client).items()}

    def release(self) -> None:
        """Let jobs go on that a fault holds in a state."""
        self.orders.release()

    def force(self, name: str, status: str) -> None:
        """Put a job or a batch into a state, whatever it does.

        Args:
            name: Id of a job or batch.
            status: A state of the service, for example "TIMED_OUT" for a batch that was left open.

        Raises:
            KeyError: No such job or batch.
        """
        with self.orders.changed:
            if name in self.desk.jobs:
                self.orders.set_status(self.desk.jobs[name].order, status)
            else:
                batch = self.desk.batches[name]
                batch.forced, batch.is_open = status, False

    def _make_routes(self) -> Sequence[Route]:
        return (
            Route("token", "POST", "/oauth/token", self._token),
            Route("devices", "GET", f"{CORE}/v1/devices", self._devices),
            Route("specs", "GET", f"{CORE}/v1/devices/specs", self._specs),
            Route("specs.public", "GET", f"{CORE}/v1/devices/public-specs", self._public_specs),
            Route("specs.device", "GET", f"{CORE}/v1/devices/specs/{{type}}", self._device_specs),
            Route("projects", "GET", "/account/api/v1/projects", self._projects),
            *self.desk.routes(),
        )

    def _error(self, refusal: Refusal, endpoint: str) -> Reply:
        if endpoint == "token":
            return oauth_error(refusal.status, "access_denied", refusal.description)
        return jsend_error(refusal)

    def _prepare(self) -> None:
        self.orders.load()
        devices.device("EMU_FREE")  # Pulser is loaded here, and not by a thread of a connection

    def _end(self) -> None:
        self.orders.close()

    def _expire(self) -> None:
        self.tokens.expire()

    def _token(self, request: Request) -> Reply:
        return self.account.grant(request, self.tokens)

    def _projects(self, request: Request) -> Reply:
        self.tokens.check(request.headers)
        checks.only(request.query, frozenset({"project_status"}))
        return jsend([{"id": self.project_id, "name": "fake project", "status": "ACTIVE"}])

    def _devices(self, request: Request) -> Reply:
        checks.only(request.query, frozenset({"device_type"}))
        wanted = request.query.get("device_type", list(self.availability))
        return jsend(
            [
                {
                    "device_type": name,
                    "status": "UP" if self.availability[name] == "ACTIVE" else "DOWN",
                    "availability": self.availability[name],
                }
                for name in wanted
                if name in self.availability
            ]
        )

    def _specs(self, request: Request) -> Reply:
        self.tokens.check(request.headers)
        return jsend({name: devices.specs(name) for name in self.availability})

    def _public_specs(self, request: Request) -> Reply:
        checks.only(request.query, frozenset())
        return jsend(
            [{"device_type": name, "specs": devices.specs(name)} for name in self.availability]
        )

    def _device_specs(self, request: Request) -> Reply:
        self.tokens.check(request.headers)
        name = request.captured["type"]
        if name not in self.availability:
            raise Refusal(404, f"Device {name} not found")
        return jsend({"device_type": name, "specs": devices.specs(name)})
