"""The shot stream over a channel that loses, repeats and reorders; rows 16 and 20 of the faults."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cudaq_target.coupler.payload import shot_batch
from cudaq_target.coupler.shot_receiver import ShotReceiver
from cudaq_target.coupler.shot_sender import FullPolicy, ShotSender
from cudaq_target.coupler.stream import (
    SHOT_BATCH,
    SHOT_END,
    SHOT_GAP,
    Credit,
    End,
    Gap,
    join_parts,
    split_parts,
)

SESSION, N_QUBITS, RETRY_NS = 7, 70, 1000
U64 = st.integers(0, 2**64 - 1)


def rows_for(first, n_shots):
    """Shots that tell their own number."""
    ids = np.arange(first, first + n_shots, dtype=np.uint64)
    return np.stack([ids * np.uint64(0x9E3779B97F4A7C15), ids % np.uint64(64)], axis=1)


class LossyStream(RuleBasedStateMachine):
    """Any interleaving of shots, messages, losses, repeats and restarts keeps the account."""

    @initialize(
        max_held=st.integers(1, 12),
        window=st.integers(1, 12),
        max_batch=st.integers(1, 5),
        policy=st.sampled_from(FullPolicy),
    )
    def start(self, max_held, window, max_batch, policy):
        self.sender = ShotSender(
            SESSION,
            N_QUBITS,
            max_held=max_held,
            max_batch=max_batch,
            policy=policy,
            retry_ns=RETRY_NS,
        )
        self.receiver = ShotReceiver(SESSION, N_QUBITS, window=window)
        self.max_held, self.window, self.policy = max_held, window, policy
        self.to_receiver, self.to_sender = [], [self.receiver.credit()]
        self.taken: list[int] = []
        self.limit = 0
        self.now_ns = 0

    @precondition(lambda self: not self.sender.is_finished)
    @rule(n_shots=st.integers(0, 20))
    def offer(self, n_shots):
        n_taken = self.sender.offer(rows_for(self.sender.n_sent, n_shots))
        assert n_taken == n_shots or self.policy is FullPolicy.BLOCK

    @rule()
    def send(self):
        message = self.sender.poll(self.now_ns)
        if message is not None:
            self.to_receiver.append(message)

    @rule(step_ns=st.sampled_from([1, RETRY_NS]))
    def wait(self, step_ns):
        self.now_ns += step_ns

    @precondition(lambda self: self.to_receiver)
    @rule(at=st.integers(0, 10**6), keep=st.booleans())
    def carry(self, at, keep):
        at %= len(self.to_receiver)
        message = self.to_receiver[at] if keep else self.to_receiver.pop(at)
        assert self.receiver.receive(*message)
        self.to_sender.append(self.receiver.credit())

    @precondition(lambda self: self.to_sender)
    @rule(at=st.integers(0, 10**6), keep=st.booleans())
    def answer(self, at, keep):
        at %= len(self.to_sender)
        credit = self.to_sender[at] if keep else self.to_sender.pop(at)
        assert self.sender.on_credit(Credit.from_bytes(credit.to_bytes()), self.now_ns)

    @precondition(lambda self: self.to_receiver)
    @rule(at=st.integers(0, 10**6))
    def lose(self, at):
        self.to_receiver.pop(at % len(self.to_receiver))

    @rule()
    def reconnect(self):
        self.to_receiver.clear()
        self.to_sender = [self.receiver.credit()]
        self.sender.restart()

    @rule(max_shots=st.integers(0, 10))
    def take(self, max_shots):
        for batch in self.receiver.take(max_shots):
            np.testing.assert_array_equal(batch.rows, rows_for(batch.first_shot_id, batch.n_shots))
            self.taken.extend(range(batch.first_shot_id, batch.end_shot_id))
        self.to_sender.append(self.receiver.credit())

    @rule()
    def finish(self):
        self.sender.finish()

    @invariant()
    def account(self):
        if not hasattr(self, "receiver"):
            return
        receiver, sender = self.receiver, self.sender
        assert receiver.n_delivered + receiver.n_missing == receiver.next_shot_id
        assert receiver.next_shot_id <= sender.n_sent
        assert receiver.n_missing <= sender.n_dropped
        assert receiver.n_waiting <= self.window
        assert sender.n_held <= self.max_held
        limit = receiver.credit().limit_shot_id
        assert self.limit <= limit
        self.limit = limit
        assert all(a < b for a, b in zip(self.taken, self.taken[1:], strict=False))
        assert receiver.n_refused == 0

    def teardown(self):
        if not hasattr(self, "receiver"):
            return
        self.finish()
        self.reconnect()
        for _ in range(500):
            if self.sender.is_done:
                break
            self.now_ns += RETRY_NS
            for credit in self.to_sender:
                self.sender.on_credit(credit, self.now_ns)
            self.to_sender.clear()
            while (message := self.sender.poll(self.now_ns)) is not None:
                self.receiver.receive(*message)
            self.take(10**6)
        self.take(10**6)
        assert self.sender.is_done
        assert self.receiver.is_complete
        lost = {shot for first, end in self.receiver.missing for shot in range(first, end)}
        assert set(self.taken) | lost == set(range(self.sender.n_sent))
        assert len(self.taken) + len(lost) == self.sender.n_sent
        assert self.policy is FullPolicy.DROP_OLDEST or not lost


TestLossyStream = LossyStream.TestCase
TestLossyStream.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)


@pytest.mark.parametrize("policy", FullPolicy)
def test_row_16_five_percent_of_everything(policy):
    rng = np.random.default_rng(11)
    sender = ShotSender(
        SESSION, N_QUBITS, max_held=500, max_batch=16, policy=policy, retry_ns=RETRY_NS
    )
    receiver = ShotReceiver(SESSION, N_QUBITS, window=300)
    n_shots, now_ns, delivered = 20_000, 0, 0
    answers, late = [receiver.credit()], []
    while not sender.is_done:
        now_ns += 50
        for credit in answers:
            if rng.random() > 0.05:
                sender.on_credit(credit, now_ns)
        answers = []
        if sender.n_sent < n_shots:
            sender.offer(rows_for(sender.n_sent, min(40, n_shots - sender.n_sent)))
        else:
            sender.finish()
        message = sender.poll(now_ns)
        arriving, late = (late, []) if rng.random() < 0.5 else ([], late)
        if message is not None:
            fate = rng.random()
            if fate < 0.05:
                late.append(message)
            elif fate > 0.1:
                arriving = [message, *arriving]
            if rng.random() < 0.05:
                arriving = [*arriving, message]
        for one in arriving:
            assert receiver.receive(*one)
            answers.append(receiver.credit())
        delivered += sum(batch.n_shots for batch in receiver.take())
        answers.append(receiver.credit())
    assert receiver.n_delivered + receiver.n_missing == sender.n_sent == n_shots
    assert delivered == receiver.n_delivered
    assert policy is FullPolicy.DROP_OLDEST or receiver.n_missing == 0


def test_row_20_slow_consumer_is_bounded_and_every_drop_is_counted():
    sender = ShotSender(SESSION, 3, max_held=100, policy=FullPolicy.DROP_OLDEST, retry_ns=10)
    receiver = ShotReceiver(SESSION, 3, window=10)
    taken = 0
    for now_ns in range(1000):
        sender.on_credit(receiver.credit(), now_ns)
        sender.offer(np.zeros((7, 1), dtype=np.uint64))
        message = sender.poll(now_ns)
        if message is not None:
            receiver.receive(*message)
        if now_ns % 100 == 0:
            taken += sum(batch.n_shots for batch in receiver.take(1))
        assert receiver.n_waiting <= 10
        assert sender.n_held <= 100
    assert taken == 10
    sender.finish()
    now_ns = 10_000
    while not sender.is_done:
        now_ns += 10
        sender.on_credit(receiver.credit(), now_ns)
        while (message := sender.poll(now_ns)) is not None:
            receiver.receive(*message)
        taken += sum(batch.n_shots for batch in receiver.take())
    assert receiver.n_missing == sender.n_sent - taken == 7000 - taken
    assert receiver.n_missing == sender.n_dropped


def batch_bytes(first, n_shots, session=SESSION):
    return shot_batch(session, first, N_QUBITS, rows_for(first, n_shots)).to_bytes()


def test_sender_that_is_gone_leaves_an_exact_account():
    receiver = ShotReceiver(SESSION, N_QUBITS, window=50)
    receiver.receive(SHOT_BATCH, batch_bytes(0, 4))
    receiver.receive(SHOT_BATCH, batch_bytes(6, 2))
    receiver.receive(SHOT_GAP, Gap(SESSION, 10, 12).to_bytes())
    receiver.abandon(n_sent=20)
    assert receiver.missing == [(4, 6), (8, 20)]
    assert receiver.n_delivered == 6
    assert receiver.is_complete
    assert [batch.first_shot_id for batch in receiver.take()] == [0, 6]


def test_shot_that_came_before_its_gap_is_delivered():
    receiver = ShotReceiver(SESSION, N_QUBITS)
    receiver.receive(SHOT_BATCH, batch_bytes(2, 1))
    receiver.receive(SHOT_GAP, Gap(SESSION, 0, 5).to_bytes())
    assert receiver.missing == [(0, 2), (3, 5)]
    assert receiver.n_delivered == 1
    receiver.receive(SHOT_BATCH, batch_bytes(3, 1))
    assert receiver.n_delivered == 1


def test_wrong_messages_change_nothing():
    receiver = ShotReceiver(SESSION, N_QUBITS, window=4)
    receiver.receive(SHOT_BATCH, batch_bytes(0, 2))
    receiver.receive(SHOT_END, End(SESSION, 3).to_bytes())
    before = receiver.credit()
    wrong = [
        ("else", b""),
        (SHOT_BATCH, b"short"),
        (SHOT_BATCH, batch_bytes(2, 1, session=8)),
        (SHOT_BATCH, shot_batch(SESSION, 2, 3, np.zeros((1, 1), dtype=np.uint64)).to_bytes()),
        (SHOT_BATCH, batch_bytes(2, 2)),
        (SHOT_GAP, b"short"),
        (SHOT_GAP, Gap(8, 2, 3).to_bytes()),
        (SHOT_GAP, Gap(SESSION, 2, 4).to_bytes()),
        (SHOT_GAP, Gap(SESSION, 3, 2).to_bytes()),
        (SHOT_END, b"short"),
        (SHOT_END, End(8, 3).to_bytes()),
        (SHOT_END, End(SESSION, 4).to_bytes()),
        (SHOT_END, End(SESSION, 1).to_bytes()),
    ]
    assert not any(receiver.receive(*message) for message in wrong)
    assert receiver.n_refused == len(wrong)
    assert receiver.credit() == before


def test_shots_beyond_the_credit_are_refused():
    receiver = ShotReceiver(SESSION, N_QUBITS, window=4)
    assert receiver.receive(SHOT_BATCH, batch_bytes(0, 6))
    assert (receiver.n_delivered, receiver.n_refused) == (4, 2)


def test_impossible_credits_are_refused():
    sender = ShotSender(SESSION, N_QUBITS)
    sender.offer(rows_for(0, 3))
    assert not sender.on_credit(Credit(8, 0, 5, 0, is_complete=False), 0)
    assert not sender.on_credit(Credit(SESSION, 4, 5, 4, is_complete=False), 0)
    assert Credit.from_bytes(b"short") is None
    assert Credit.from_bytes(Credit(SESSION, 4, 3, 4, is_complete=False).to_bytes()) is None


def test_streams_that_cannot_be():
    with pytest.raises(ValueError, match="at least 1"):
        ShotSender(SESSION, 0)
    with pytest.raises(ValueError, match="at least 1"):
        ShotReceiver(SESSION, 1, window=0)
    sender = ShotSender(SESSION, 1)
    sender.finish()
    with pytest.raises(ValueError, match="stream 0x7 is finished"):
        sender.offer(np.zeros((1, 1), dtype=np.uint64))


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=20)), max_size=5))
def test_parts_come_back(messages):
    joined = join_parts(messages)
    assert [(kind, bytes(payload)) for kind, payload in split_parts(joined)] == messages


@given(st.binary(max_size=60))
def test_any_bytes_split_without_an_error(joined):
    assert sum(8 + len(payload) for _, payload in split_parts(joined)) <= len(joined)
