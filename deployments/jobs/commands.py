"""`munjang jobs`: have a server score a file in the background, from the command line."""

import argparse
import sys
from pathlib import Path

from deployments.jobs.client import Job, JobsClient, connection
from pipelines.command_line import Command
from pipelines.measure.server_client import KEY_VARIABLE

URL = "http://localhost:8000"
PAIRS_FILE = "/pred/file/"


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default=URL, help=f"the server ({URL}); ${KEY_VARIABLE} has its API key, if it asks")


def _add_job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", help="the id that `munjang jobs submit` printed")
    _add_server(parser)


def _add_submit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="pairs as JSON Lines, CSV, TSV or JSON; or lines of requests")
    parser.add_argument(
        "--endpoint", default=PAIRS_FILE, help=f"{PAIRS_FILE} for pairs, else the route of the requests"
    )
    parser.add_argument("--window", default="24h", help="after this time what is left expires (24h; at most 7d)")
    parser.add_argument("--follow", action="store_true", help="wait for the end, and show the progress")
    _add_server(parser)


def _submit(_: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    with connection(arguments.url) as http:
        jobs = JobsClient(http)
        job = jobs.submit(arguments.file, arguments.endpoint, arguments.window)
        sys.stdout.write(f"{job['id']}\n")
        return follow(jobs, job["id"]) if arguments.follow else 0


def _add_status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--follow", action="store_true", help="until the job has ended")
    _add_job(parser)


def _status(_: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    with connection(arguments.url) as http:
        jobs = JobsClient(http)
        if arguments.follow:
            return follow(jobs, arguments.job)
        sys.stdout.write(f"{described(jobs.status(arguments.job))}\n")
        return 0


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--errors", action="store_true", help="the rows with errors instead of the answers")
    parser.add_argument("--output", type=Path, help="a file for them; without it they are printed")
    _add_job(parser)


def _results(_: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    with connection(arguments.url) as http:
        pieces = JobsClient(http).results(arguments.job, errors=arguments.errors)
        if arguments.output is None:
            sys.stdout.buffer.writelines(pieces)
            return
        first = next(pieces, b"")  # if there is no such job, no file is made
        with arguments.output.open("wb") as file:
            file.write(first)
            file.writelines(pieces)


def _cancel(_: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    with connection(arguments.url) as http:
        sys.stdout.write(f"{described(JobsClient(http).cancel(arguments.job))}\n")


def follow(jobs: JobsClient, job_id: str) -> int:
    """Print the job after each change. Returns 0 if it is completed at last, otherwise 1."""
    status = ""
    for job in jobs.changes(job_id):
        status = job["status"]
        sys.stdout.write(f"{described(job)}\n")
        sys.stdout.flush()
    return 0 if status == "completed" else 1


def described(job: Job) -> str:
    """The status of a job, its rows and its faults, in one line or one for each fault."""
    counts = job["request_counts"]
    answered, total, failed = (f"{counts[name]:,}" for name in ("completed", "total", "failed"))
    line = f"{job['status']}: {answered} of {total} rows have answers, {failed} have errors"
    faults = (job["errors"] or {"data": []})["data"]
    return "\n".join([line, *(f"line {fault['line']}: {fault['message']}" for fault in faults)])


AFTERWARDS = "The job goes on; `munjang jobs status` and `munjang jobs cancel` take its id."
SUBMIT = Command(
    "Upload a file to a server, have it scored in the background, and print the id of the job.",
    _add_submit,
    _submit,
    AFTERWARDS,
)
STATUS = Command("Show how far a job is. With --follow the exit status is 0 if it is completed.", _add_status, _status)
RESULTS = Command(
    "Print the answers of a job, one line of JSON each, in the order of its file. While the job runs, those are the\n"
    "answers so far.",
    _add_results,
    _results,
)
CANCEL = Command("End a job. Its answers so far stay.", _add_job, _cancel)
