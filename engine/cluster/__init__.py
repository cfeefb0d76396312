"""Many processes work on one run: a head hands out shards, workers work on them, on this machine or on others.

`place` says what a worker can be asked, `messages` in which words; `worker` is a worker; `head` and `remote_shard` are the
head's side; `wire` takes both apart, so that bytes are exchanged between them, and `subprocesses` carries these bytes over
the pipes of processes on this machine. `folding` makes a few events of many.
"""
