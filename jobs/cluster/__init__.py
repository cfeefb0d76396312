"""The processes that work on a run, where ``cluster.workers`` asks for some.

In: the configuration of a run, and its jobs. Out: the workers, and which jobs they work on. May import every stage and
`opening`, not `session`.
"""
