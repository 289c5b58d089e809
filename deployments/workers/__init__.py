"""Ray's worker processes as forks of one process that has imported what all of them need.

A worker that starts by itself imports Ray and Ray Serve for a second, into 70 MiB of its own. On a machine with few
cores that is most of the time of a start.

forking      changes how a raylet starts workers, and starts the fork server
start        the script that the raylet runs in place of Ray's own
fork_server  the process that is forked
requests     what the script asks of it
"""
