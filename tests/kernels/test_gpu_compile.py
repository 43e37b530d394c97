"""Every text of device code compiles for the GPUs that are supported, without one of them."""

from __future__ import annotations

import pytest

from cudaq_target.kernels.gpu.device import FAMILIES, OPTIONS, source_text

nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="needs NVRTC (numba-cuda brings it)")

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
TEXTS = (*FAMILIES, "dispatch")


def compile_text(name: str, architecture: str) -> tuple[bytes, str]:
    """Return the machine code, or the PTX for a `compute_` architecture, and the compiler's log."""
    text = source_text(name).encode()
    error, program = nvrtc.nvrtcCreateProgram(text, f"{name}.cu".encode(), 0, [], [])
    assert error == nvrtc.nvrtcResult.NVRTC_SUCCESS
    options = [option.encode() for option in (*OPTIONS, f"--gpu-architecture={architecture}")]
    (error,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    log = bytearray(nvrtc.nvrtcGetProgramLogSize(program)[1])
    nvrtc.nvrtcGetProgramLog(program, log)
    said = log.rstrip(b"\0").decode()
    assert error == nvrtc.nvrtcResult.NVRTC_SUCCESS, said
    is_ptx = architecture.startswith("compute_")
    size = nvrtc.nvrtcGetPTXSize if is_ptx else nvrtc.nvrtcGetCUBINSize
    fetch = nvrtc.nvrtcGetPTX if is_ptx else nvrtc.nvrtcGetCUBIN
    code = bytearray(size(program)[1])
    fetch(program, code)
    nvrtc.nvrtcDestroyProgram(program)
    return bytes(code), said


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", TEXTS)
def test_device_code_compiles_without_a_word(name: str, architecture: str) -> None:
    code, said = compile_text(name, architecture)
    assert code[:4] == b"\x7fELF"
    assert not said.strip()


def test_the_ring_is_read_and_written_in_order_at_system_scope() -> None:
    """A loop over plain loads would be hoisted; a plain store could pass the answer before it."""
    ptx = compile_text("dispatch", "compute_90")[0].decode()
    body = ptx[ptx.index(".entry dispatch") :]
    flags = [line.split()[0] for line in body.splitlines() if ".sys.global.u64" in line]
    assert "ld.acquire.sys.global.u64" in flags
    assert flags.count("st.release.sys.global.u64") >= 4
    assert "fence" in body or "membar.sys" in body
    publish = body[body.index("membar.sys") if "membar.sys" in body else body.index("fence") :]
    order = [publish.index(word) for word in ("bar.sync", "st.relaxed.sys.global.u32",
                                              "st.release.sys.global.u64")]  # fmt: skip
    assert order == sorted(order)


def test_words_of_shots_are_read_sixteen_bytes_at_a_time() -> None:
    ptx = compile_text("statistics", "compute_90")[0].decode()
    body = ptx[ptx.index(".entry occupation") :]
    assert body.count("ld.global.cs.v2.u64") >= 16
