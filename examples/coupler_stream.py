"""Shots streamed while they are measured; the host dies in the middle, and none is unaccounted for.

The controller keeps each shot until the host has acknowledged it. A second host takes the place of
the first: what the first had acknowledged is reported missing to it, all others come again.
"""

from __future__ import annotations

import tempfile

import numpy as np

from cudaq_target.coupler import (
    LinkError,
    ShotBatch,
    ShotPublisher,
    ShotSender,
    ShotSink,
    connect,
    serve,
)

N_QUBITS = 12


class Occupation:
    """How often each atom was seen in the Rydberg state."""

    def __init__(self) -> None:
        self.n_shots = 0
        self.counts = np.zeros(N_QUBITS, dtype=np.int64)

    def consume(self, batch: ShotBatch) -> None:
        """Take a batch; rows are packed, bit k of a row is qubit k."""
        bits = np.unpackbits(batch.rows.view(np.uint8), axis=1, bitorder="little")
        self.counts += bits[:, :N_QUBITS].sum(axis=0, dtype=np.int64)
        self.n_shots += batch.n_shots


def measured(rng: np.random.Generator, n_shots: int) -> np.ndarray:
    """Shots of a machine, packed: shape (n_shots, 1); atom k is excited with probability k / 12."""
    bits = rng.random((n_shots, N_QUBITS)) < np.arange(N_QUBITS) / N_QUBITS
    return (bits @ (1 << np.arange(N_QUBITS, dtype=np.uint64))).astype(np.uint64).reshape(-1, 1)


def main(n_shots: int = 2000) -> tuple[int, int]:
    """Stream half of the shots to one host and half to the next; give what each has seen."""
    rng = np.random.default_rng(7)
    hosts = Occupation(), Occupation()
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/host"
        server = serve(ShotSink(hosts[0].consume).functions(), endpoint)
        with connect(endpoint) as link:
            sender = ShotSender(session=1, n_qubits=N_QUBITS)
            publisher = ShotPublisher(link, sender)
            sender.offer(measured(rng, n_shots // 2))
            while sender.n_held > 0:
                publisher.pump(wait_s=0.05)
            server.close()  # the host goes
            sender.offer(measured(rng, n_shots - n_shots // 2))
            sender.finish()
            try:
                publisher.pump(wait_s=0.5)
            except LinkError as error:
                print(f"the controller notices: {error}")
            sink = ShotSink(hosts[1].consume)
            with serve(sink.functions(), endpoint):
                publisher.drain(timeout_s=60.0)
    (stream,) = sink.receivers.values()
    assert stream.n_delivered + stream.n_missing == sender.n_sent == n_shots
    print(f"host 1 saw {hosts[0].n_shots} shots, host 2 saw {hosts[1].n_shots}")
    counts = hosts[0].counts + hosts[1].counts
    print("occupation", np.round(counts / n_shots, 2))
    return hosts[0].n_shots, hosts[1].n_shots


if __name__ == "__main__":
    main()
