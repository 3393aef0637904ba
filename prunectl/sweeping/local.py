"""Runs stages in processes on this machine."""

import heapq
import multiprocessing
import os
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from prunectl.sweeping.work import Job, Outcome, do
from prunectl.torchtools.cores import cores


def run_local(jobs: Sequence[Job], count: int) -> Generator[Outcome]:
    """Run jobs, `count` at a time, the earliest ready ones first; yields them as they end.

    A process that dies takes down only its own stage.
    """
    waiting: dict[str, list[int]] = {}
    ready: list[int] = []
    ours = {job.stage.identity for job in jobs}
    for i, job in enumerate(jobs):
        if job.after in ours:
            waiting.setdefault(str(job.after), []).append(i)
        else:
            heapq.heappush(ready, i)
    ended: dict[str, Outcome] = {}
    free = [_Worker(count) for _ in range(min(count, len(jobs)))]
    running: dict[Future[Outcome], tuple[_Worker, Job]] = {}
    try:
        while ready or running:
            while ready and free:
                job, worker = jobs[heapq.heappop(ready)], free.pop()
                running[worker.submit(job, ended.get(str(job.after)))] = (worker, job)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, job = running.pop(future)
                ended[job.stage.identity] = outcome = worker.outcome(future, job)
                free.append(worker)
                for i in waiting.pop(job.stage.identity, []):
                    heapq.heappush(ready, i)
                yield outcome
    finally:
        for worker, _ in running.values():
            worker.stop()  # an idle one ends by itself, and releases its locks
        for worker in [*free, *(worker for worker, _ in running.values())]:
            worker.pool.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """A process that runs one stage after another, and is replaced if it dies."""

    def __init__(self, beside: int) -> None:
        self.threads = max(1, cores() // beside)
        self.pool = self._pool()

    def submit(self, job: Job, before: Outcome | None) -> Future[Outcome]:
        """Begin a stage."""
        return self.pool.submit(do, job, before)

    def outcome(self, future: Future[Outcome], job: Job) -> Outcome:
        """The outcome of a finished stage."""
        try:
            return future.result()
        except BrokenProcessPool:
            self.pool = self._pool()
            return Outcome(job.stage, "its process was killed, or ran out of memory")

    def stop(self) -> None:
        """Ask the process to end; a running training is saved first."""
        for process in list((self.pool._processes or {}).values()):
            process.terminate()

    def _pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        return ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(self.threads,))


def _begin(threads: int) -> None:
    """In a new process: leave Ctrl-C to the parent, end when it ends, and use a share of the cores."""
    os.setpgrp()
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
