"""The configuration: its sections, as frozen values. Every key has a default.

What is "auto" is resolved once, at the first run, and kept in ``run.toml``. Reading and writing are in `jobs.run.configfile`.
"""

from __future__ import annotations

import os
import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from engine.errors import BadInput

__all__ = ["ENOUGH_PAPERS", "Config", "Model", "api_key"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(_Section):
    """One role's model. ``model = "local"`` is the embedded one, ``"local:FILE.gguf"`` any other that llama.cpp reads,
    ``"local:FOLDER"`` a Hugging Face folder that is turned into one, which needs the extra "lora".

    ``api_key_env`` names the environment variable that holds the key; "" sends none. Prices are dollars for a million
    tokens; where they are not set, those of [prices] hold. ``temperature`` is left out of requests when it is "default".
    """

    model: str = Field("local", min_length=1)
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str = "OPENAI_API_KEY"
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    max_concurrency: int | None = Field(None, gt=0)
    ca_file: str = Field("", description="A PEM file of further CAs that may sign the server's certificate.")
    client_cert: str = Field("", description="A PEM file of the certificate to show to a server that asks for one.")
    client_key: str = Field("", description="The PEM file of its key, where that is not in the same file.")
    timeout_s: float = Field(120, gt=0)
    temperature: float | Literal["default"] = 0.0
    max_tokens: int = Field(1024, gt=0)
    batch_size: int = Field(64, gt=0)
    input_usd_per_million: float | None = Field(None, ge=0)
    output_usd_per_million: float | None = Field(None, ge=0)

    @field_validator("base_url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        if "@" in url.partition("//")[2].partition("/")[0] or "?" in url:
            raise ValueError("credentials do not belong into an address: put the key into the variable of api_key_env")
        return url

    @field_validator("api_key_env")
    @classmethod
    def _names_a_variable(cls, name: str) -> str:
        if name and not (name.isascii() and name.isidentifier()):
            raise ValueError("it is the name of an environment variable, as OPENAI_API_KEY, and not the key itself")
        return name

    @property
    def local(self) -> bool:
        return self.model == "local" or self.model.startswith("local:")

    @property
    def priced(self) -> bool:
        """Whether its cost can be told: its price was stated, or it runs here, where it is free."""
        return self.local or None not in (self.input_usd_per_million, self.output_usd_per_million)


class Price(_Section):
    """What a model costs, in dollars for a million tokens; ``[prices."NAME"]``. Embeddings have no output."""

    input_usd_per_million: float | None = Field(None, ge=0)
    output_usd_per_million: float | None = Field(None, ge=0)


class Models(_Section):
    """The four roles: who asks and answers, who is tuned and compared, who judges, who embeds.

    ``candidates`` are further models that are compared, each by the name of its row in the table."""

    generator: Model = Model()
    base: Model = Model()
    judge: Model = Model()
    embedding: Model = Model()
    candidates: dict[str, Model] = {}

    @field_validator("candidates")
    @classmethod
    def _have_names(cls, candidates: dict[str, Model]) -> dict[str, Model]:
        for name in candidates:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot name a candidate: take up to 40 letters, digits, - and _")
            if name.lower() in _TAKEN:
                raise ValueError(f"a candidate cannot be called {name!r}: that is a role; choose another name")
        return candidates

    def sections(self) -> dict[str, Model]:
        """Every model by the name of its section: the four roles, then "candidates.NAME" for each candidate."""
        roles = {role: getattr(self, role) for role in type(self).model_fields if role != "candidates"}
        return roles | {f"candidates.{name}": model for name, model in self.candidates.items()}


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_TAKEN = {"generator", "base", "tuned", "judge", "embedding", "candidates"}


class Parse(_Section):
    """Tokens of a chunk and of its overlap; papers of a shard; bounds on one paper; 0 workers means one a core."""

    chunk_size: int = Field(1024, gt=0)
    chunk_overlap: int = Field(200, ge=0)
    papers_per_shard: int = Field(32, gt=0)
    workers: int = Field(0, ge=0)
    timeout_s: float = Field(120, gt=0)
    memory_mb: int = Field(4096, ge=512)
    parser: str = Field(
        "auto",
        description='What reads papers: "auto" chooses by the ending of a file\'s name and by its first bytes; the name '
        'of a parser, as "pdf", reads files of that kind only; "module:function" is a parser of your own.',
    )

    @model_validator(mode="after")
    def _fits(self) -> Parse:
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError("parse.chunk_overlap must be smaller than parse.chunk_size")
        return self


class Ask(_Section):
    """``recipe`` is "llama-index" (its own prompts, then one answer a question) or "evidence" (a sentence of the chunk,

    the question it answers and the answer, in one call; what small models can do). "auto" takes "evidence" for a
    local generator. ``max_questions`` is spread evenly over all chunks; papers that are added to a run later get their
    share on top of it."""

    recipe: Literal["auto", "llama-index", "evidence"] = "auto"
    questions_per_chunk: int = Field(2, gt=0)
    max_questions: int | None = Field(None, gt=0)


class Answer(_Section):
    """``quotes = true`` (RAFT) asks for answers that quote their chunk, and keeps none whose quote is not in it."""

    quotes: bool = False


class Curate(_Section):
    """What a pair must pass before it is paid for again; each check is switched by itself, all off is no curation.

    ``rules`` looks at the words alone; lengths are in words. ``round_trip`` wants the question to find its chunk
    among the ``round_trip_top_k`` nearest; "auto" is on for the evidence recipe, whose small models ask vague
    questions, and off otherwise, because it chooses the very questions by which retrieval is measured later.
    ``near_duplicates`` keeps the first of two questions whose cosine is ``near_duplicate_cosine`` or more and that
    have the same numbers. Both cost no request: `augment` uses the same embedding. ``critic`` costs a chat call of the
    judge's for each pair, which gives 1 to 5 by a rubric; one below ``critic_passing`` refuses the pair."""

    rules: bool = True
    shortest_question: int = Field(3, ge=0)
    longest_question: int = Field(80, gt=0)
    shortest_answer: int = Field(2, ge=0)
    longest_answer: int = Field(400, gt=0)
    round_trip: bool | Literal["auto"] = "auto"
    round_trip_top_k: int = Field(10, gt=0)
    near_duplicates: bool = True
    near_duplicate_cosine: float = Field(0.97, ge=0.8, le=1)
    critic: bool = False
    critic_passing: int = Field(3, ge=1, le=5)

    @property
    def embeds(self) -> bool:
        """Whether a check needs the embedding of the question."""
        return self.round_trip is True or self.near_duplicates

    @property
    def on(self) -> bool:
        return self.rules or self.embeds or self.critic


class Augment(_Section):
    """``leave_out_validation`` keeps validation chunks out of the contexts of training examples.

    ``distractors`` (RAFT) gives the share ``distractor_share`` of training pairs their own chunk and so many
    retrieved ones that are neither it, nor its neighbours, nor its near-duplicates, in shuffled order, instead of the
    ``top_k``. The share ``without_source`` of these goes without its chunk; its answer is then the pair's, or
    ``abstention`` where ``without_source_answer = "abstain"``. Validation pairs always get what retrieval finds."""

    top_k: int = Field(1, gt=0)
    separate_context: bool = False
    scope: Literal["corpus", "paper"] = "corpus"
    leave_out_validation: bool = False
    distractors: int = Field(0, ge=0)
    distractor_share: float = Field(1.0, ge=0, le=1)
    without_source: float = Field(0.0, ge=0, le=1)
    without_source_answer: Literal["answer", "abstain"] = "answer"
    abstention: str = Field("The context does not answer this question.", min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Augment:
        if self.distractors and self.separate_context:
            raise ValueError("augment.distractors stand beside the source: set augment.separate_context = false")
        return self


class Split(_Section):
    """``by = "auto"`` is "paper", or "chunk" when there are fewer than 20 papers."""

    train: float = Field(0.7, ge=0, le=1)
    by: Literal["auto", "paper", "chunk", "question"] = "auto"


class Export(_Section):
    """The system prompt of the training data, and of all models when they are compared. ``{title}`` is the paper's."""

    system_prompt: str = "You are a helpful assistant that answers questions about the paper “{title}”."


class Finetune(_Section):
    """``backend = "openai"`` is any provider that speaks that API, with the model and key of [models.base].

    ``"lora"`` tunes a local base on this machine. ``epochs`` and ``batch_size`` are the provider's to choose where they
    are not set, and 3 and 4 here. ``learning_rate_multiplier`` and ``poll_s`` are for a provider; what follows them is
    for "lora". ``rank``, ``alpha`` and ``dropout`` are LoRA's, on all linear layers. ``learning_rate`` is the highest:
    it rises over the first tenth of the steps and falls over the others. An example of more than ``max_length`` tokens
    loses the middle of its prompt. A step is one batch; a checkpoint is written ``checkpoint_every`` steps, and the loss
    on validation data taken ``validate_every`` steps. ``precision = "auto"`` is bfloat16 where the hardware has it."""

    backend: Literal["none", "openai", "lora"] = "none"
    epochs: int | None = Field(None, gt=0)
    batch_size: int | None = Field(None, gt=0)
    learning_rate_multiplier: float | None = Field(None, gt=0)
    poll_s: float = Field(20, gt=0)
    learning_rate: float = Field(2e-4, gt=0)
    rank: int = Field(16, gt=0)
    alpha: float = Field(32, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)
    max_length: int = Field(2048, ge=64)
    checkpoint_every: int = Field(20, gt=0)
    validate_every: int = Field(20, gt=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


class Evaluate(_Section):
    """``sample`` pairs of each split are evaluated, chosen by hash. ``method`` is "score" (LlamaIndex's 1 to 5) or

    "agreement" (the probability that the judge agrees with the reference; for models too small to give a score).
    "auto" takes "agreement" for a local judge. ``without_retrieval`` has every model answer the bare questions too, so
    that the table tells what retrieval adds. ``pairs`` is the file whose pairs are evaluated instead of a run's own,
    as ``gristmill evaluate FILE`` sets it.

    ``metrics`` are further ones, beside correctness and semantic similarity: "exact_match", "token_f1" and "rouge_l"
    compare words and cost nothing; "faithfulness" and "relevancy", and any evaluator of LlamaIndex's by the name of its
    class ("llama:GuidelineEvaluator"), ask the judge once about each response.

    So many pairs of each split, of those in the sample, have their answers judged a second time (``rejudge``), for the
    judge's own noise, and set beside the base's answers in both orders (``pairwise``)."""

    sample: int = Field(50, gt=0)
    without_retrieval: bool = False
    pairs: str = ""
    method: Literal["auto", "score", "agreement"] = "auto"
    rejudge: int = Field(0, ge=0)
    pairwise: int = Field(0, ge=0)
    metrics: tuple[str, ...] = ()

    @field_validator("metrics")
    @classmethod
    def _once_each(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(metrics))


class Budget(_Section):
    """A cap over the whole run, restarts and --redo included, in dollars or in tokens; unset is no cap.

    One in dollars needs the price of every model; 0 is a price."""

    usd: float | None = Field(None, gt=0)
    tokens: int | None = Field(None, gt=0)


class Config(_Section):
    """Everything that a run depends on, but for papers and keys."""

    seed: int = 0
    models: Models = Models()
    parse: Parse = Parse()
    ask: Ask = Ask()
    answer: Answer = Answer()
    curate: Curate = Curate()
    augment: Augment = Augment()
    split: Split = Split()
    export: Export = Export()
    finetune: Finetune = Finetune()
    evaluate: Evaluate = Evaluate()
    budget: Budget = Budget()
    prices: dict[str, Price] = {}

    def model(self, role: str) -> Model:
        """The model of `role`, or of another section of [models], with its price: its own, else what [prices] says of a model of that name."""
        model = self.models.sections()[role]
        stated = self.prices.get(model.model, Price()).model_dump()
        if role == "embedding" and stated["output_usd_per_million"] is None:
            stated["output_usd_per_million"] = 0.0
        return model.model_copy(update={key: usd for key, usd in stated.items() if getattr(model, key) is None})

    def with_parser_of(self, before: Config | None) -> Config:
        """With the parser that the run had `before`, where none is configured: it reads the same kinds of files."""
        if before is None or "parser" in self.parse.model_fields_set:
            return self
        return self.model_copy(update={"parse": self.parse.model_copy(update={"parser": before.parse.parser})})

    def resolved(self, *, papers: int, before: Config | None = None) -> Config:
        """With each "auto" decided: as it was `before` in this run, or for a run that begins with so many papers.

        The candidates that the run has had stay in it."""
        recipe: str = "evidence" if self.models.generator.local else "llama-index"
        method: str = "agreement" if self.models.judge.local else "score"
        by: str = "paper" if papers >= ENOUGH_PAPERS else "chunk"
        if before is not None:
            recipe, method, by = before.ask.recipe, before.evaluate.method, before.split.by
        values = self.model_dump()
        if before is not None:  # what they have answered was paid for
            candidates = before.model_dump()["models"]["candidates"]
            values["models"]["candidates"] = candidates | values["models"]["candidates"]
        for section, key, decided in (("ask", "recipe", recipe), ("evaluate", "method", method), ("split", "by", by)):
            if values[section][key] == "auto":
                values[section][key] = decided
        if values["curate"]["round_trip"] == "auto":
            found = values["ask"]["recipe"] == "evidence"
            values["curate"]["round_trip"] = before.curate.round_trip if before is not None else found
        return Config.model_validate(values)


ENOUGH_PAPERS = 20
"""With fewer, a split by paper may well leave a side empty (0.7²⁰ is below one in a thousand)."""


def api_key(model: Model, role: str) -> str:
    """The key of `model` from its environment variable; raises `BadInput` naming the variable when it cannot be used."""
    if not model.api_key_env:
        return ""
    key = os.environ.get(model.api_key_env, "").strip()
    if not key:
        raise BadInput(
            f"[models.{role}] needs a key: set the environment variable {model.api_key_env}, "
            'or api_key_env = "" for an endpoint that wants none'
        )
    if not (key.isascii() and key.isprintable()):
        raise BadInput(
            f"the environment variable {model.api_key_env} of [models.{role}] holds what no key can: a line break, a "
            "control character or a letter that is not ASCII; set it anew"
        )
    return key
