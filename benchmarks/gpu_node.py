"""Everything that needs a GPU, in one command: `python -m benchmarks.gpu_node [FOLDER] [--quick]`.

Builds the native module, runs the tests marked `gpu`, a process per file, then the benchmark, and
leaves logs, results of the tests, figures and what the machine is in one folder: seven files. What
fails or hangs is cut short and said, and does not keep the rest from running; all ends within ten
minutes. Needs a checkout, CUDA's driver, NumPy, CuPy, pytest, and for the dispatcher CMake,
nanobind and a C++ compiler; nothing is installed, and the checkout is not changed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).resolve().parents[1]
MODULES = ("_ring", "_native", "_bench")
TESTS, EMULATOR = "tests/kernels", "cudaq_target/emulator"
OTHER_TESTS = ("tests/target/test_emulator_gpu.py",)
LIMIT_S, BUILD_S, TESTS_S, FILE_S, REPORT_S = 570.0, 180.0, 200.0, 90.0, 10.0
# What libraries warn of on a node is no failure of ours.
FLAGS = ("-m", "gpu", "-W", "default", "-p", "no:cacheprovider", "-v", "--tb=short")
NO_IMPORT, NOTHING_COLLECTED, CUT_SHORT = 2, 5, 124  # pytest's exit codes, and ours
GPU_WORDS = re.compile(r"\b(BACKENDS|COMPILED|mark\.gpu)\b")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_node", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("gpu-results"))
    parser.add_argument("--quick", action="store_true", help="less data, fewer repeats")
    chosen = parser.parse_args(arguments)
    folder, start = chosen.folder.resolve(), monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpu-node-") as place:
        stage = Path(place) / "stage"
        lay_out(stage)
        for command in (
            ["nvidia-smi"],
            [sys.executable, "-VV"],
            [sys.executable, "-m", "pip", "list"],
        ):
            run(command, stage, folder / "machine.txt", 30.0)
        codes = {"build": build(Path(place) / "native", stage, folder / "build.txt")}
        codes |= run_tests(stage, folder)
        left_s = LIMIT_S - (monotonic() - start)
        command = benchmark_command(folder, chosen.quick, left_s - REPORT_S)
        codes["benchmark"] = run(command, stage, folder / "benchmark.txt", left_s)
    (folder / "results.json").write_text(json.dumps(codes, indent=1), encoding="utf-8")
    failed = [name for name, code in codes.items() if is_failure(name, code)]
    print(f"{'failed: ' + ', '.join(failed) if failed else 'done'}; see {folder}")
    return int(bool(failed))


def is_failure(name: str, code: int) -> bool:
    """Whether it went wrong; files that test more than the GPU may want what a node lacks."""
    return code not in (0, NOTHING_COLLECTED) and not (code == NO_IMPORT and "gpu" not in name)


def build(place: Path, stage: Path, log: Path) -> int:
    """Build the native module into the stage; without it the kernels are tested all the same."""
    end = monotonic() + BUILD_S
    for command in build_commands(place):
        if code := run(command, ROOT, log, end - monotonic()):
            return code
    for library in place.glob("_*.so"):
        shutil.copy(library, stage / "cudaq_target" / "coupler")
    return 0


def run_tests(stage: Path, folder: Path) -> dict[str, int]:
    """Run each file with tests of the device; a fault of CUDA loses one process, and one file."""
    end, codes = monotonic() + TESTS_S, {}
    for file in test_files(stage):
        command = [sys.executable, "-m", "pytest", *FLAGS, file]
        limit_s = min(FILE_S, end - monotonic())
        codes[file] = run(command, stage, folder / "tests.txt", limit_s)
    return codes


def test_files(stage: Path) -> list[str]:
    """Files that hold tests marked `gpu`; those of the dispatcher, which could hang, come last."""
    files = [
        path.relative_to(stage)
        for path in sorted((stage / "tests").glob("*/test_*.py"))
        if GPU_WORDS.search(path.read_text(encoding="utf-8"))
    ]
    return [str(file) for file in sorted(files, key=lambda file: "dispatch" in file.name)]


def lay_out(stage: Path) -> None:
    """Copy what is needed to where it would be installed."""
    ignore = shutil.ignore_patterns("__pycache__", "*.so")
    for part in ("coupler", "kernels"):
        shutil.copytree(ROOT / part, stage / "cudaq_target" / part, ignore=ignore)
    shutil.copytree(ROOT / EMULATOR, stage / EMULATOR, ignore=ignore)
    for file in (ROOT / "cudaq_target").glob("*.py"):
        shutil.copy(file, stage / "cudaq_target")
    shutil.copytree(ROOT / "benchmarks", stage / "benchmarks", ignore=ignore)
    shutil.copytree(ROOT / "coupler" / "native", stage / "coupler" / "native")
    shutil.copytree(ROOT / TESTS, stage / TESTS, ignore=ignore)
    for file in (*OTHER_TESTS, "tests/conftest.py"):
        (stage / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, stage / file)
    shutil.copy(ROOT / "pyproject.toml", stage)


def build_commands(build: Path) -> list[list[str]]:
    """Configure and build the extension modules that rings and dispatchers need."""
    ask = [sys.executable, "-m", "nanobind", "--cmake_dir"]
    nanobind = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
    configure = ["cmake", "-S", str(ROOT), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release",
                 f"-Dnanobind_DIR={nanobind}", f"-DPython_EXECUTABLE={sys.executable}"]  # fmt: skip
    make = ["cmake", "--build", str(build), "-j", str(os.cpu_count()), "--target", *MODULES]
    return [configure, make]


def benchmark_command(folder: Path, quick: bool, seconds: float) -> list[str]:
    options = ["--output", str(folder / "gpu.json"), "--seconds", f"{seconds:.0f}"]
    return [sys.executable, "-m", "benchmarks.gpu", *options] + ["--quick"] * quick


def run(command: list[str], cwd: Path, log: Path, limit_s: float) -> int:
    """Run a command and keep what it says, also when it is cut short; returns its exit code."""
    environment = os.environ | {"CUDA_MODULE_LOADING": "EAGER", "PYTHONUNBUFFERED": "1"}
    print(f"== {' '.join(command)}", flush=True)
    with log.open("ab") as out:
        first = out.seek(0, os.SEEK_END)
        out.write(f"== {' '.join(command)}\n".encode())
        out.flush()
        try:
            # Own process group: servers that a hung test has started end with it.
            with subprocess.Popen(
                command, cwd=cwd, env=environment, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process:  # fmt: skip
                try:
                    code = process.wait(max(limit_s, 0.0))
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    code = CUT_SHORT
                    out.write(f"cut short after {limit_s:.0f} s\n".encode())
        except OSError as error:
            out.write(f"{error}\n".encode())
            code = 127
    said = log.read_bytes()[first:].decode(errors="replace")
    print(said[-3000:], flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
