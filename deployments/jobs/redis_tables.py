"""The parts and claims of the ledger in Redis, beside the files and jobs of `RedisRecords`.

| key | type | content |
|---|---|---|
| `parts:JOB` | hash | by number, what does not change: the other fields of `Part` |
| `unclaimed:JOB` | sorted set | numbers of parts that were never claimed |
| `leased:JOB` | sorted set | numbers of claimed parts that are not done, by the time when the lease ends |
| `leases:JOB` | hash | by number of these parts, the token and how often the part was claimed |
| `done:JOB` | sorted set | by number, the fields of `Part` and `Scored` |
| `claims` | hash | by token, what the claim is on |
"""

import json
from collections.abc import Sequence
from dataclasses import astuple

from deployments.jobs.documents import job_of
from deployments.jobs.records import Job, Part, Scored
from deployments.jobs.redis_records import RedisRecords
from deployments.jobs.redis_transaction import LISTS, key_of
from deployments.jobs.tables import Held

PER_COMMAND = 1000
"""Parts that one command adds: a script can pass about 8,000 words to a command."""
OF_JOB = ("parts", "unclaimed", "leased", "leases", "done")


class RedisTables(RedisRecords):
    """See `Tables`.

    To find the next part takes a few commands for each job in progress, to find the next job one for each job that has
    none of its parts to be scored. Claiming, completing and renewing take the same time, whatever the number of parts,
    but for its logarithm.
    """

    def delete_job(self, job_id: str) -> None:
        """See `Tables`."""
        self.watch(LISTS)
        self.watch(job_id)
        job = self.job(job_id)
        if job is None:
            return
        key, token, used = self.client.hmget(key_of("job", job_id), "key", "token", "bytes")
        tokens = [token, *(json.loads(lease)[0] for lease in self.client.hvals(key_of("leases", job_id)))]
        for one in filter(None, tokens):
            self.write("HDEL", key_of("claims"), one)
        if key is not None:
            self.write("HDEL", key_of("keys", job.owner), key)
        self.write("DECRBY", key_of("used"), int(used or 0))
        for ids in ("active", "running", "due", "ended"):
            self.write("ZREM", key_of(ids), job_id)
        for ids in ("active-of", "jobs-of"):
            self.write("ZREM", key_of(ids, job.owner), job_id)
        self.write("DEL", *(key_of(kind, job_id) for kind in ("job", "version", *OF_JOB)))

    # Parts.

    def add_parts(self, job_id: str, parts: Sequence[Part]) -> None:
        """See `Tables`."""
        self.watch(job_id)
        for first in range(0, len(parts), PER_COMMAND):
            some = [(part.number, json.dumps(astuple(part)[1:])) for part in parts[first : first + PER_COMMAND]]
            self.write("HSET", key_of("parts", job_id), *(word for pair in some for word in pair))
            self.write("ZADD", key_of("unclaimed", job_id), *(word for number, _ in some for word in (number, number)))
        if parts:
            self.write("ZREM", key_of("due"), job_id)

    def done_parts(self, job_id: str, first: int) -> list[tuple[Part, Scored]]:
        """See `Tables`. One command reads them, so the job is not watched."""
        rows = map(json.loads, self.client.zrangebyscore(key_of("done", job_id), first, "+inf"))
        return [(Part(*row[:6]), Scored(*row[6:])) for row in rows]

    def open_parts(self, job_id: str) -> list[Part]:
        """See `Tables`."""
        self.watch(job_id)
        found = self.read_all(*(("ZRANGE", key_of(kind, job_id), 0, -1) for kind in ("unclaimed", "leased")))
        numbers = sorted(int(number) for some in found for number in some)
        rows = self.client.hmget(key_of("parts", job_id), numbers) if numbers else []
        return [_part(number, row) for number, row in zip(numbers, rows, strict=True)]

    def complete(self, held: Held, token: str, scored: Scored) -> None:
        """See `Tables`."""
        job_id, number = held
        self.watch(job_id)
        row = self.client.hget(key_of("parts", job_id), number)
        done = [*astuple(_part(int(number or 0), row)), *astuple(scored)[:-1], token]
        used = scored.output_bytes + scored.error_bytes
        self.write("ZREM", key_of("leased", job_id), str(number))
        self.write("HDEL", key_of("leases", job_id), str(number))
        self.write("HDEL", key_of("claims"), token)
        self.write("ZADD", key_of("done", job_id), str(number), json.dumps(done))
        self.write("HINCRBY", key_of("job", job_id), "bytes", used)
        self.write("INCRBY", key_of("used"), used)
        job, *left = (key_of(kind, job_id) for kind in ("job", "unclaimed", "leased"))
        place, *counts = self.read_all(("HGET", job, "place"), *(("ZCARD", key) for key in left))
        if sum(counts) == 1:
            self.write("ZADD", key_of("due"), place, job_id)

    # Claims.

    def next_part(self, now_s: float) -> tuple[Job, Part, int] | None:
        """See `Tables`."""
        found = (self._next_part_of(job_id, now_s) for job_id in self._by_parts_in_work(now_s))
        return next(filter(None, found), None)

    def _by_parts_in_work(self, now_s: float) -> list[str]:
        """The jobs in progress, in the order in which they get the next claim. Nothing is watched yet."""
        job_ids = self.client.zrangebyscore(key_of("running"), f"({now_s!r}", "+inf")
        in_work = [("ZCOUNT", key_of("leased", job_id), f"({now_s!r}", "+inf") for job_id in job_ids]
        places = [("HGET", key_of("job", job_id), "place") for job_id in job_ids]
        found = self.read_all(*in_work, *places)
        order = sorted(zip(found[: len(job_ids)], map(_place, found[len(job_ids) :]), job_ids, strict=True))
        return [job_id for _, _, job_id in order]

    def _next_part_of(self, job_id: str, now_s: float) -> tuple[Job, Part, int] | None:
        """The part of a job with the lowest number among those on which nobody works. Few leases can have run out."""
        self.watch(job_id)
        over, new, expires_s, document = self.read_all(
            ("ZRANGEBYSCORE", key_of("leased", job_id), "-inf", now_s),
            ("ZRANGE", key_of("unclaimed", job_id), 0, 0),
            ("ZSCORE", key_of("running"), job_id),
            ("HGET", key_of("job", job_id), "document"),
        )
        numbers = [int(number) for number in (*over, *new)]
        if not numbers or expires_s is None or float(expires_s) <= now_s:
            return None
        number = min(numbers)
        row, lease = self.read_all(*(("HGET", key_of(kind, job_id), number) for kind in ("parts", "leases")))
        return job_of(document), _part(number, row), json.loads(lease)[1] if lease else 0

    def next_job(self, now_s: float) -> Job | None:
        """See `Tables`."""
        late = self.client.zrangebyscore(key_of("running"), "-inf", now_s)
        job_ids = list(dict.fromkeys([*self.client.zrange(key_of("due"), 0, -1), *late]))
        rows = self.read_all(*(("HMGET", key_of("job", job_id), "place", "until_s") for job_id in job_ids))
        free = sorted(
            (int(place), job_id)
            for job_id, (place, until_s) in zip(job_ids, rows, strict=True)
            if place is not None and float(until_s or 0) <= now_s
        )
        return next((job for _, job_id in free if (job := self._if_due(job_id, now_s))), None)

    def _if_due(self, job_id: str, now_s: float) -> Job | None:
        """A job, if there is still something to do for it."""
        self.watch(job_id)
        document, until_s = self.client.hmget(key_of("job", job_id), "document", "until_s")
        if document is None or float(until_s or 0) > now_s:
            return None
        due = self.client.zscore(key_of("due"), job_id) is not None
        expires_s = self.client.zscore(key_of("running"), job_id)
        return job_of(document) if due or (expires_s is not None and expires_s <= now_s) else None

    def claim(self, held: Held, token: str, until_s: float) -> None:
        """See `Tables`."""
        job_id, number = held
        if number is None:
            self.forget_claim(job_id)
            self.write("HSET", key_of("job", job_id), "token", token)
        else:
            self.watch(job_id)
            lease = self.client.hget(key_of("leases", job_id), number)
            earlier, attempts = json.loads(lease) if lease else (None, 0)
            if earlier:
                self.write("HDEL", key_of("claims"), earlier)
            self.write("HSET", key_of("leases", job_id), number, json.dumps([token, attempts + 1]))
            self.write("ZREM", key_of("unclaimed", job_id), number)
        self.write("HSET", key_of("claims"), token, json.dumps(held))
        self.extend(held, until_s)

    def claimed(self, token: str) -> Held | None:
        """See `Tables`. It is read again once its job is known and watched."""
        found = self.client.hget(key_of("claims"), token)
        if found is not None:
            self.watch(json.loads(found)[0])
            found = self.client.hget(key_of("claims"), token)
        if found is None:
            return None
        job_id, number = json.loads(found)
        return job_id, number

    def extend(self, held: Held, until_s: float) -> None:
        """See `Tables`."""
        job_id, number = held
        self.watch(job_id)
        if number is None:
            self.write("HSET", key_of("job", job_id), "until_s", until_s)
        else:
            self.write("ZADD", key_of("leased", job_id), until_s, number)

    def forget_claim(self, job_id: str) -> None:
        """See `Tables`."""
        self.watch(job_id)
        if token := self.client.hget(key_of("job", job_id), "token"):
            self.write("HDEL", key_of("claims"), token)
        self.write("HDEL", key_of("job", job_id), "token", "until_s")


def _place(found: str | None) -> int:
    """The place of a job; before all others if the job was removed meanwhile, which is noticed later."""
    return int(found or 0)


def _part(number: int, row: str) -> Part:
    return Part(number, *json.loads(row))
