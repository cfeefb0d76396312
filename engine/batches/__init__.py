"""Requests that travel in a provider's batches: answered within a day, for about half the price.

`batches` is the way in: calls that defer, and what the runner asks of them. A request goes through `outbox` into the file
of a batch; `courier` takes the batch to the provider and its results back; `results` finds the answers of a shard.
`journal` says why a kill at any instant is safe. `service` is the seam to a provider; `record` is what
``RUN/batches/N.json`` keeps of one batch, for the process that sends it and for those that read it.
"""
