"""The QPU that a scheduler gave to this job, as the job's environment describes it.

The variables are those of QRMI, which hooks of schedulers set: `QRMI_JOB_QPU_RESOURCES` and
`QRMI_JOB_QPU_TYPES` (or `SLURM_…`) list names and types, in the same order and with
`QRMI_LIST_DELIMITER` between them; `<name>_QRMI_…` configure one resource. `QRMI_PLUGIN_ERROR` is
what a hook has to say to the user.

Where variables lack a key of Pasqal Cloud, the file `.pasqal/config` gives it: the first that
exists in `PASQAL_CONFIG_ROOT`, `<name>_QRMI_PASQAL_CONFIG_ROOT`, `<name>_PASQAL_CONFIG_ROOT`, and
the home directory. It must not be readable for others (`credentials.from_file`).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cudaq_target.cloud.credentials import from_file
from cudaq_target.cloud.errors import CredentialsError, JobEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ResourceType: TypeAlias = Literal["pasqal-cloud", "pasqal-local"]

MACHINE: Final = "qrmi"
TYPES: Final[tuple[ResourceType, ...]] = ("pasqal-cloud", "pasqal-local")
# Devices of the cloud that QRMI knows.
CLOUD_DEVICES: Final = ("EMU_FREE", "EMU_FRESNEL", "EMU_MPS", "FRESNEL", "FRESNEL_CAN1")
_FAMILIES: Final = ("QRMI", "SLURM")
_CLOUD: Final = "QRMI_PASQAL_CLOUD_"
_SESSION: Final = "QRMI_JOB_ACQUISITION_TOKEN"
# Keys of the file, and what QRMI calls them.
_FILED: Final = {
    "project_id": f"{_CLOUD}PROJECT_ID",
    "token": f"{_CLOUD}AUTH_TOKEN",
    "client_id": f"{_CLOUD}CLIENT_ID",
    "client_secret": f"{_CLOUD}CLIENT_SECRET",
    "auth_endpoint": f"{_CLOUD}AUTH_ENDPOINT",
    "base_url": f"{_CLOUD}BASE_URL",
    "username": "PASQAL_USERNAME",
    "password": "PASQAL_PASSWORD",
}
# Those that are the same for all resources.
_UNPREFIXED: Final = ("PASQAL_USERNAME", "PASQAL_PASSWORD")
_LOGINS: Final = (
    (f"{_CLOUD}AUTH_TOKEN",),
    (f"{_CLOUD}CLIENT_ID", f"{_CLOUD}CLIENT_SECRET"),
    _UNPREFIXED,
)
_SECRET: Final = (
    f"{_CLOUD}AUTH_TOKEN",
    f"{_CLOUD}CLIENT_SECRET",
    "PASQAL_PASSWORD",
    _SESSION,
)
_DEFAULT_BASE: Final = "https://apis.pasqal.cloud"
_DEFAULT_AUTH: Final = "https://authenticate.pasqal.cloud/oauth/token"
_USERINFO: Final = re.compile(r"//[^/@]*@")
_ASK: Final = "Ask the scheduler for a QPU (Slurm: sbatch --gres=qpu:NAME), or use machine='local'"


@dataclass(frozen=True, slots=True)
class Resource:
    """A QPU, or an emulator in its place, that this job may use.

    Attributes:
        name: What the site calls it; a device type for Pasqal Cloud.
        type: QRMI's word for how it is reached.
        settings: What QRMI is told, by its own keys; some are secret.
    """

    name: str
    type: ResourceType
    settings: Mapping[str, str] = field(repr=False)

    @property
    def machine(self) -> str:
        """The resource as `machine=` takes it."""
        return f"{MACHINE}:{self.name}"

    @property
    def service(self) -> str:
        """Address of the service in front of it, without a password in it."""
        key = "QRMI_WARDEN_URL" if self.type == "pasqal-local" else f"{_CLOUD}BASE_URL"
        return _USERINFO.sub("//", self.settings.get(key, _DEFAULT_BASE)).rstrip("/")

    @property
    def auth_endpoint(self) -> str:
        """Where the cloud hands out tokens."""
        return self.settings.get(f"{_CLOUD}AUTH_ENDPOINT", _DEFAULT_AUTH)

    @property
    def session(self) -> str | None:
        """The session that the scheduler opened, which is as good as a password; or None."""
        return self.settings.get(_SESSION)

    @property
    def renews_tokens(self) -> bool:
        """Whether there are credentials that get another token."""
        return any(all(key in self.settings for key in login) for login in _LOGINS[1:])

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return tuple(self.settings[key] for key in _SECRET if key in self.settings)

    def with_session(self, session: str) -> Resource:
        """Return the resource with a session that was opened here."""
        return Resource(self.name, self.type, {**self.settings, _SESSION: session})


def names(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the resources that this job has, as the scheduler lists them; empty outside of jobs.

    Args:
        environ: Environment variables; None for the process's own.

    Raises:
        JobEnvironmentError: The lists of names and types do not fit together, or a hook of the
            scheduler failed.
    """
    variables = os.environ if environ is None else environ
    return tuple(name for name, _ in _listed(MACHINE, variables))


def resource(machine: str, environ: Mapping[str, str] | None = None) -> Resource:
    """Find a resource of this job, with everything that QRMI needs to reach it.

    Args:
        machine: "qrmi" for the first or only one, "qrmi:NAME" for the one of this name.
        environ: Environment variables; None for the process's own.

    Raises:
        JobEnvironmentError: There is no such resource, or the scheduler's variables say too little.
        CredentialsError: Credentials are missing, half there, or readable for others.
    """
    variables = os.environ if environ is None else environ
    _, _, wanted = machine.partition(":")
    listed = _listed(machine, variables)
    if not listed:
        raise JobEnvironmentError(
            machine, "QRMI_JOB_QPU_RESOURCES", "this process was given no QPU", _ASK
        )
    known = dict(listed)
    name = wanted or listed[0][0]
    if name not in known:
        raise JobEnvironmentError(
            machine,
            "QRMI_JOB_QPU_RESOURCES",
            f"this job has no resource {name!r}",
            f"It has: {', '.join(f'{MACHINE}:{name}' for name in known)}",
        )
    return _described(machine, name, known[name], variables)


def _described(machine: str, name: str, kind: str, variables: Mapping[str, str]) -> Resource:
    if kind == "pasqal-local":
        return Resource(name, "pasqal-local", _local_settings(machine, name, variables))
    if kind == "pasqal-cloud":
        return Resource(name, "pasqal-cloud", _cloud_settings(machine, name, variables))
    raise JobEnvironmentError(
        machine,
        "QRMI_JOB_QPU_TYPES",
        f"resource {name!r} is of type {kind!r}, which plays no pulse sequences of neutral atoms",
        f"Use a resource of type {' or '.join(TYPES)}, or machine='local'",
    )


def _listed(machine: str, variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return names and types, in the scheduler's order."""
    said = variables.get("QRMI_PLUGIN_ERROR", "").strip()
    if said:
        raise JobEnvironmentError(
            machine,
            "QRMI_PLUGIN_ERROR",
            f"the scheduler could not give this job its QPU: {_masked(said, variables)}",
            "Correct the request, or tell the operator; machine='local' runs without a QPU",
        )
    found, from_names = _list(machine, "RESOURCES", variables)
    types, from_types = _list(machine, "TYPES", variables)
    if len(found) != len(types):
        raise JobEnvironmentError(
            machine,
            from_names,
            f"it lists {len(found)} resources ({', '.join(found)}), {from_types} lists "
            f"{len(types)} types ({', '.join(types) or 'none'})",
            "Give one type for each resource, in the same order",
        )
    return list(zip(found, types, strict=True))


def _list(machine: str, what: str, variables: Mapping[str, str]) -> tuple[list[str], str]:
    """Return the entries of a list, and the variable that they are from."""
    candidates = [f"{family}_JOB_QPU_{what}" for family in _FAMILIES]
    source = next((name for name in candidates if _set(variables.get(name))), None)
    if source is None:
        return [], candidates[0]
    text = variables[source]
    delimiter = variables.get("QRMI_LIST_DELIMITER", ",")
    if not delimiter:
        raise JobEnvironmentError(
            machine, "QRMI_LIST_DELIMITER", "it is empty", "Unset it, which means a comma"
        )
    entries = [entry.strip() for entry in text.split(delimiter)]
    if not all(entries):
        raise JobEnvironmentError(
            machine, source, f"{text!r} has an empty entry", f"Separate entries by {delimiter!r}"
        )
    return entries, source


def _local_settings(machine: str, name: str, variables: Mapping[str, str]) -> dict[str, str]:
    url = _own(name, "QRMI_WARDEN_URL", variables) or _own(name, "QRMI_URL", variables)
    if url is None:
        raise JobEnvironmentError(
            machine,
            f"{name}_QRMI_WARDEN_URL",
            "it is not set, so nobody knows where the QPU's service is",
            "Set it in the site's configuration of the resource, for example to http://HOST:8006",
        )
    session = _own(name, _SESSION, variables)
    uid = variables.get("QRMI_JOB_UID", "").strip() or str(os.getuid())
    if not uid.isdecimal():
        raise JobEnvironmentError(
            machine, "QRMI_JOB_UID", f"{uid!r} is no user", "Give the numeric uid of the job's user"
        )
    job = next(filter(None, map(variables.get, ("QRMI_JOB_ID", "SLURM_JOB_ID", "JOB_ID"))), "0")
    settings = {"QRMI_WARDEN_URL": url, "QRMI_JOB_UID": uid, "QRMI_JOB_ID": job}
    return settings if session is None else settings | {_SESSION: session}


def _cloud_settings(machine: str, name: str, variables: Mapping[str, str]) -> dict[str, str]:
    if name not in CLOUD_DEVICES:
        raise JobEnvironmentError(
            machine,
            "QRMI_JOB_QPU_RESOURCES",
            f"QRMI knows no device {name!r} of Pasqal Cloud",
            f"It knows {', '.join(CLOUD_DEVICES)}",
        )
    found: dict[str, str] = {}
    for key in _FILED.values():
        value = _set(variables.get(key)) if key in _UNPREFIXED else _own(name, key, variables)
        if value is not None:
            found[key] = value
    project = f"{_CLOUD}PROJECT_ID"
    if project not in found or not _can_log_in(found):
        found = _from_file(machine, name, variables) | found
    if not _can_log_in(found):
        raise _without_login(machine, name, found)
    if project not in found:
        raise CredentialsError(
            machine, f"{name}_{project} is not set", "Set it to the id of the project that pays"
        )
    return found


def _from_file(machine: str, name: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return what the first file that exists has to say, by QRMI's keys."""
    path = next((path for path in _files(name, variables) if path.is_file()), None)
    if path is None:
        return {}
    filed = from_file(name, path)
    if filed.get("region", "fr") != "fr" and "base_url" not in filed:
        raise CredentialsError(
            machine,
            f"{path} chooses region {filed['region']!r}, which QRMI does not know",
            "Add base_url and auth_endpoint of that region",
        )
    return {_FILED[key]: value for key, value in filed.items() if key in _FILED}


def _files(name: str, variables: Mapping[str, str]) -> Iterator[Path]:
    roots = ("PASQAL_CONFIG_ROOT", f"{name}_QRMI_PASQAL_CONFIG_ROOT", f"{name}_PASQAL_CONFIG_ROOT")
    for root in (*(variables.get(variable) for variable in roots), variables.get("HOME")):
        if root and root.strip():
            yield Path(os.path.expandvars(root.strip())).expanduser() / ".pasqal" / "config"


def _can_log_in(found: Mapping[str, str]) -> bool:
    return any(all(key in found for key in login) for login in _LOGINS)


def _without_login(machine: str, name: str, found: Mapping[str, str]) -> CredentialsError:
    remedy = (
        f"Set {name}_{_CLOUD}AUTH_TOKEN, or {name}_{_CLOUD}CLIENT_ID with "
        f"{name}_{_CLOUD}CLIENT_SECRET, or PASQAL_USERNAME with PASQAL_PASSWORD, or write them to "
        "~/.pasqal/config"
    )
    for login in _LOGINS[1:]:
        missing = [_variable(name, key) for key in login if key not in found]
        if len(missing) < len(login):
            return CredentialsError(machine, f"{missing[0]} is not set, its partner is", remedy)
    return CredentialsError(machine, f"no credentials for resource {name!r} are set", remedy)


def _variable(name: str, key: str) -> str:
    return key if key in _UNPREFIXED else f"{name}_{key}"


def _own(name: str, key: str, variables: Mapping[str, str]) -> str | None:
    return _set(variables.get(f"{name}_{key}"))


def _set(value: str | None) -> str | None:
    """A blank variable counts as not set."""
    return value.strip() if value and value.strip() else None


def _masked(text: str, variables: Mapping[str, str]) -> str:
    """Take out the values of all variables that QRMI takes for secret."""
    for variable, value in variables.items():
        if value and variable.endswith(_SECRET):
            text = text.replace(value, "***")
    return text
