"""`gristmill batches RUN --cancel`: ask the providers to end the batches of a run.

Nothing is fetched here. What a batch had answered by then is there for the run, which goes on with it as with any batch
that has ended, and asks for the rest again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import groupby

import msgspec

from engine.batches.record import BatchRecord, read_records, write_record
from engine.batches.service import BatchService
from engine.errors import BadInput, Fatal, Transient
from jobs.config import Config, api_key
from jobs.models.providers import Target, batch_service
from jobs.run.folder import RunFolder
from jobs.tuning.tuning_jobs import tuned_model

__all__ = ["cancel_batches"]


def cancel_batches(folder: RunFolder) -> None:
    """Ask for every batch that has not ended to be ended, and print a line for each.

    Raises `BadInput` where another process works on the run, or where the key or the address is not that of a batch;
    `Fatal` where the provider cannot be asked.
    """
    config = folder.config()
    with folder.held(None):
        asyncio.run(_cancel(folder, config))


async def _cancel(folder: RunFolder, config: Config) -> None:
    waiting = [record for record in read_records(folder.batches) if record.file_id and record.state != "ended"]
    count = 0
    for role, records in groupby(sorted(waiting, key=lambda record: record.role), key=lambda record: record.role):
        async with batch_service(_target(folder, config, role)) as service:
            try:
                async for record in _cancelled(service, list(records)):
                    write_record(folder.batches, record)
                    count += 1
                    print(f"asked for the end of batch {record.number} ({record.batch_id})")
            except Transient as error:
                raise Fatal(f"the provider of [models.{role}] could not be asked ({error}): try again") from error
    if not count:
        print(f"{folder.path} has no batch at a provider")
        return
    print(
        "what they have answered is kept and paid: the command that began the run fetches it and asks for the rest, in "
        "new batches unless --set models.ROLE.batch=false is added"
    )


async def _cancelled(service: BatchService, records: list[BatchRecord]) -> AsyncIterator[BatchRecord]:
    """The record of each batch that was asked to end; a kill may have hidden the id of one whose file was uploaded."""
    for record in records:
        if record.account != service.account:
            raise BadInput(
                f"batch {record.number} belongs to another account or address than [models.{record.role}] has now: cancel "
                "it with the key and base_url with which it was made"
            )
    unknown = {record.file_id for record in records if not record.batch_id}
    found = {state.input_file: state.id async for state in service.list()} if unknown else {}
    for record in records:
        id_ = record.batch_id or found.get(record.file_id, "")
        if id_:
            await service.cancel(id_)
            yield msgspec.structs.replace(record, state="submitted", batch_id=id_, status="cancelling")


def _target(folder: RunFolder, config: Config, role: str) -> Target:
    section = "base" if role == "tuned" else role
    if section not in config.models.sections():
        raise BadInput(f"[models.{role}] is no longer configured, and has batches at its provider: add it again")
    model = config.model(section)
    name = (tuned_model(folder.path) if role == "tuned" else None) or model.model
    return Target(role=section, model=model, name=name, base_url=model.base_url, api_key=api_key(model, section))
