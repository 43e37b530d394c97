"""What goes wrong with services that run jobs: the cloud, and QPUs behind QRMI.

All are `MachineError`s, with the job as a field wherever there is one. What a service says is
part of a message only after credentials were taken out of it (`credentials.scrubbed`).
"""

from __future__ import annotations

from dataclasses import dataclass

from cudaq_target.errors import MachineError


@dataclass
class CredentialsError(MachineError):
    """Credentials are missing, refused, expired, or lie about for everybody to read.

    Attributes:
        reason: What is wrong; never the credentials themselves.
        remedy: What would work.
    """

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"machine {self.machine}: {self.reason}. {self.remedy}"


@dataclass
class JobEnvironmentError(MachineError):
    """The variables that a scheduler sets in a job do not describe a QPU that we can use.

    Attributes:
        variable: Which variable.
        reason: What is wrong with it; never a secret.
        remedy: What would work.
    """

    variable: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"machine {self.machine}: {self.variable}: {self.reason}. {self.remedy}"


@dataclass
class JobFailedError(MachineError):
    """A job ended without a result.

    Attributes:
        job_id: The job.
        status: How it ended: "ERROR", "CANCELED" or "TIMED_OUT".
        reason: In the machine's words, or "".
        remedy: What would work.
    """

    job_id: str
    status: str
    reason: str = ""
    remedy: str = "Nothing was sent again; submit the program anew"

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return (
            f"machine {self.machine}: job {self.job_id} ended as {self.status}{reason}. "
            f"{self.remedy}"
        )


@dataclass
class JobTimeoutError(MachineError):
    """A job was not done when the caller's time was over; it goes on.

    Attributes:
        job_id: The job.
        waited_s: How long it was waited for (s).
        status: Its state when it was seen last.
    """

    job_id: str
    waited_s: float
    status: str

    def __str__(self) -> str:
        return (
            f"machine {self.machine}: job {self.job_id} is {self.status} after "
            f"{self.waited_s:.1f} s and goes on. Wait again, fetch it later with "
            f"Job.load({self.job_id!r}) or `cudaq-target fetch {self.job_id}`, or cancel it"
        )


@dataclass
class JobLostError(MachineError):
    """The machine stopped answering while a job was under way; the job may go on.

    Attributes:
        job_id: The job.
        reason: What was seen, with the time that was waited.
        remedy: What would work.
    """

    job_id: str
    reason: str
    remedy: str = "Nothing was sent again; ask for this job when the machine answers again"

    def __str__(self) -> str:
        return f"machine {self.machine}: job {self.job_id}: {self.reason}. {self.remedy}"


@dataclass
class SubmissionError(MachineError):
    """Nobody knows whether a job was accepted: it was sent once, and no answer came.

    Attributes:
        job_id: Our name of the job, with which it was sent.
        reason: What was seen.
        remedy: What would work.
    """

    job_id: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"machine {self.machine}: job {self.job_id} was sent once, and may have been accepted: "
            f"{self.reason}. {self.remedy}"
        )


@dataclass
class SessionError(MachineError):
    """A session (an open batch, a session of a QPU) is missing, closed, or somebody else's.

    Attributes:
        session: Its id, or "" where there is none.
        reason: What is wrong with it.
        remedy: What would work.
    """

    session: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        session = f" {self.session}" if self.session else ""
        return f"machine {self.machine}: session{session}: {self.reason}. {self.remedy}"


@dataclass
class UnreadableResultError(MachineError):
    """A job is done, and what the machine gives as its result is none.

    Attributes:
        job_id: The job.
        reason: What is wrong with it.
        remedy: What would work.
    """

    job_id: str
    reason: str
    remedy: str = "The job is kept: fetch it again later, or report it with this id"

    def __str__(self) -> str:
        return (
            f"machine {self.machine}: the result of job {self.job_id} cannot be read: "
            f"{self.reason}. {self.remedy}"
        )
