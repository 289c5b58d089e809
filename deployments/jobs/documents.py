"""Convert jobs and files to JSON for the ledger, and back."""

from pydantic import TypeAdapter

from deployments.jobs.records import Job, StoredFile

_JOB, _FILE = TypeAdapter(Job), TypeAdapter(StoredFile)


def job_document(job: Job) -> bytes:
    """The JSON text of a job."""
    return _JOB.dump_json(job)


def job_of(document: bytes) -> Job:
    """The job of a JSON text."""
    return _JOB.validate_json(document)


def file_document(file: StoredFile) -> bytes:
    """The JSON text of a file's record."""
    return _FILE.dump_json(file)


def file_of(document: bytes) -> StoredFile:
    """The record of a file from its JSON text."""
    return _FILE.validate_json(document)
