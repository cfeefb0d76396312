"""The whole configuration, and what "auto" means in it.

"auto" is resolved once, at the first run, and kept in ``run.toml``. Reading and writing TOML is in `jobs.run.configfile`.
"""

from __future__ import annotations

from collections.abc import Collection

from pydantic import Field

from jobs.config.cluster import Cluster
from jobs.config.curation import Curate
from jobs.config.evaluation import Evaluate
from jobs.config.generation import Answer, Ask
from jobs.config.models import Model, Models, Price
from jobs.config.parsing import Parse, Split
from jobs.config.prompts import Prompts
from jobs.config.retrieval import Augment, Index
from jobs.config.section import Section
from jobs.config.tuning import Export, Finetune

__all__ = ["ENOUGH_PAPERS", "Budget", "Config"]


class Budget(Section):
    """A cap on the whole run, restarts and --redo included. A cap in dollars needs the price of every model."""

    usd: float | None = Field(None, gt=0, description="Most dollars. Unset: no cap.")
    tokens: int | None = Field(None, gt=0, description="Most tokens, input and output together. Unset: no cap.")


class Config(Section):
    """Everything that a run depends on except papers and API keys."""

    seed: int = Field(0, description="Seed of all random choices.")
    models: Models = Models()
    parse: Parse = Parse()
    ask: Ask = Ask()
    answer: Answer = Answer()
    curate: Curate = Curate()
    index: Index = Index()
    augment: Augment = Augment()
    split: Split = Split()
    export: Export = Export()
    finetune: Finetune = Finetune()
    evaluate: Evaluate = Evaluate()
    prompts: Prompts = Prompts()
    budget: Budget = Budget()
    cluster: Cluster = Cluster()
    prices: dict[str, Price] = Field({}, description="Prices by the name of the model.")

    def model(self, role: str) -> Model:
        """The model of `role`, or of another section of [models], with its price: its own, else that of [prices]."""
        model = self.models.sections()[role]
        stated = self.prices.get(model.model, Price()).model_dump()
        if role == "embedding" and stated["output_usd_per_million"] is None:
            stated["output_usd_per_million"] = 0.0
        return model.model_copy(update={key: usd for key, usd in stated.items() if getattr(model, key) is None})

    @property
    def states_evidence(self) -> bool:
        """Whether the recipe "grounded" states the sentences that are asked about, as small models need it."""
        return self.ask.recipe == "evidence" or (self.ask.recipe == "grounded" and self.models.generator.local)

    def with_parser_of(self, before: Config | None) -> Config:
        """With the parser that the run had `before`, where none is configured: it reads the same kinds of files."""
        if before is None or "parser" in self.parse.model_fields_set:
            return self
        return self.model_copy(update={"parse": self.parse.model_copy(update={"parser": before.parse.parser})})

    def resolved(self, *, papers: int, before: Config | None = None, dropped: Collection[str] = ()) -> Config:
        """With each "auto" decided: as `before` in this run, or for a new run that begins with this number of papers.

        Candidates of `before` stay in it, but for those of the names in `dropped`."""
        recipe: str = "grounded" if self.models.generator.local or self.ask.types else "llama-index"
        method: str = "agreement" if self.models.judge.local else "score"
        by: str = "paper" if papers >= ENOUGH_PAPERS else "chunk"
        if before is not None:
            method, by = before.evaluate.method, before.split.by
            recipe = before.ask.recipe if before.ask.drafts or not self.ask.types else recipe
        values = self.model_dump()
        if before is not None:  # their answers were paid for
            candidates = before.model_dump()["models"]["candidates"]
            kept = {name: model for name, model in candidates.items() if name not in dropped}
            values["models"]["candidates"] = kept | values["models"]["candidates"]
        for section, key, decided in (("ask", "recipe", recipe), ("evaluate", "method", method), ("split", "by", by)):
            if values[section][key] == "auto":
                values[section][key] = decided
        if values["curate"]["round_trip"] == "auto":
            small = Config.model_validate(values).states_evidence
            values["curate"]["round_trip"] = before.curate.round_trip if before is not None else small
        return Config.model_validate(values)


ENOUGH_PAPERS = 20
"""With fewer, a split by paper often leaves one side empty (0.7²⁰ is below one in a thousand)."""
