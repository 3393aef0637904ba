"""Runs stages as tasks of a Ray cluster, which schedules them by their dependencies."""

import logging
import os
import signal
from collections.abc import Generator, Sequence
from typing import Any

from prunectl.errors import PrunectlError
from prunectl.sweeping.work import Job, Outcome, do

_GRACE = 60.0
"""Seconds for stages to save their work when the sweep ends."""
_SAID = 200
"""Most letters of Ray's message in a line."""


def run_on_ray(jobs: Sequence[Job], count: int | None, gpus: float) -> Generator[Outcome]:
    """Run jobs on the cluster of RAY_ADDRESS or one that runs here; with `count`, on a new one with this many cpus.

    A job takes one cpu and `gpus` of a gpu. Every node must see the sweep's folder under the same path.
    """
    import ray  # noqa: PLC0415  (an extra)

    # a task without its own gpus may still use those of the machine
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    where: dict[str, Any] = {} if count is None else {"address": "local", "num_cpus": count}
    asked_to_end = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**where, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (RuntimeError, ValueError, OSError) as error:
        what = " ".join(str(error).split())[:_SAID]
        raise PrunectlError(f"cannot join or start a Ray cluster ({what}); check RAY_ADDRESS and --jobs") from error
    signal.signal(signal.SIGTERM, asked_to_end)  # Ray has replaced it
    pending: list[Any] = []
    try:
        task = ray.remote(num_cpus=1, num_gpus=gpus)(do)
        refs: dict[str, Any] = {}
        for job in jobs:
            refs[job.stage.identity] = task.remote(job, refs.get(str(job.after)))
        jobs_of = {refs[job.stage.identity]: job for job in jobs}
        pending = list(jobs_of)
        while pending:
            (done,), pending = ray.wait(pending, num_returns=1)
            try:
                yield ray.get(done)
            except ray.exceptions.RayError as error:
                what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                yield Outcome(jobs_of[done].stage, what)
    finally:
        for ref in pending:
            ray.cancel(ref)  # an interrupt, which saves a running training
        if pending:
            ray.wait(pending, num_returns=len(pending), timeout=_GRACE)
        ray.shutdown()
