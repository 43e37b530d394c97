"""Settings of the target: which exist, which values they take, and which source wins.

Precedence, per setting: the argument, the environment (`CUDAQ_TARGET_<NAME>`), a TOML file, the
default. TOML files, nearest first: `cudaq-target.toml` in the current directory, the table
`[tool.cudaq-target]` of `pyproject.toml` in the current directory, `config.toml` in the user's
configuration directory. An unknown name is an error in every source.

Where no source names a machine and a scheduler gave this job a QPU, it is that (`qrmi`).
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cudaq_target.errors import OptionError
from cudaq_target.sites import Sites, read_sites

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pulser import NoiseModel

# Machines in this process; `REMOTE_FORMS` names the others.
MACHINES = ("local", "qutip", "emu-sv", "emu-mps", "auto-emulator")
# Devices of Pasqal Cloud, which are machines, too.
CLOUD_DEVICES = ("EMU_FREE", "EMU_MPS", "EMU_SV", "EMU_FRESNEL", "FRESNEL", "FRESNEL_CAN1")
ROUTES = ("swap", "direct")
ENVIRONMENT_PREFIX = "CUDAQ_TARGET_"
# Set by QPU schedulers to name the QPUs that a job was given, or why it was given none.
QPU_RESOURCE_VARIABLES = (
    "QRMI_JOB_QPU_RESOURCES",
    "SLURM_JOB_QPU_RESOURCES",
    "QRMI_PLUGIN_ERROR",
)


@dataclass(frozen=True, slots=True)
class Options:
    """Settings with every source merged and every value checked.

    Attributes:
        machine: What runs the pulse program.
        device: A `pulser` device object, or None for the default of the program's kind.
        noise: Noise of the emulator, or None.
        seed: Seed of all randomness of this target, or None.
        layout: Sites of the atoms, or None to choose them.
        route: `swap` moves distant qubits together where that is cheaper, `direct` never does.
        shots: Shots where a call names none, or None for CUDA-Q's own default.
        threads: Most threads of the emulator, or None to let it choose.
        cache_dir: Directory of the pulse cache, `off` to keep nothing on disk, or None for the
            user's cache directory.
        modulation: Emulators of analog programs follow the device's finite bandwidth.
        eom: Analog programs of square pulses use the device's electro-optic modulator.
        machine_secret: File with the secret key that a controller knows us by, or None.
        machine_server_key: File with the public key of that controller, or None.
        machine_timeout_s: How long a remote machine may be silent (s).
        machine_poll_s: Time between looks at a job of a service (s), or None to let it grow.
    """

    machine: str = "local"
    device: Any = None
    noise: NoiseModel | None = None
    seed: int | None = None
    layout: Sites | None = None
    route: str = "swap"
    shots: int | None = None
    threads: int | None = None
    cache_dir: str | None = None
    modulation: bool = False
    eom: bool = False
    machine_secret: str | None = None
    machine_server_key: str | None = None
    machine_timeout_s: float = 30.0
    machine_poll_s: float | None = None

    @property
    def is_noisy(self) -> bool:
        """Whether there is a noise model that does something."""
        return self.noise is not None and bool(self.noise.noise_types)


def resolve(
    given: Mapping[str, object],
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Options:
    """Merge all sources and check every value.

    Args:
        given: Settings given as arguments; a value of None counts as not given.
        environ: Environment variables; None for the process's own.
        directory: Where to look for TOML files; None for the current directory.

    Returns:
        The settings in force.

    Raises:
        OptionError: An unknown name or a value that is not allowed, in any source.
    """
    variables = os.environ if environ is None else environ
    arguments = check(given)
    merged = _from_files(Path.cwd() if directory is None else directory)
    merged |= _from_environment(variables)
    merged |= arguments
    if "machine" not in merged and _has_qpu(variables):
        merged["machine"] = "qrmi"
    options = Options(**merged)
    _check_remote(options)
    return options


def check(given: Mapping[str, object]) -> dict[str, Any]:
    """Check settings given as arguments.

    Args:
        given: Name to value; None counts as not given.

    Returns:
        Name to checked value, without those not given.

    Raises:
        OptionError: An unknown name or a value that is not allowed.
    """
    for name in given:
        if name not in PARSERS:
            raise OptionError(f"option {name!r}", "unknown option", nearest(name, PARSERS))
    return {name: PARSERS[name](value) for name, value in given.items() if value is not None}


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which names exist, the nearest one first.

    >>> nearest("machne", ["machine", "seed"])
    "Did you mean 'machine'? Known: machine, seed"
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(names)}"


def user_file() -> Path:
    """Return the path of the user's own TOML file, whether it exists or not."""
    import platformdirs  # noqa: PLC0415

    return platformdirs.user_config_path("cudaq-target") / "config.toml"


def _from_environment(variables: Mapping[str, str]) -> dict[str, Any]:
    known = {ENVIRONMENT_PREFIX + name.upper(): name for name in PARSERS}
    settings: dict[str, Any] = {}
    for variable, text in variables.items():
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        if variable not in known:
            raise OptionError(
                f"environment variable {variable}", "unknown option", nearest(variable, known)
            )
        if not text:
            continue  # as shells have it: `X=` and an unset X are the same to a job script
        settings[known[variable]] = _located(f"environment variable {variable}", known[variable])(
            text
        )
    return settings


def _from_files(directory: Path) -> dict[str, Any]:
    settings = _from_table(_read_toml(user_file()), user_file())
    project = directory / "pyproject.toml"
    tools = _read_toml(project).get("tool", {})
    settings |= _from_table(tools.get("cudaq-target", {}), project)
    own = directory / "cudaq-target.toml"
    return settings | _from_table(_read_toml(own), own)


def _from_table(table: Mapping[str, object], path: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, value in table.items():
        if name not in PARSERS:
            raise OptionError(f"{path}: {name!r}", "unknown option", nearest(name, PARSERS))
        settings[name] = _located(f"{path}: {name!r}", name)(value)
    return settings


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except tomllib.TOMLDecodeError as error:
        raise OptionError(str(path), f"is no valid TOML ({error})", "Correct the file") from error


def _located(where: str, name: str) -> Callable[[object], Any]:
    def parse(value: object) -> object:
        try:
            return PARSERS[name](value)
        except OptionError as error:
            raise OptionError(f"{where}: {error.option}", error.reason, error.remedy) from error

    return parse


def _has_qpu(variables: Mapping[str, str]) -> bool:
    """Whether a scheduler gave this job a QPU, or says why it could not."""
    return any(variables.get(variable, "").strip() for variable in QPU_RESOURCE_VARIABLES)


@dataclass(frozen=True, slots=True)
class RemoteForm:
    """One way to name machines outside of this process.

    Attributes:
        shown: The form, as messages show it.
        fits: Whether a name has this form.
        checked: Returns the name in its final form; raises `OptionError` where it is damaged.
        opener: `module:function` that makes a `machines.remote.RemoteMachine` of `Options`.
        refused: Options that these machines know better themselves.
        remedy: What to do instead of giving one of those.
        may_have_keys: Whether a machine of this name takes keys.
    """

    shown: str
    fits: Callable[[str], bool]
    checked: Callable[[str], str]
    opener: str
    refused: tuple[str, ...] = ("noise", "modulation", "threads")
    remedy: str = "Leave it out"
    may_have_keys: Callable[[str], bool] = lambda _: False


def remote_form(machine: str) -> RemoteForm | None:
    """Return the form that the name of a remote machine has; None for machines in this process."""
    return next((form for form in REMOTE_FORMS if form.fits(machine)), None)


def _machine(value: object) -> str:
    name = str(value)
    form = remote_form(name)
    if form is not None:
        return form.checked(name)
    if value not in MACHINES:
        forms = ", ".join(form.shown for form in REMOTE_FORMS)
        raise OptionError(
            f"machine {value!r}",
            "no such machine in this version",
            f"{nearest(name, MACHINES)}, {forms}",
        )
    return name


def _endpoint(name: str) -> str:
    from cudaq_target.coupler.endpoint import Scheme, parse_endpoint  # noqa: PLC0415
    from cudaq_target.coupler.link_errors import EndpointError  # noqa: PLC0415

    try:
        place = parse_endpoint(name)
    except EndpointError as error:
        raise OptionError(f"machine {name!r}", error.reason, error.remedy) from error
    if place.scheme in {Scheme.TCP, Scheme.UDP} and place.port == 0:
        raise OptionError(
            f"machine {name!r}", "port 0 is for servers", "Give the port of the controller"
        )
    return str(place)


def _qrmi(name: str) -> str:
    _, has_name, resource = name.partition(":")
    if has_name and not resource.strip():
        raise OptionError(
            f"machine {name!r}",
            "it names no resource",
            "Give qrmi:NAME, or qrmi alone for the first one that the job has",
        )
    return name


def _check_remote(options: Options) -> None:
    """Refuse settings that a remote machine would not follow, and half a pair of keys."""
    form = remote_form(options.machine)
    secret, server = options.machine_secret, options.machine_server_key
    if (secret is None) != (server is None):
        missing, there = ("machine_secret", "machine_server_key")[:: 1 if secret is None else -1]
        raise OptionError(
            missing, f"it is missing, {there} is given", "Give both files, or neither"
        )
    if form is None:
        return
    for name in form.refused:
        if getattr(options, name) not in (None, False):
            raise OptionError(
                name, f"machine {options.machine!r} has its own, which is not set here", form.remedy
            )
    if secret is not None and not form.may_have_keys(options.machine):
        raise OptionError(
            "machine_secret",
            f"machine {options.machine!r} knows no keys",
            "Leave the keys out, or use a controller at tcp:// or ipc://",
        )


REMOTE_FORMS: tuple[RemoteForm, ...] = (
    RemoteForm(
        shown="shm://name, ipc://path, tcp://host:port, udp://host:port",
        fits=lambda name: "://" in name,
        checked=_endpoint,
        opener="cudaq_target.machines.remote_controller:open_controller",
        remedy="Leave it out, or give it to the controller: cudaq-target serve",
        may_have_keys=lambda name: name.startswith(("tcp://", "ipc://")),
    ),
    RemoteForm(
        shown=", ".join(CLOUD_DEVICES),
        fits=lambda name: name in CLOUD_DEVICES,
        checked=str,
        opener="cudaq_target.machines.cloud:open_cloud",
        remedy="Leave it out, or use machine='local'",
    ),
    RemoteForm(
        shown="qrmi, qrmi:NAME",
        fits=lambda name: name.partition(":")[0] == "qrmi" and "://" not in name,
        checked=_qrmi,
        opener="cudaq_target.machines.qrmi:open_qrmi",
        remedy="Leave it out, or use machine='local'",
    ),
)


def _route(value: object) -> str:
    if value not in ROUTES:
        raise OptionError(f"route {value!r}", "no such way to route", nearest(str(value), ROUTES))
    return str(value)


def _device(value: object) -> Any:  # noqa: ANN401 - a pulser device, which has no common root
    from cudaq_target.device import pulser_device  # noqa: PLC0415

    return pulser_device(value)


def _noise(value: object) -> NoiseModel:
    from pulser import NoiseModel  # noqa: PLC0415

    if isinstance(value, NoiseModel):
        return value
    if not isinstance(value, str | Path):
        raise OptionError(
            "noise",
            f"{type(value).__module__}.{type(value).__name__} is no noise model of atoms",
            "Give a pulser.NoiseModel, or the path of a JSON file with its abstract representation",
        )
    try:
        return NoiseModel.from_abstract_repr(Path(value).read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(
            f"noise {str(value)!r}",
            f"the file cannot be read ({error.strerror})",
            "Give the path of a file written from NoiseModel.to_abstract_repr()",
        ) from error
    except Exception as error:  # whatever Pulser's schema and constructors raise
        raise OptionError(
            f"noise {str(value)!r}",
            f"the file holds no noise model ({type(error).__name__})",
            "Give the path of a file written from NoiseModel.to_abstract_repr()",
        ) from error


def _whole(name: str, least: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        number: object = value
        if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
            number = int(value)
        elif hasattr(value, "__index__") and not isinstance(value, bool):
            number = value.__index__()
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise OptionError(
                f"{name} {value!r}", "not allowed", f"Give a whole number of at least {least}"
            )
        return number

    return parse


def _cache_dir(value: object) -> str:
    if not isinstance(value, str | Path) or not str(value):
        raise OptionError(
            f"cache_dir {value!r}", "not allowed", "Give a directory, or 'off' for no cache on disk"
        )
    return str(value)


def _file(name: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not isinstance(value, str | Path) or not str(value):
            raise OptionError(f"{name} {value!r}", "not allowed", "Give the path of a key file")
        return str(value)

    return parse


def _seconds(name: str) -> Callable[[object], float]:
    def parse(value: object) -> float:
        try:
            seconds = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            seconds = math.nan
        if isinstance(value, bool) or not 0.0 < seconds < math.inf:
            raise OptionError(f"{name} {value!r}", "not allowed", "Give a time above 0 s")
        return seconds

    return parse


def _switch(name: str) -> Callable[[object], bool]:
    texts = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}

    def parse(value: object) -> bool:
        found = texts.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(found, bool):
            raise OptionError(f"{name} {value!r}", "not allowed", "Give true or false")
        return found

    return parse


PARSERS: dict[str, Callable[[object], Any]] = {
    "machine": _machine,
    "device": _device,
    "noise": _noise,
    "seed": _whole("seed", 0),
    "layout": read_sites,
    "route": _route,
    "shots": _whole("shots", 1),
    "threads": _whole("threads", 1),
    "cache_dir": _cache_dir,
    "modulation": _switch("modulation"),
    "eom": _switch("eom"),
    "machine_secret": _file("machine_secret"),
    "machine_server_key": _file("machine_server_key"),
    "machine_timeout_s": _seconds("machine_timeout_s"),
    "machine_poll_s": _seconds("machine_poll_s"),
}
