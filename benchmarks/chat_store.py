"""A store of passages: how fast it is built, how fast it answers, and what it holds in memory.

    python -m benchmarks.chat_store DOCUMENTS [DOCUMENTS ...] [--chunks 100000]

DOCUMENTS are files or folders as `python -m pipelines.chat build` takes them, .xz-packed or not, and any other text file
line by line. Their text is cut into chunks until there are enough; the questions are sentences of it whose words are
shuffled, embedded beforehand, as a request's is elsewhere. Prints one JSON line:

build   chunks/s of a store of 10,000 chunks, and seconds for the large one: chunking, embedding, index and file
search  milliseconds of a combined search of the large store, one after the other (p50, p99) and CPU of each; searches/s
        and CPU of each with 32 at a time
memory  MiB resident: the whole process, a new one that only opens and searches, and of it what it had before opening
"""
