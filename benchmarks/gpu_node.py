"""Everything that needs a GPU, in one command: `python -m benchmarks.gpu_node [FOLDER] [--quick]`.

Builds the native module, runs the tests marked `gpu`, then the benchmark, and leaves test report,
figures and logs in one folder. Needs a checkout, CUDA's driver, NumPy, CuPy, pytest, CMake,
nanobind and a C++ compiler; nothing is installed, and the checkout is not changed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = ("_ring", "_native", "_bench")
TESTS = "tests/kernels"
LIMIT_S = 1500
# What libraries warn of on a node is no failure of ours.
FLAGS = ("-m", "gpu", "-W", "default", "-p", "no:cacheprovider")
NOTHING_COLLECTED = 5  # pytest's exit code


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_node", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("gpu-results"))
    parser.add_argument("--quick", action="store_true", help="less data, fewer repeats")
    chosen = parser.parse_args(arguments)
    folder = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpu-node-") as place:
        stage = Path(place) / "stage"
        lay_out(stage)
        if run(build_commands(Path(place) / "native"), ROOT, folder / "build.txt"):
            return 1
        for library in (Path(place) / "native").glob("_*.so"):
            shutil.copy(library, stage / "cudaq_target" / "coupler")
        run([["nvidia-smi"]], stage, folder / "nvidia-smi.txt")
        failed = run([test_command(stage, folder)], stage, folder / "tests.txt")
        failed |= run([benchmark_command(folder, chosen.quick)], stage, folder / "benchmark.txt")
    print(f"{'failed' if failed else 'done'}; see {folder}")
    return int(failed)


def lay_out(stage: Path) -> None:
    """Copy what is needed to where it would be installed."""
    ignore = shutil.ignore_patterns("__pycache__", "*.so")
    for part in ("coupler", "kernels"):
        shutil.copytree(ROOT / part, stage / "cudaq_target" / part, ignore=ignore)
    for file in (ROOT / "cudaq_target").glob("*.py"):
        shutil.copy(file, stage / "cudaq_target")
    shutil.copytree(ROOT / "benchmarks", stage / "benchmarks", ignore=ignore)
    shutil.copytree(ROOT / "coupler" / "native", stage / "coupler" / "native")
    shutil.copytree(ROOT / TESTS, stage / TESTS, ignore=ignore)
    shutil.copy(ROOT / "tests" / "conftest.py", stage / "tests")
    shutil.copy(ROOT / "pyproject.toml", stage)


def build_commands(build: Path) -> list[list[str]]:
    """Configure and build the extension modules that rings and dispatchers need."""
    ask = [sys.executable, "-m", "nanobind", "--cmake_dir"]
    nanobind = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
    configure = ["cmake", "-S", str(ROOT), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release",
                 f"-Dnanobind_DIR={nanobind}", f"-DPython_EXECUTABLE={sys.executable}"]  # fmt: skip
    make = ["cmake", "--build", str(build), "-j", str(os.cpu_count()), "--target", *MODULES]
    return [configure, make]


def test_command(stage: Path, folder: Path) -> list[str]:
    """The tests of the device, in the files whose imports this node has."""
    files = sorted(str(path.relative_to(stage)) for path in (stage / TESTS).glob("test_*.py"))
    collect = [sys.executable, "-m", "pytest", *FLAGS, "--collect-only", "-q"]
    chosen = []
    for file in files:
        done = subprocess.run([*collect, file], cwd=stage, capture_output=True, check=False)
        if done.returncode == 0:
            chosen.append(file)
        elif done.returncode != NOTHING_COLLECTED:
            print(f"left out, as an import is missing: {file}", flush=True)
    report = f"--junitxml={folder / 'tests.xml'}"
    return [sys.executable, "-m", "pytest", *FLAGS, "-v", report, *chosen]


def benchmark_command(folder: Path, quick: bool) -> list[str]:
    output = str(folder / "gpu.json")
    return [sys.executable, "-m", "benchmarks.gpu", "--output", output] + ["--quick"] * quick


def run(commands: list[list[str]], cwd: Path, log: Path) -> bool:
    """Run commands and keep what they say, also of one that is cut short; True when one failed."""
    environment = os.environ | {"CUDA_MODULE_LOADING": "EAGER", "PYTHONUNBUFFERED": "1"}
    with log.open("w", encoding="utf-8") as out:
        for command in commands:
            print(f"== {' '.join(command)}", flush=True)
            try:
                done = subprocess.run(
                    command, cwd=cwd, env=environment, stdout=out, stderr=subprocess.STDOUT,
                    timeout=LIMIT_S, check=False,
                )  # fmt: skip
                failed = done.returncode != 0
            except (FileNotFoundError, subprocess.TimeoutExpired) as error:
                out.write(f"{error}\n")
                failed = True
            print(log.read_text(encoding="utf-8")[-6000:], flush=True)
            if failed:
                return True
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
