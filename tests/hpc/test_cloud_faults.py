"""What goes wrong on the way to the cloud: nothing is submitted twice, no job is forgotten."""
# ruff: noqa: ARG001 - fixtures are asked for by name

from __future__ import annotations

import signal
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target import Pasqal
from cudaq_target.cloud.batches import OpenBatch
from cudaq_target.cloud.credentials import access
from cudaq_target.cloud.errors import (
    CredentialsError,
    JobFailedError,
    JobLostError,
    SubmissionError,
    UnreadableResultError,
)
from cudaq_target.cloud.exchange import Exchange
from cudaq_target.cloud.pasqal import JobSpec, PasqalCloud
from cudaq_target.errors import (
    MachineError,
    MachineRefusedError,
    MachineUnavailableError,
    RunFailedError,
)
from cudaq_target.jobs import Job, submit
from cudaq_target.launch.remote import program_shots
from cudaq_target.machines.counters import counter_of, shots_of_counter
from cudaq_target.machines.jobs import JobNote
from cudaq_target.machines.remote import close_all
from cudaq_target.shots import Shots
from cudaq_target.target import Session
from tests.hpc.cloud_account import submitted
from tests.hpc.cloud_programs import inverted, waiting
from tests.hpc.fake_clients import asymmetric, parametrised, until

SHORT_S = 0.3


def launch(n_shots=5, timeout_s=30.0):
    """Run the program as a launch does, and wait."""
    session = Session(Pasqal(machine="EMU_FREE", machine_timeout_s=timeout_s))
    return program_shots(session, waiting_there(), n_shots)


def waiting_there():
    """The program for the device that the cloud reports."""
    from cudaq_target.analog.program import build
    from cudaq_target.fakes.devices import device

    return build(waiting().spec, device("EMU_FREE"))


@pytest.fixture
def cloud(account):
    """A client of the stand-in, without a machine around it."""
    given = access("EMU_FREE")
    client = PasqalCloud(Exchange("EMU_FREE", given, timeout_s=10.0), given.project_id)
    yield client
    client.close()


ASKED = ("specs", "devices", "jobs.status", "jobs.results_link")
PASSING = (408, 429, 500, 502, 503, 504, "drop", "lost", "half", "garbage")


@pytest.mark.parametrize(
    ("where", "kind"),
    [*((where, "drop") for where in ASKED), *(("jobs.status", kind) for kind in PASSING)],
)
def test_a_question_is_asked_again(account, where, kind):
    fault = account.fault(where, kind)
    assert launch().n_shots == 5
    assert fault.happened == 1
    assert submitted(account) == 1


@pytest.mark.parametrize("kind", [500, "drop", "half"])
def test_a_result_is_fetched_again(account, kind):
    account.fault("results", kind)
    assert launch().n_shots == 5


def test_a_service_that_says_when_is_asked_then(account):
    account.fault("jobs.status", 429, retry_after_s=1)
    assert launch().n_shots == 5
    first, second = (exchange.arrival_ns for exchange in account.asked("jobs.status")[:2])
    assert second - first >= 1_000_000_000


@pytest.mark.parametrize("kind", ["lost", "half", "garbage"])
def test_a_submission_whose_answer_is_lost_is_found_and_not_sent_again(account, kind):
    account.fault("batches.create", kind)
    assert launch().n_shots == 5
    assert submitted(account) == 1
    assert len(account.asked("batches.list")) == 1


@pytest.mark.parametrize("kind", [500, 503, "drop"])
def test_a_submission_that_may_have_been_accepted_says_so(account, kind):
    account.fault("batches.create", kind)
    with pytest.raises(SubmissionError, match="was sent once, and may have been accepted"):
        launch()
    assert submitted(account) == 1
    assert account.jobs == ()


def test_a_submission_that_was_not_accepted_says_so(account):
    account.fault("batches.create", 429)
    with pytest.raises(MachineUnavailableError, match="nothing was submitted"):
        launch()
    account.fault("batches.create", 400, text="no such pulse")
    with pytest.raises(MachineRefusedError, match="refuses waiting: no such pulse"):
        launch()
    assert submitted(account) == 2
    assert account.jobs == ()


def test_nobody_listens(account, monkeypatch):
    monkeypatch.setenv("PASQAL_BASE_URL", "http://127.0.0.1:1")
    with pytest.raises(MachineUnavailableError, match=r"waited for 0\.\d s"):
        launch(timeout_s=SHORT_S)


@pytest.mark.parametrize("kind", [503, "drop", "garbage"])
def test_a_network_that_goes_away_leaves_a_job_that_can_be_fetched(account, kind):
    account.fault("jobs.status", kind, times=None)
    with pytest.raises(JobLostError, match="cudaq-target fetch") as caught:
        launch(timeout_s=SHORT_S)
    assert caught.value.job_id == account.jobs[0].id
    account.clear_faults()
    assert Job.load(caught.value.job_id).result(60).counts() == {"00": 5}
    assert submitted(account) == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ERROR", JobFailedError),
        ("CANCELED", JobFailedError),
        ("TIMED_OUT", JobFailedError),
        ("no-result", UnreadableResultError),
        ("bad-result", UnreadableResultError),
        ("few-shots", RunFailedError),
    ],
)
def test_a_job_that_fails_is_named(account, kind, expected):
    account.fault("job", kind)
    with pytest.raises(expected) as caught:
        launch()
    assert caught.value.job_id == account.jobs[0].id
    assert account.jobs[0].id in str(caught.value)
    assert submitted(account) == 1


def test_the_machine_says_why_a_job_failed(account):
    account.fault("job", "ERROR", text="the lasers are off")
    with pytest.raises(JobFailedError, match="ended as ERROR: the lasers are off"):
        launch()


def test_a_token_that_ends_in_mid_run_leaves_jobs_that_can_be_fetched(account, monkeypatch):
    monkeypatch.setenv("PASQAL_AUTH_TOKEN", account.token)
    account.fault("jobs.status", "expire")
    with pytest.raises(JobLostError, match="cudaq-target fetch") as caught:
        launch()
    assert isinstance(caught.value.__cause__, CredentialsError)
    assert caught.value.__cause__.remedy in str(caught.value)
    assert caught.value.job_id == account.jobs[0].id
    monkeypatch.delenv("PASQAL_AUTH_TOKEN")
    close_all()
    assert Job.load(account.jobs[0].id).result(60).counts() == {"00": 5}
    assert submitted(account) == 1


def test_jobs_of_a_closed_project_are_named(account):
    job = submit(waiting(), 5, machine="EMU_FREE")
    account.fault("jobs.status", 404, times=None)
    with pytest.raises(JobLostError, match="does not know it"):
        job.status()


def test_an_interrupted_launch_cancels_its_job(account):
    account.fault("job", "RUNNING")

    def interrupt():
        until(lambda: account.jobs and account.asked("jobs.status"))
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            launch()
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert [job.order.status for job in account.jobs] == ["CANCELED"]


def test_a_session_takes_values_of_variables(account, cloud):
    session = OpenBatch(cloud, "EMU_FREE", builder=parametrised().to_abstract_repr())
    sent = [session.add([JobSpec(5, variables={"duration": [t]})]) for t in (100, 200)]
    until(lambda: all(cloud.status(job) == "DONE" for (job,) in sent))
    (batch,) = account.batches
    assert [job.order.variables for job in batch.jobs] == [{"duration": [100]}, {"duration": [200]}]
    assert [(job.id,) for job in batch.jobs] == sent
    session.close()
    session.close()
    assert not batch.is_open


@pytest.mark.parametrize("kind", ["lost", "half", "garbage"])
def test_a_lost_answer_of_a_session_is_found(account, cloud, kind):
    session = OpenBatch(cloud, "EMU_FREE", builder=asymmetric().to_abstract_repr())
    first = session.add([JobSpec(5)])
    account.fault("batches.add_jobs", kind)
    second = session.add([JobSpec(6), JobSpec(7)])
    assert [job.id for job in account.jobs] == [*first, *second]
    assert submitted(account) == 2


def test_a_session_says_what_was_not_accepted(account, cloud):
    session = OpenBatch(cloud, "EMU_FREE", builder=asymmetric().to_abstract_repr())
    session.add([JobSpec(5)])
    account.fault("batches.add_jobs", 400)
    with pytest.raises(MachineError, match="HTTP 400"):
        session.add([JobSpec(5)])
    account.fault("batches.add_jobs", "drop")
    with pytest.raises(SubmissionError, match=account.batches[0].id):
        session.add([JobSpec(5)])
    assert (submitted(account), len(account.jobs)) == (3, 1)
    assert not account.batches[0].is_open
    session.add([JobSpec(5)])  # in another batch: what may still arrive is no part of it
    assert [len(batch.jobs) for batch in account.batches] == [1, 1]
    account.fault("batches.complete", 503)
    session.close()  # said in the log: the cloud ends the batch by itself


def test_threads_share_a_session(account, cloud):
    session = OpenBatch(cloud, "EMU_FREE", builder=asymmetric().to_abstract_repr())
    sent = {}

    def send(n_shots):
        sent[n_shots] = session.add([JobSpec(n_shots)])

    threads = [threading.Thread(target=send, args=(n_shots,)) for n_shots in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(account.batches) == 1
    assert {job.runs: (job.id,) for job in account.jobs} == sent


def note(n_shots=3, columns=(0, 1)):
    return JobNote("ours", "EMU_FREE", "program", n_shots, len(columns), columns, {"job": "there"})


@pytest.mark.parametrize(
    "text",
    ['{"counter": {"0', "[]", "{}", '{"counter": [3]}', '{"counter": {"01": "3"}}',
     '{"counter": {"01": -3}}', '{"counter": {"01": true}}'],
)  # fmt: skip
def test_what_is_no_counter(text):
    with pytest.raises(UnreadableResultError, match="result of job there"):
        counter_of(text, note())


@pytest.mark.parametrize("counter", [{"0x": 3}, {"0": 3}, {"01": 2, "011": 1}, {}])
def test_counters_of_other_programs(counter):
    with pytest.raises(UnreadableResultError):
        shots_of_counter(counter, note())


def test_a_counter_becomes_shots_ordered_by_bit_string():
    packed = shots_of_counter({"110": 1, "001": 2}, note(columns=(2, 0)))
    assert packed.tolist() == [[0b01], [0b01], [0b10]]  # atom 2 is bit 0, atom 0 is bit 1
    with pytest.raises(RunFailedError, match="3 of 4 shots"):
        shots_of_counter({"11": 3}, note(n_shots=4))


@given(
    counter=st.dictionaries(st.text("01", min_size=70, max_size=70), st.integers(1, 4), min_size=1),
    columns=st.permutations(range(70)).map(lambda order: tuple(order[:66])),
)
def test_counters_keep_every_outcome_and_its_number(counter, columns):
    packed = shots_of_counter(counter, note(sum(counter.values()), columns))
    expected = Counter()
    for bits, number in counter.items():
        expected["".join(bits[atom] for atom in columns)] += number
    assert Shots(packed, 66).counts() == dict(expected)


def test_atoms_keep_their_order(account):
    counts = submit(inverted(), 200, machine="EMU_FREE").result(60).counts()
    assert counts.keys() <= {"100", "101", "110", "000"} | {"001", "010"}
    assert sum(number for bits, number in counts.items() if bits[0] == "1") > 190
