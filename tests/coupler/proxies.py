"""Seeded proxies that stand between two ends and spoil what passes."""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import threading
import time
from dataclasses import dataclass

import numpy as np


@dataclass
class Spoiled:
    """What a proxy did to one direction."""

    n_seen: int = 0
    n_lost: int = 0
    n_doubled: int = 0
    n_delayed: int = 0


class UdpProxy:
    """Loses, doubles and delays (and so reorders) datagrams in both directions."""

    def __init__(self, port: int, seed: int, share: float = 0.05, delay_s: float = 0.005) -> None:
        self._rng = np.random.default_rng(seed)
        self._share, self._delay_s = share, delay_s
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for one in (self._front, self._back):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._front.bind(("127.0.0.1", 0))
        self._back.connect(("127.0.0.1", port))
        self.endpoint = f"udp://127.0.0.1:{self._front.getsockname()[1]}"
        self.to_server, self.to_client = Spoiled(), Spoiled()
        self._client = None
        self._waiting: list[tuple[float, int, socket.socket, bytes]] = []
        self._order = itertools.count()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._front.close()
        self._back.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for one in (self._front, self._back):
                selector.register(one, selectors.EVENT_READ)
            while not self._stop.is_set():
                for key, _ in selector.select(0.001):
                    self._receive(key.fileobj)
                while self._waiting and self._waiting[0][0] <= time.monotonic():
                    _, _, target, datagram = heapq.heappop(self._waiting)
                    self._send(target, datagram)

    def _receive(self, source: socket.socket) -> None:
        try:
            datagram, sender = source.recvfrom(1 << 16)
        except ConnectionRefusedError:
            return
        target, tally = self._front, self.to_client
        if source is self._front:
            self._client = sender
            target, tally = self._back, self.to_server
        tally.n_seen += 1
        fate = self._rng.random()
        if fate < self._share:
            tally.n_lost += 1
        elif fate < 2 * self._share:
            tally.n_doubled += 1
            self._send(target, datagram)
            self._delay(target, datagram)
        elif fate < 3 * self._share:
            tally.n_delayed += 1
            self._delay(target, datagram)
        else:
            self._send(target, datagram)

    def _delay(self, target: socket.socket, datagram: bytes) -> None:
        due = time.monotonic() + self._delay_s * self._rng.random()
        heapq.heappush(self._waiting, (due, next(self._order), target, datagram))

    def _send(self, target: socket.socket, datagram: bytes) -> None:
        try:
            if target is self._back:
                target.send(datagram)
            else:
                target.sendto(datagram, self._client)
        except ConnectionRefusedError:
            return


class TcpRecorder:
    """Passes a connection on, and keeps what its client said."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10.0)
        self._port = port
        self.port = self._listener.getsockname()[1]
        self.said = bytearray()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._port))
        with client, server, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select(10.0):
                    chunk = key.fileobj.recv(1 << 16)
                    if not chunk:
                        return
                    if key.fileobj is client:
                        self.said += chunk
                    key.data.sendall(chunk)
