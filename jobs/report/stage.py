"""The last step: the report, as a run is configured."""

from __future__ import annotations

import asyncio

from engine.job import Step
from jobs.evaluation.stage import compared, shows_in
from jobs.run.context import RunContext
from jobs.run.dataset_card import write_run_card

__all__ = ["build_report"]


def build_report(context: RunContext) -> Step:
    """``results.json`` and ``report.html``, from what the seals and verdicts say."""

    async def run() -> None:
        from jobs.report.collect import report_data
        from jobs.report.page import write_report

        await context.asked.draw()
        models = {row: model.model for row, model in compared(context).items()}
        data = await asyncio.to_thread(
            report_data,
            context.config,
            context.folder,
            context.datasets,
            models,
            context.embedded,
            shows_in(context),
        )
        await asyncio.to_thread(write_report, data, context.folder.path)
        await asyncio.to_thread(write_run_card, context.folder.path)
        context.show(data)

    return Step(name="report", run=run, waits_for=("judge", "assess", "rejudge", "prefer"))
