"""The files and jobs of the ledger in Redis.

| key | type | content |
|---|---|---|
| `files` | hash | by id, the documents of files |
| `files-of:OWNER`, `jobs-of:OWNER` | sorted sets | ids in the order in which they were added |
| `expiring-files` | sorted set | ids of files by the time when they expire |
| `used` | number | bytes of uploads and results |
| `added` | number | how many files and jobs were ever added |
| `job:ID` | hash | `document`, `place` among all jobs, `key`, `bytes` of results; of its claim, `token` and `until_s` |
| `keys:OWNER` | hash | by Idempotency-Key, the id of the job and the fingerprint |
| `active`, `active-of:OWNER` | sorted sets | ids of unfinished jobs by their place |
| `ended` | sorted set | ids of ended jobs by the time when they ended |
| `running` | sorted set | ids of jobs in progress by the time when they expire |
| `due` | sorted set | by place, ids of jobs to be validated or ended for another reason than their time |
"""

import json
from collections.abc import Sequence

from deployments.jobs.documents import file_document, file_of, job_document, job_of
from deployments.jobs.records import Job, StoredFile, ended_s
from deployments.jobs.redis_transaction import LISTS, RedisTransaction, key_of
from pipelines.errors import UnknownId


class RedisRecords(RedisTransaction):
    """See `Tables`. Each method takes time that grows with what it returns, and with the logarithm of what there is."""

    def used_bytes(self) -> int:
        """See `Tables`."""
        self.watch(LISTS)
        return int(self.client.get(key_of("used")) or 0)

    def file(self, file_id: str) -> StoredFile | None:
        """See `Tables`."""
        return next(iter(self._files([file_id])), None)

    def files_of(self, owner: str, after: str | None, limit: int, *, newest_first: bool) -> list[StoredFile]:
        """See `Tables`."""
        return self._files(self._page("files-of", owner, after, limit, newest_first=newest_first))

    def expired_files(self, now_s: float) -> list[StoredFile]:
        """See `Tables`."""
        self.watch(LISTS)
        return self._files(self.client.zrangebyscore(key_of("expiring-files"), "-inf", now_s))

    def add_file(self, file: StoredFile) -> None:
        """See `Tables`."""
        place = self._new_place()
        self.write("HSET", key_of("files"), file.id, file_document(file).decode())
        self.write("ZADD", key_of("files-of", file.owner), place, file.id)
        self.write("ZADD", key_of("expiring-files"), file.expires_s, file.id)
        self.write("INCRBY", key_of("used"), _uploaded_bytes(file))

    def delete_files(self, files: Sequence[StoredFile]) -> None:
        """See `Tables`."""
        self.watch(LISTS)
        for file in files:
            self.write("HDEL", key_of("files"), file.id)
            self.write("ZREM", key_of("files-of", file.owner), file.id)
            self.write("ZREM", key_of("expiring-files"), file.id)
            self.write("DECRBY", key_of("used"), _uploaded_bytes(file))

    def job(self, job_id: str) -> Job | None:
        """See `Tables`."""
        self.watch(job_id)
        document = self.client.hget(key_of("job", job_id), "document")
        return job_of(document) if document else None

    def job_with_key(self, owner: str, key: str) -> tuple[Job, str] | None:
        """See `Tables`."""
        self.watch(LISTS)
        found = self.client.hget(key_of("keys", owner), key)
        if found is None:
            return None
        job_id, fingerprint = json.loads(found)
        job = self.job(job_id)
        return (job, fingerprint) if job else None

    def jobs_of(self, owner: str, after: str | None, limit: int) -> list[Job]:
        """See `Tables`."""
        return self._jobs(self._page("jobs-of", owner, after, limit, newest_first=True))

    def unfinished_jobs(self, owner: str | None = None) -> list[Job]:
        """See `Tables`."""
        self.watch(LISTS)
        return self._jobs(self.client.zrange(key_of("active") if owner is None else key_of("active-of", owner), 0, -1))

    def ended_jobs(self, until_s: float) -> list[str]:
        """See `Tables`."""
        self.watch(LISTS)
        return list(self.client.zrangebyscore(key_of("ended"), "-inf", until_s))

    def add_job(self, job: Job, key: str | None, fingerprint: str) -> None:
        """See `Tables`."""
        place = self._new_place()
        self.watch(job.id)
        self.write("HSET", key_of("job", job.id), "place", place)
        self.write("ZADD", key_of("jobs-of", job.owner), place, job.id)
        if key is not None:
            self.write("HSET", key_of("job", job.id), "key", key)
            self.write("HSET", key_of("keys", job.owner), key, json.dumps([job.id, fingerprint]))
        self._list(job, place)

    def save_job(self, job: Job) -> None:
        """See `Tables`."""
        self.watch(job.id)
        self._list(job, int(self.client.hget(key_of("job", job.id), "place")))

    def _list(self, job: Job, place: int) -> None:
        """Write a job and put it in the lists of its status.

        A job in progress stays in `due`, or out of it, as it is: that depends on its parts.
        """
        at_s = ended_s(job)
        self.write("HSET", key_of("job", job.id), "document", job_document(job).decode())
        if at_s is not None:
            self.write("ZADD", key_of("ended"), at_s, job.id)
        for active in (key_of("active"), key_of("active-of", job.owner)):
            self.write(*(("ZADD", active, place, job.id) if at_s is None else ("ZREM", active, job.id)))
        if job.status == "in_progress":
            self.write("ZADD", key_of("running"), job.expires_s, job.id)
        else:
            self.write("ZREM", key_of("running"), job.id)
            self.write(*(("ZADD", key_of("due"), place, job.id) if at_s is None else ("ZREM", key_of("due"), job.id)))

    def _jobs(self, job_ids: Sequence[str]) -> list[Job]:
        found = self.read_all(*(("HGET", key_of("job", job_id), "document") for job_id in job_ids))
        return [job_of(document) for document in found if document]

    def _files(self, file_ids: Sequence[str]) -> list[StoredFile]:
        self.watch(LISTS)
        found = self.client.hmget(key_of("files"), file_ids) if file_ids else []
        return [file_of(document) for document in found if document]

    def _new_place(self) -> int:
        """The place of a new file or job behind all others. If it is not written, the place stays empty."""
        self.watch(LISTS)
        return int(self.client.incr(key_of("added")))

    def _page(self, kind: str, owner: str, after: str | None, limit: int, *, newest_first: bool) -> list[str]:
        self.watch(LISTS)
        ids = key_of(kind, owner)
        place = self.client.zscore(ids, after) if after is not None else None
        if after is not None and place is None:
            raise UnknownId("file" if kind == "files-of" else "batch")
        if newest_first:
            most = "+inf" if place is None else f"({place:.0f}"
            return list(self.client.zrevrangebyscore(ids, most, "-inf", start=0, num=limit))
        least = "-inf" if place is None else f"({place:.0f}"
        return list(self.client.zrangebyscore(ids, least, "+inf", start=0, num=limit))


def _uploaded_bytes(file: StoredFile) -> int:
    """The bytes of an upload; those of results are counted part by part."""
    return file.size if file.purpose == "batch" else 0
