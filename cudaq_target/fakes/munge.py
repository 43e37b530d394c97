"""MUNGE credentials: decoded by libmunge where its daemon runs, else those of a stub of libmunge.

The stub is for machines without MUNGE, where QRMI's `pasqal-local` would not get as far as its
first request. It is compiled when it is asked for, and replaces libmunge in one process
(`load_stub`) or its children (`stub_environment`). Its credentials are claims that nothing proves:
the environment variable FAKE_MUNGE_UID makes any process any user, root included, which is what a
test wants and nobody else. A stand-in takes one kind of credentials, never both.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from shutil import which
from typing import Final, Literal

from cudaq_target.errors import OptionError
from cudaq_target.fakes.service import Refusal

Source = Literal["daemon", "stub"]

UID_VARIABLE: Final = "FAKE_MUNGE_UID"
LIBRARY: Final = "libmunge.so.2"
_STUB_FORM: Final = re.compile(r"FAKEMUNGE:(?P<given>\d*):(?P<uid>\d+):(?P<time_s>\d+)\.\d+:")
# What munged allows by default.
_LIFETIME_S: Final = 300
# munge.h
_SUCCESS, _EXPIRED, _REPLAYED = 0, 15, 17


def available() -> Source:
    """Return "daemon" where MUNGE's daemon answers and no stub stands in its place here."""
    command = which("munge")
    if command is None or _LOADED:
        return "stub"
    # The command and not the library: what is loaded once into a process stays there, and would
    # be what clients in this process find when the stub is to stand in its place later.
    done = subprocess.run(
        [command, "--no-input"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return "daemon" if done.returncode == 0 else "stub"


def uid_of(credential: str | None, source: Source, now_s: float) -> int:
    """Return who made a credential.

    Args:
        credential: Value of the header X-Munge-Cred, or None.
        source: Which kind of credentials is taken.
        now_s: The service's clock (s since 1970), for credentials of the stub.

    Raises:
        Refusal: 401, with the reason.
    """
    if not credential:
        raise Refusal(401, "Missing MUNGE credential")
    return _decoded(credential) if source == "daemon" else _claimed(credential, now_s)


def encode_stub(uid: int, now_s: float | None = None) -> str:
    """Make a credential as the stub does, for clients in Python.

    Args:
        uid: Who asks.
        now_s: When it was made (s since 1970); None for now.
    """
    return f"FAKEMUNGE:{uid}:{os.getuid()}:{int(time.time() if now_s is None else now_s)}.0:"


@cache
def stub_directory() -> Path:
    """Compile the stub, once per process.

    Returns:
        Directory with `libmunge.so.2`; it stays until the process ends.

    Raises:
        OptionError: There is no C compiler.
    """
    compiler = next(filter(None, map(which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise OptionError(
            "stub of libmunge",
            "there is no C compiler (cc, gcc, clang)",
            "Install one, or MUNGE itself: apt-get install munge",
        )
    # Held by the function, which removes it when the interpreter ends.
    folder = tempfile.TemporaryDirectory(prefix="cudaq-target-munge-")
    _FOLDERS.append(folder)
    source = Path(__file__).with_name("munge_stub.c")
    target = Path(folder.name) / LIBRARY
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", f"-Wl,-soname,{LIBRARY}", source, "-o", target],
        check=True,
        capture_output=True,
    )
    return target.parent


def load_stub() -> None:
    """Put the stub in the place of libmunge in this process, until it ends.

    The loader gives a library that is loaded already to whoever asks for its name.

    Raises:
        OptionError: There is no C compiler, or MUNGE's own library was loaded before.
    """
    if _LOADED:
        return
    stub = ctypes.CDLL(str(stub_directory() / LIBRARY), mode=ctypes.RTLD_GLOBAL)
    if not _is_stub(ctypes.CDLL(LIBRARY)):
        raise OptionError(
            "stub of libmunge",
            "MUNGE's own library is loaded in this process already",
            "Load the stub first, or use a child process (stub_environment)",
        )
    _LOADED.append(stub)


def stub_environment(uid: int | None = None) -> dict[str, str]:
    """Return variables that put the stub in the place of libmunge in a child of this process.

    Args:
        uid: Who the child says it is; None for who it is.

    Raises:
        OptionError: There is no C compiler.
    """
    path = [str(stub_directory()), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    environment = {"LD_LIBRARY_PATH": os.pathsep.join(path)}
    return environment if uid is None else environment | {UID_VARIABLE: str(uid)}


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
_LOADED: list[ctypes.CDLL] = []


def _is_stub(library: ctypes.CDLL) -> bool:
    return hasattr(library, "cudaq_target_munge_stub")


@cache
def _libmunge() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise Refusal(401, f"MUNGE cannot be loaded: {error}") from error
    if _is_stub(library):
        raise Refusal(401, "the stub stands in the place of MUNGE")
    library.munge_strerror.restype = ctypes.c_char_p
    return library


def _decoded(credential: str) -> int:
    library = _libmunge()
    payload, length = ctypes.c_void_p(), ctypes.c_int()
    uid, gid = ctypes.c_uint(), ctypes.c_uint()
    status = library.munge_decode(
        credential.encode(),
        None,
        ctypes.byref(payload),
        ctypes.byref(length),
        ctypes.byref(uid),
        ctypes.byref(gid),
    )
    if payload.value:
        ctypes.CDLL(None).free(payload)
    if status == _EXPIRED:
        raise Refusal(401, "MUNGE credential expired")
    # Clients repeat a request with its credential, and Warden takes it.
    if status not in (_SUCCESS, _REPLAYED):
        raise Refusal(401, library.munge_strerror(status).decode())
    return uid.value


def _claimed(credential: str, now_s: float) -> int:
    found = _STUB_FORM.fullmatch(credential)
    if found is None:
        raise Refusal(401, "Invalid credential format")
    age_s = now_s - int(found["time_s"])
    if age_s > _LIFETIME_S:
        raise Refusal(401, "MUNGE credential expired")
    if age_s < -_LIFETIME_S:
        raise Refusal(401, "Rewound credential")
    return int(found["given"] or found["uid"])
