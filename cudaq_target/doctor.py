"""What is installed, what works, what to do about the rest."""

from __future__ import annotations

import ctypes
import json
import math
import os
import platform
import sys
from dataclasses import asdict
from importlib import import_module, metadata
from pathlib import Path

from cudaq_target import host, surroundings
from cudaq_target.findings import Finding, guarded

_DISTRIBUTION = "cudaq-target"
_PLUGIN_GROUP = "cudaq.backends"
_CUDA_SUCCESS = 0


def examine() -> tuple[Finding, ...]:
    """Look at everything that this package needs or can use.

    Returns:
        Findings in the order in which to repair them.
    """
    return (
        _python(),
        _own_version(),
        _host(),
        _flavours(),
        _plugin(),
        *(_library(name, needed_for) for name, needed_for in _NEEDED),
        _ring(),
        *(_optional(name, gives, remedy) for name, gives, remedy in _OPTIONAL),
        _gpu(),
        _emulator(),
        _cache(),
        _settings(),
        *surroundings.examine(),
    )


def is_healthy(findings: tuple[Finding, ...]) -> bool:
    """Whether gate kernels will run."""
    return all(finding.status != "problem" for finding in findings)


def as_data(findings: tuple[Finding, ...]) -> list[dict[str, str]]:
    """Return the findings as plain data."""
    return [asdict(finding) for finding in findings]


_NEEDED = (
    ("pulser-core", "devices and sequences"),
    ("numpy", "all numbers"),
    ("scipy", "synthesis"),
    ("numba", "fast pulses and emulation"),
    ("qiskit", "synthesis of larger gates"),
    ("jsonschema", "programs in Pulser's JSON"),
    ("platformdirs", "cache and settings"),
)
_OPTIONAL = (
    ("pulser-simulation", "machine='qutip'", f"pip install '{_DISTRIBUTION}[emu]'"),
    ("matplotlib", "pictures", f"pip install '{_DISTRIBUTION}[draw]'"),
    ("rich", "progress bars", f"pip install '{_DISTRIBUTION}[cli]'"),
    ("emu-sv", "machine='emu-sv'", f"pip install '{_DISTRIBUTION}[emu-torch]'"),
    ("emu-mps", "machine='emu-mps'", f"pip install '{_DISTRIBUTION}[emu-torch]'"),
    ("pyzmq", "links over ipc:// and tcp://", "pip install pyzmq"),
    ("pymatching", "the decoder of that name", f"pip install '{_DISTRIBUTION}[decode]'"),
    ("pasqal-cloud", "the machines of Pasqal Cloud", f"pip install '{_DISTRIBUTION}[cloud]'"),
    ("qrmi", "QPUs that a scheduler gives", f"pip install '{_DISTRIBUTION}[qrmi]'"),
    ("distributed", "sweeps with Dask", f"pip install '{_DISTRIBUTION}[sweep]'"),
    ("qiskit-pasqal-provider", "programs of Qiskit", f"pip install '{_DISTRIBUTION}[qiskit]'"),
    ("prometheus-client", "metrics", f"pip install '{_DISTRIBUTION}[metrics]'"),
    ("opentelemetry-sdk", "traces", f"pip install '{_DISTRIBUTION}[otel]'"),
)


def _python() -> Finding:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("Python", "ok", f"{version} on {platform.platform(terse=True)}")
    return Finding("Python", "problem", version, "Use Python 3.11, 3.12 or 3.13")


def _own_version() -> Finding:
    version = _version(_DISTRIBUTION)
    place = str(Path(__file__).parent)
    if version is None:
        return Finding(
            _DISTRIBUTION,
            "problem",
            f"{place}, not installed, so CUDA-Q does not find the target",
            "pip install -e '.[cu12,cli,draw,emu]' in the checkout",
        )
    return Finding(_DISTRIBUTION, "ok", f"{version} in {place}")


def _host() -> Finding:
    flavour, version = host.installed()
    problem = host.find_problem()
    if problem is not None:
        return Finding("CUDA-Q", "problem", problem.problem, problem.remedy)
    return Finding("CUDA-Q", "ok", f"{version} ({flavour or 'built from source'})")


def _flavours() -> Finding:
    """Both flavours install into the same folders and overwrite each other silently."""
    present = [name for name in host.FLAVOURS if _version(name) is not None]
    if len(present) < 2:
        return Finding("CUDA-Q flavours", "ok", present[0] if present else "none from a wheel")
    return Finding(
        "CUDA-Q flavours",
        "problem",
        f"{' and '.join(present)} overwrite each other's files",
        f"pip uninstall -y {' '.join(present)}; pip install '{host.FLAVOURS[0]}{host.REQUIREMENT}'",
    )


def _plugin() -> Finding:
    points = [
        point
        for point in metadata.entry_points(group=_PLUGIN_GROUP)
        if point.value.startswith("cudaq_target.")
    ]
    if points:
        return Finding("plug-in", "ok", f"target {points[0].name!r} of CUDA-Q is taken over")
    return Finding(
        "plug-in",
        "problem",
        f"no entry point in the group {_PLUGIN_GROUP}",
        f"Install this package again: {_again()}",
    )


def _library(name: str, needed_for: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding(name, "problem", f"missing; needed for {needed_for}", f"pip install {name}")
    return Finding(name, "ok", version)


def _optional(name: str, gives: str, remedy: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding(name, "off", f"not installed; gives {gives}", remedy)
    return Finding(name, "ok", f"{version}, gives {gives}")


def _ring() -> Finding:
    try:
        import_module("cudaq_target.coupler._ring")
    except ImportError as error:
        return Finding(
            "native ring",
            "problem",
            f"the compiled part does not load ({error})",
            f"sudo apt-get install -y g++ python3-dev (or as your system calls them); {_again()}",
        )
    return Finding("native ring", "ok", "loads")


def _gpu() -> Finding:
    """Ask the driver itself; importing CuPy would take a second and fails without one."""
    cupy = next((name for name in ("cupy-cuda12x", "cupy-cuda13x") if _version(name)), None)
    library = f"; {cupy} {_version(cupy)}" if cupy else "; no CuPy"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Finding("GPU", "off", f"no NVIDIA driver{library}; nothing here needs one")
    count, version = ctypes.c_int(0), ctypes.c_int(0)
    if driver.cuInit(0) != _CUDA_SUCCESS or driver.cuDeviceGetCount(ctypes.byref(count)):
        return Finding("GPU", "off", f"the driver finds no GPU{library}; nothing here needs one")
    driver.cuDriverGetVersion(ctypes.byref(version))
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    found = f"{count.value} found, driver for CUDA {cuda}{library}"
    # Wheels for CUDA 12 run with every later driver; those for 13 not with an earlier one.
    flavour, _ = host.installed()
    newest = next((name for name in (flavour, cupy) if name and "13" in name[-4:]), None)
    if newest and version.value < 13_000:
        remedy = "pip uninstall -y cuda-quantum-cu13 cupy-cuda13x; " + _extra("cu12")
        return Finding("GPU", "off", f"{found}; {newest} needs a driver for CUDA 13", remedy)
    if cupy is None:
        extra = "cu13" if flavour == host.FLAVOURS[1] else "cu12"
        return Finding("GPU", "off", f"{found}; kernels run on the CPU", _extra(extra))
    return Finding("GPU", "ok", found)


def _emulator() -> Finding:
    def examine_memory() -> Finding:
        from cudaq_target.emulator.memory import (  # noqa: PLC0415
            available_bytes,
            state_bytes,
            usable_threads,
        )

        free = available_bytes()
        n_qubits = int(math.log2(max(free / state_bytes(0), 1.0)))
        return Finding(
            "emulator",
            "ok",
            f"{usable_threads()} threads, {free / 2**30:.1f} GiB free: up to {n_qubits} qubits",
        )

    return guarded("emulator", examine_memory)


def _cache() -> Finding:
    def examine_cache() -> Finding:
        from cudaq_target.pulse_cache import default_cache  # noqa: PLC0415

        path = default_cache().path
        if path is None:
            return Finding("pulse cache", "off", "kept in memory only")
        folder = next(parent for parent in path.parents if parent.exists())
        if not os.access(folder, os.W_OK):
            return Finding(
                "pulse cache",
                "problem",
                f"{folder} is not writable, so every process solves its pulses anew",
                "Set CUDAQ_TARGET_CACHE_DIR to a writable directory, or to 'off'",
            )
        size = f"{path.stat().st_size / 1e3:.0f} kB" if path.is_file() else "still empty"
        return Finding("pulse cache", "ok", f"{path} ({size})")

    return guarded("pulse cache", examine_cache)


def _settings() -> Finding:
    def examine_settings() -> Finding:
        from cudaq_target.options import resolve  # noqa: PLC0415

        options = resolve({})
        device = getattr(options.device, "name", None) or "default"
        values = {
            "machine": options.machine,
            "device": device,
            "noise": "yes" if options.noise else "none",
            "seed": options.seed,
            "layout": f"{len(options.layout)} sites" if options.layout else "chosen",
            "route": options.route,
            "shots": options.shots,
            "threads": options.threads,
        }
        shown = (f"{k}={v}" for k, v in values.items() if v is not None)
        return Finding("settings", "ok", ", ".join(shown))

    return guarded("settings", examine_settings)


def _extra(name: str) -> str:
    return f"pip install '{_DISTRIBUTION}[{name}]'"


def _again() -> str:
    """How this package was installed: from a checkout, from a file, or by its name."""
    try:
        text = metadata.distribution(_DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        text = None
    origin = json.loads(text) if text else {}
    place = str(origin.get("url", "")).removeprefix("file://") or _DISTRIBUTION
    option = "-e" if origin.get("dir_info", {}).get("editable") else "--force-reinstall"
    return f"pip install --no-deps {option} {place}"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
