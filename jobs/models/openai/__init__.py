"""The provider "openai": any server that speaks OpenAI's HTTP API. Its JSON, statuses and headers stay in here.

endpoint       one model behind one address: a request out, a reply or an error of ours back
codec          a request as JSON, and JSON as a reply or an error, however it travels
bodies         a request as JSON
replies        JSON as a reply: texts, vectors, what it cost
refusals       statuses and the server's words as errors of ours
headers        limits and waiting times in headers
streams        an answer that comes piece by piece
batches        batches and their files
batch_lines    a request as a row of a batch, a line of results as a reply or an error
batch_states   what a server says of a batch
official       the client of the openai package, for files, batches and fine-tuning
"""

from __future__ import annotations
