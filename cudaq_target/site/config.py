"""The operator's files: the hook's settings and the site's resources."""

from __future__ import annotations

import difflib
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

RESOURCES_NAME: Final = "qrmi_config.json"
SETTINGS_NAME: Final = "qpu_hook.json"

CLOUD: Final = "pasqal-cloud"
LOCAL: Final = "pasqal-local"
CLOUD_DEVICES: Final = ("EMU_FREE", "EMU_FRESNEL", "EMU_MPS", "FRESNEL", "FRESNEL_CAN1")
KEYS: Final = {
    CLOUD: (
        "PASQAL_CONFIG_ROOT",
        "QRMI_PASQAL_CLOUD_AUTH_ENDPOINT",
        "QRMI_PASQAL_CLOUD_AUTH_TOKEN",
        "QRMI_PASQAL_CLOUD_BASE_URL",
        "QRMI_PASQAL_CLOUD_CLIENT_ID",
        "QRMI_PASQAL_CLOUD_CLIENT_SECRET",
        "QRMI_PASQAL_CLOUD_PROJECT_ID",
    ),
    LOCAL: ("QRMI_URL", "QRMI_WARDEN_URL"),
}
_SECRET: Final = re.compile(r"TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "config": (str,),
    "state_dir": (str,),
    "timeout_s": (int, float),
    "comment": (bool,),
}


class HookError(Exception):
    """Why a job cannot have its QPU, in words for its user or the operator."""


class Settings(NamedTuple):
    """What `qpu_hook.json` may set.

    Attributes:
        config: File of the resources.
        state_dir: Where sessions of jobs are noted; on a shared file system for jobs of many nodes.
        timeout_s: Longest wait for an answer of a QPU's service, and for another node (s).
        comment: Whether `--comment=qpu=a,b` asks for resources, which Slurm does not count.
        environment: Variables for the hooks themselves, such as a proxy.
    """

    config: Path = Path("/etc/qrmi") / RESOURCES_NAME
    state_dir: Path = Path("/run/qpu")
    timeout_s: float = 20.0
    comment: bool = True
    environment: Mapping[str, str] = {}


@dataclass(frozen=True)
class Resource:
    """A resource of the site.

    Attributes:
        name: What jobs ask for.
        type: QRMI's type, "pasqal-cloud" or "pasqal-local".
        environment: QRMI's settings of it; some are secret.
    """

    name: str
    type: str
    environment: Mapping[str, str] = field(repr=False)

    def mask(self, text: str) -> str:
        """Take what is secret out of a text."""
        for key, value in self.environment.items():
            if value and _SECRET.search(key):
                text = text.replace(value, "***")
        return text


def load_settings(directory: Path) -> Settings:
    """Read the hook's own settings.

    Args:
        directory: Where the hook lies, with `qpu_hook.json` and `qrmi_config.json` beside it.

    Raises:
        HookError: A file may be changed by others, or holds what is not known.
    """
    path = directory / SETTINGS_NAME
    usual = Settings(config=directory / RESOURCES_NAME)
    if not path.exists():
        return usual
    content = _read_json(path)
    _check_keys(content, Settings._fields, str(path))
    for name, kind in _KINDS.items():
        if name in content and not isinstance(content[name], kind):
            raise HookError(f"{path}: {name} cannot be {content[name]!r}")
    for name in ("config", "state_dir"):
        if name in content:
            content[name] = Path(content[name])
    content["environment"] = _variables(content.get("environment", {}), str(path))
    return usual._replace(**content)


def load_resources(path: Path) -> dict[str, Resource]:
    """Read the site's resources.

    Returns:
        By name, in the order of the file.

    Raises:
        HookError: It cannot be read, others may read its secrets or change it, or it holds what is
            not known.
    """
    content = _read_json(path)
    _check_keys(content, ("resources",), str(path))
    entries = content.get("resources")
    if not isinstance(entries, list):
        raise HookError(f"{path}: 'resources' is not a list")
    resources: dict[str, Resource] = {}
    for k, entry in enumerate(entries):
        resource = _resource(entry, f"{path}, resource {k}")
        if resource.name in resources:
            raise HookError(f"{path}: two resources have the name {resource.name}")
        resources[resource.name] = resource
    is_secret = any(_SECRET.search(key) for one in resources.values() for key in one.environment)
    if is_secret and path.stat().st_mode & stat.S_IROTH:
        raise HookError(f"{path} holds secrets and everybody may read it: chmod 0640 {path}")
    return resources


def _resource(entry: object, where: str) -> Resource:
    if not isinstance(entry, dict):
        raise HookError(f"{where}: not an object")
    _check_keys(entry, ("name", "type", "environment"), where)
    name, kind = entry.get("name"), entry.get("type")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise HookError(f"{where}: {name!r} is no name: letters, digits, '_', '-' and '.' make one")
    if kind not in KEYS:
        raise HookError(f"{where}: {name} has the type {kind!r}; known: {', '.join(KEYS)}")
    if kind == CLOUD and name not in CLOUD_DEVICES:
        raise HookError(f"{where}: {name} is no device of {CLOUD}: {', '.join(CLOUD_DEVICES)}")
    environment = _variables(entry.get("environment", {}), f"{where} ({name})")
    _check_keys(environment, KEYS[kind], f"{where} ({name})")
    return Resource(name, kind, environment)


def _variables(content: object, where: str) -> dict[str, str]:
    """Check names and values of variables; a line break in one would set another."""
    if not isinstance(content, dict):
        raise HookError(f"{where}: 'environment' is not an object")
    for key, value in content.items():
        if _VARIABLE.fullmatch(key) is None:
            raise HookError(f"{where}: {key!r} is no name of a variable")
        if not isinstance(value, str) or set(value) & set("\n\r\0"):
            raise HookError(f"{where}: {key} is not a text of one line")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    try:
        status = path.stat()
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise HookError(f"{path}: {error.strerror}") from None
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or status.st_uid not in (0, os.geteuid()):
        raise HookError(f"{path} may be changed by others than root: chown root, chmod go-w {path}")
    try:
        content = json.loads(text)
    except ValueError as error:
        raise HookError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise HookError(f"{path}: not an object")
    return content


def _check_keys(content: Mapping[str, object], known: Sequence[str], where: str) -> None:
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1) or [", ".join(known)]
            raise HookError(f"{where}: unknown key {key!r}; known: {near[0]}")
