"""Serves stand-ins by hand and for the jobs of a scheduler, until SIGTERM or Ctrl-C.

`python -m cudaq_target.fakes all --port 8105` says where they are in one line, when they are.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from cudaq_target.coupler.interrupts import told_to_end
from cudaq_target.errors import TargetError
from cudaq_target.fakes.cloud import FakeCloud
from cudaq_target.fakes.orders import ENGINES
from cudaq_target.fakes.qpu import FakeQpu
from cudaq_target.fakes.warden import FakeWarden

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cudaq_target.fakes.service import FakeService

_KINDS = ("cloud", "qpu", "warden")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve.

    Args:
        arguments: Of the command line; None for those of the process.

    Returns:
        Exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        with told_to_end() as ended, ExitStack() as stack:
            services = [stack.enter_context(service) for service in _services(options, stack)]
            urls = " ".join(f"{service.name}={service.url}" for service in services)
            sys.stdout.write(f"ready {urls}\n")
            sys.stdout.flush()
            ended.wait()
    except (TargetError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _services(options: argparse.Namespace, stack: ExitStack) -> Iterator[FakeService]:
    """Make the services one by one, each when the one before it listens."""
    port = {
        kind: options.port and options.port + k * (options.kind == "all")
        for k, kind in enumerate(_KINDS)
    }
    run = {"engine": options.engine, "service_s": options.service_s, "seed": options.seed}
    if options.kind in ("cloud", "all"):
        yield FakeCloud(port=port["cloud"], **run)
    qpu_url = options.qpu_url
    if options.kind in ("qpu", "all"):
        qpu = stack.enter_context(FakeQpu(port=port["qpu"], device=options.device, **run))
        qpu_url = qpu.url
        yield qpu
    if options.kind in ("warden", "all"):
        yield FakeWarden(
            port=port["warden"],
            credentials=options.credentials,
            can_cancel=options.can_cancel,
            **({"device": options.device, **run} if qpu_url is None else {"qpu_url": qpu_url}),
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cudaq_target.fakes",
        description="Stand-ins for Pasqal Cloud, a QPU and Warden, on 127.0.0.1 alone",
    )
    parser.add_argument("kind", choices=(*_KINDS, "all"), help="all: a Warden before a QPU, too")
    parser.add_argument(
        "--port", type=int, default=0, help="0: free ports; all: this one and the next two"
    )
    parser.add_argument("--engine", choices=ENGINES, default="local", help="what runs programs")
    parser.add_argument("--service-s", type=float, default=0.0, help="time per job (s)")
    parser.add_argument("--seed", type=int, help="the same counts for the same requests")
    parser.add_argument(
        "--device", default="FRESNEL", help="of the QPU: FRESNEL, DigitalAnalogDevice, …"
    )
    parser.add_argument("--qpu-url", help="QPU that runs the jobs of the Warden")
    parser.add_argument(
        "--credentials", choices=("daemon", "stub"), help="MUNGE's own, or those of the stub"
    )
    parser.add_argument(
        "--can-cancel", action="store_true", help="the Warden can cancel jobs, 0.1.0 cannot"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
