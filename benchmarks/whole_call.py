"""A whole call of a user, from Hamiltonian or kernel to counts, against what else users have.

Run it with `python -m benchmarks.run whole-call [--quick] [--json] [--output FILE]`.

All contenders run the same programs with the same number of shots, in turns. Those that use the
cloud speak to the same stand-in on loopback, which emulates what it is sent in some ms and waits
for `machine time` beside that. Each contender has a process of its own; loading and logging in are
not counted. Stock CUDA-Q is the same package with no plug-in loaded; its own REST client cannot be
pointed anywhere but to the real cloud, so it goes through QRMI. The provider for Qiskit is pointed
to the stand-in by changing the default address of pasqal-cloud, because it drops the address that
it is given.

With a machine time of 0 s it is a race whether a client finds the job done at its first look, and
then waits for nothing. A QPU takes a fifth of a second per shot: beside that all of this is little.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.report import Goal, Row, progress
from benchmarks.whole_call_ends import GATES
from benchmarks.whole_call_programs import (
    DRIVES,
    GATE_QUBITS,
    are_likely,
    exact,
    gate_probabilities,
    largest_error,
    reversed_keys,
    sent,
)
from benchmarks.whole_call_turns import (
    N_SHOTS,
    Contender,
    ContenderError,
    Ends,
    Taken,
    ends,
    places,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


SERVICE_S = (0.0, 0.2)
CLOUD = Contender("machine='EMU_FREE'", "ours", "EMU_FREE")
LOCAL = Contender("machine='local'", "ours", "local")
STOCK = Contender("stock CUDA-Q", "stock", is_slow=True)
SDK = Contender("pasqal-cloud", "pasqal_cloud", is_slow=True)
QISKIT = Contender("qiskit-pasqal-provider", "qiskit", "remote-emu-free", is_slow=True)
QUTIP = Contender("qiskit-pasqal-provider, its emulator", "qiskit", "qutip")
POLLS = {
    STOCK: "looks at the job at once, then every 1 s",
    SDK: "looks at the job at once, then after 2, 4, 8 s and so on up to 30 s",
    QISKIT: "waits as pasqal-cloud does",
}
OUR_POLLS = "ours looks at once, then after 20 ms, growing to 2 s"
# Ours keeps Pulser's samples, one per ns; between them the user's curve is not known to it.
SENT_LIMIT = 1e-4
_FAST_REPEATS = 5

Found = dict[Contender, Taken]


def rows(quick: bool = False) -> Iterator[Row]:
    """Measure all; quick leaves out the sweep, the controllers, and peers but stock CUDA-Q."""
    peers = (STOCK,) if quick else (STOCK, SDK, QISKIT)
    program, n_turns = ("pulse", 1) if quick else ("sweep", 3)
    schemes = () if quick else ("shm", "ipc")
    others = () if quick else (QUTIP,)
    progress("contenders start")
    with places(schemes) as at:
        controllers = [Contender(f"controller over {s}", "ours", at[s]) for s in schemes]
        names = [one.end for one in (CLOUD, *peers, *others)]
        with ends(names, tuple(at.values())) as started:
            checked: dict[str, Found] = {}
            for service_s in SERVICE_S[:1] if quick else SERVICE_S:
                started.cloud.orders.service_s = service_s
                group = (CLOUD, *peers)
                found, missing = in_turns(started, program, group, n_turns)
                yield from cloud_rows(program, service_s, peers, found, missing)
                checked.setdefault(program, found)
            started.cloud.orders.service_s = 0.0
            group = (LOCAL, *controllers, *others)
            found, missing = in_turns(started, program, group, 1 if quick else n_turns)
            yield from near_rows(program, controllers, others, found, missing)
            checked[program] |= found
            if not quick:
                group = (CLOUD, LOCAL, *controllers, STOCK, SDK)
                checked["pulse"], _ = in_turns(started, "pulse", group, 1)
            for name, one in checked.items():
                yield counts_row(name, one)
                yield sent_row(name, one)
            yield from gate_rows(started, peers)


def in_turns(
    started: Ends, what: str, group: Sequence[Contender], n_turns: int
) -> tuple[Found, dict[Contender, str]]:
    """Let contenders call A B … A B …; each has called before.

    Returns:
        What they took, and the words of those that could not run.
    """
    found, missing = {who: Taken() for who in group}, {}
    for turn in range(n_turns):
        progress(f"{what}, turn {turn + 1} of {n_turns}")
        for who in group:
            if who in missing:
                continue
            # Our contenders share a process: one that has just been chosen opens its link first.
            # Of a slow one the first call differs by some ms, and all turns count.
            warm_ups, repeats = (0, 1) if who.is_slow else (2, _FAST_REPEATS)
            try:
                started.take(who, what, found[who], repeats=repeats, warm_ups=warm_ups)
            except ContenderError as error:
                if who.end == "ours":
                    raise
                missing[who] = str(error)
    return {who: taken for who, taken in found.items() if who not in missing}, missing


def cloud_rows(
    program: str,
    service_s: float,
    peers: Sequence[Contender],
    found: Found,
    missing: dict[Contender, str],
) -> Iterator[Row]:
    """Whole calls over the cloud, with and without the pauses that clients choose; requests."""
    ours = found[CLOUD]
    title = f"{called(program)}, cloud, machine time {service_s:g} s"
    for peer in peers:
        yield versus(f"{title}, against {peer.label}", ours, peer, found, missing)
    for peer in (one for one in peers if one in found):
        mine, theirs = (median(one.beyond_ms) for one in (ours, found[peer]))
        yield Row(
            f"{title}, beyond its pauses, against {peer.label}",
            round(mine, 2),
            "ms",
            peer=f"{peer.label}: {theirs:.3g} ms",
            ratio=round(theirs / mine, 2),
            samples=ours.beyond_ms,
            note="the whole call less every silence of 15 ms or more between two of its requests: "
            "the client's own time, its requests and the replies",
        )
    named = [one for one in peers if one in found]
    yield Row(
        f"{title}, requests of a call",
        ours.requests,
        "requests",
        peer="; ".join(f"{one.label}: {found[one].requests:g}" for one in named) or None,
        ratio=found[named[0]].requests / ours.requests if named else None,
        note="counted by the stand-in; the ratio is that of the first peer",
    )


def versus(
    name: str, ours: Taken, peer: Contender, found: Found, missing: dict[Contender, str]
) -> Row:
    """Our whole call beside that of a peer."""
    if peer in missing:
        note = f"no peer: {missing[peer]}"
        return Row(name, round(ours.ms, 2), "ms", samples=tuple(ours.whole_ms), note=note)
    theirs = found[peer]
    span = f"{min(theirs.whole_ms):.3g} to {max(theirs.whole_ms):.4g} ms"
    polls = f"; the peer {POLLS[peer]}, {OUR_POLLS}" if peer in POLLS else ""
    return Row(
        name,
        round(ours.ms, 2),
        "ms",
        peer=f"{peer.label}: {theirs.ms:.4g} ms",
        ratio=round(theirs.ms / ours.ms, 2),
        samples=tuple(round(one, 3) for one in ours.whole_ms),
        note=f"median of calls, {N_SHOTS} shots; the peer {span} in {len(theirs.whole_ms)}{polls}",
    )


def near_rows(
    program: str,
    controllers: Sequence[Contender],
    others: Sequence[Contender],
    found: Found,
    missing: dict[Contender, str],
) -> Iterator[Row]:
    """Whole calls on this machine: in the process, and on a controller beside it."""
    local = found[LOCAL]
    title = called(program)
    for peer in others:
        yield versus(f"{title}, local, against {peer.label}", local, peer, found, missing)
    for one in controllers:
        yield Row(
            f"{title}, {one.label}",
            round(found[one].ms, 2),
            "ms",
            peer=f"ours, machine='local': {local.ms:.3g} ms",
            ratio=round(local.ms / found[one].ms, 2),
            samples=tuple(round(each, 3) for each in found[one].whole_ms),
            note="the embedded emulator in another process; none of the peers has such a machine",
        )


def counts_row(program: str, found: Found) -> Row:
    """Whether the counts of all our machines are right; what those of stock CUDA-Q are."""
    probabilities = exact(DRIVES[program]())
    ours = {who.label: taken.counts for who, taken in found.items() if who.end == "ours"}
    wrong = [label for label, counts in ours.items() if not are_likely(counts, probabilities)]
    peer = None
    if STOCK in found:
        counts = found[STOCK].counts
        answered = largest_error(counts, probabilities)
        turned = largest_error(reversed_keys(counts), probabilities)
        peer = f"stock CUDA-Q: {answered:.3f} as answered, {turned:.3f} read from the right"
    n_shots = min(sum(counts.values()) for counts in ours.values())
    return Row(
        f"{program}: counts of {len(ours)} of our machines against exact probabilities",
        max(largest_error(counts, probabilities) for counts in ours.values()),
        "max |ΔP|",
        peer=peer,
        reach=f"<= 5 standard deviations of {n_shots} shots or more",
        holds=not wrong,
        note=f"wrong: {', '.join(wrong)}" if wrong else "the peer reverses every bit string",
        is_correctness=True,
    )


def sent_row(program: str, found: Found) -> Row:
    """How far the programs that arrived are from the one that was written; no noise of shots."""
    probabilities = exact(DRIVES[program]())
    errors = {
        who: max(
            float(abs(sent(text, is_ahs=is_ahs) - probabilities).max())
            for is_ahs, text in taken.sent
        )
        for who, taken in found.items()
        if taken.sent
    }
    ours = errors.pop(CLOUD)
    goal = Goal(SENT_LIMIT)
    return Row(
        f"{program}: the program that arrives in the cloud against the one that was written",
        ours,
        "max |ΔP|",
        peer="; ".join(f"{who.label}: {error:.1e}" for who, error in errors.items()) or None,
        reach=str(goal),
        holds=goal.met_by(ours),
        note="stock CUDA-Q writes times in steps of 10 ns and positions in steps of 10 nm; the "
        "others send Pulser's samples, one per ns; probabilities integrated, no shots",
        is_correctness=True,
    )


def gate_rows(started: Ends, peers: Sequence[Contender]) -> Iterator[Row]:
    """A gate kernel, which the peers refuse."""
    refusals = "; ".join(f"{peer.label} {refusal(started, peer)}" for peer in peers if peer != SDK)
    for who, where in ((LOCAL, "local"), (CLOUD, "cloud")):
        progress(f"gate kernel, {where}")
        taken = Taken()
        started.take(who, GATES, taken, repeats=_FAST_REPEATS, warm_ups=2)
        probabilities = gate_probabilities()
        error = largest_error(taken.counts, probabilities)
        n_shots = sum(taken.counts.values())
        yield Row(
            f"sample, gate kernel of {GATE_QUBITS} qubits, {where}; max |ΔP| {error:.1e}",
            round(taken.ms, 2),
            "ms",
            peer=refusals,
            reach=f"counts within 5 standard deviations of {n_shots} shots",
            holds=are_likely(taken.counts, probabilities),
            samples=tuple(round(one, 3) for one in taken.whole_ms),
            note=f"median of calls, {N_SHOTS} shots; the peers were asked for the same in this run",
            is_correctness=True,
        )


def refusal(started: Ends, peer: Contender) -> str:
    """Ask a peer for the gate kernel; return what it said."""
    try:
        started.ask(peer, GATES)
    except ContenderError as error:
        return f"refuses: {str(error).partition(chr(10))[0]}"
    return "runs it"


def called(program: str) -> str:
    """How rows name a call."""
    drive = DRIVES[program]()
    return f"evolve, {program} of {len(drive.atoms_um)} atoms"
