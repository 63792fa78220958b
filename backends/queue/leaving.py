"""Moving a search away from a bucket: end its jobs and fetch finished results."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.backends.queue import shipping
from studio.backends.queue.bucket import Bucket, BucketError
from studio.backends.queue.job_queue import JobQueue
from studio.backends.queue.lease_records import JOBS, OUTCOMES, Damaged, JobOutcome, from_json
from studio.backends.queue.results import PassedOn, lost, outcome_of
from studio.experiment import FITNESS, UNFINISHED, Metric, Run
from studio.project.paths import attempt_folder
from studio.project.records import read_experiments, reading
from studio.system.files import write_json

PATIENCE = 15.0  # seconds for workers to confirm the end; others learn of it at their next beat
LOOK = 0.5  # seconds


def call_home(bucket: Bucket, project: Path) -> None:
    """End all jobs of the search in the folder `project`, and fetch finished results that its record does not have.

    They are written into the folders of their runs, with an `outcome.json` for the next backend. Raises `BucketError` and
    `DiskFull`; then call it again.
    """
    search = f"{shipping.search_id(project)}-"
    jobs = [key.removeprefix(JOBS) for key in bucket.list(JOBS + search)]
    _end(bucket, set(jobs) - {key.removeprefix(OUTCOMES) for key in bucket.list(OUTCOMES + search)})
    with reading(project) as connection:
        recorded = list(read_experiments(connection, project, FITNESS))
    for experiment in recorded:
        if experiment.status in UNFINISHED:
            name = f"{search}{experiment.number:08}-{experiment.attempt:04}"
            for job in jobs:
                if job.partition(".")[0] == name:  # it may have been submitted again
                    _bring_home(bucket, job, project, experiment.number, experiment.attempt)


def _end(bucket: Bucket, jobs: set[str]) -> None:
    queue, deadline = JobQueue(bucket), time.monotonic() + PATIENCE
    for job in sorted(jobs):
        queue.submit(job, {})  # it exists; this waits for it
        queue.cancel(job, kill=True)
    while queue.look() and time.monotonic() < deadline:  # closes jobs without a worker
        if not queue.outcomes():
            time.sleep(LOOK)


def _bring_home(bucket: Bucket, job: str, project: Path, number: int, attempt: int) -> None:
    submitted, found = bucket.get(JOBS + job), bucket.get(OUTCOMES + job)
    if submitted is None or found is None:
        return
    ended, folder = JobOutcome.read(job, found[0]), attempt_folder(project, number, attempt)
    run = Run(project.name, number, attempt, "", {}, {}, [], {}, str(folder), metric=_metric(submitted[0]))
    outcome = outcome_of(run, time.time(), ended)
    if outcome.stopped:
        return  # it starts again, elsewhere
    passed_on = PassedOn(run.metric)
    passed_on.new(ended.attempt, ended.body.get("reports"))
    try:
        shipping.fetch_outputs(bucket, ended.job, ended.attempt, folder)
    except BucketError:
        raise
    except shipping.DiskFull as error:
        raise shipping.DiskFull(f"{error}; free some, then: studio resume {project.name}") from error
    except Exception as error:  # written by other machines: an invalid one fails only its run
        outcome = lost(run, outcome.started, f"its files could not be fetched: {error}")
    write_json(folder / "outcome.json", {**asdict(outcome), "metric": passed_on.told.value})


def _metric(submitted: bytes) -> Metric:
    try:
        job: Any = from_json(submitted)["job"]
        return Metric(**job["run"]["metric"])
    except (Damaged, KeyError, TypeError):
        return FITNESS
