"""Requests that travel in a provider's batches: answered within a day, for about half the price.

`record` is what ``RUN/batches/N.json`` keeps of one batch, for whoever sends it and whoever looks at it.
"""
