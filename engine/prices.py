"""What tokens cost."""

from __future__ import annotations

import msgspec

from engine.requests import Usage

__all__ = ["Price"]


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars per million input tokens and per million output tokens.

    Tokens read from a provider's cache, tokens written to it, and reasoning tokens have prices of their own; None is
    the price of input, of input, and of output. ``batch_discount`` is the share by which batch prices are lower.
    """

    input_usd_per_million: float
    output_usd_per_million: float
    cached_input_usd_per_million: float | None = None
    cache_write_usd_per_million: float | None = None
    reasoning_usd_per_million: float | None = None
    batch_discount: float = 0.0

    def usd(self, usage: Usage, *, batch: bool = False) -> float:
        """What `usage` costs; as a `batch`, with the discount."""
        cached, written, thoughts = usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens
        return self.of_tokens(usage.prompt_tokens, usage.completion_tokens, cached, written, thoughts, batch=batch)

    def of_tokens(
        self, prompt: int, completion: int, cached: int = 0, written: int = 0, thoughts: int = 0, *, batch: bool = False
    ) -> float:
        """Dollars for these numbers of tokens; `cached` and `written` are part of `prompt`, `thoughts` of `completion`.

        Parameters: more than six, one for each kind of token.
        """
        dollars = (prompt - cached - written) * self.input_usd_per_million
        if cached:
            dollars += cached * _or(self.cached_input_usd_per_million, self.input_usd_per_million)
        if written:
            dollars += written * _or(self.cache_write_usd_per_million, self.input_usd_per_million)
        dollars += (completion - thoughts) * self.output_usd_per_million
        if thoughts:
            dollars += thoughts * _or(self.reasoning_usd_per_million, self.output_usd_per_million)
        return dollars / 1e6 * (1 - self.batch_discount if batch else 1)

    def in_batches(self) -> Price:
        """The price of a row of a batch."""
        share = 1 - self.batch_discount
        return Price(
            input_usd_per_million=self.input_usd_per_million * share,
            output_usd_per_million=self.output_usd_per_million * share,
            cached_input_usd_per_million=_times(self.cached_input_usd_per_million, share),
            cache_write_usd_per_million=_times(self.cache_write_usd_per_million, share),
            reasoning_usd_per_million=_times(self.reasoning_usd_per_million, share),
        )

    def most_usd(self, *, prompt_tokens: int, completion_tokens: int) -> float:
        """The most that these tokens can cost, in dollars: none read from a cache, all written to it, and all of it reasoning."""
        dearest_in = max(self.input_usd_per_million, self.cache_write_usd_per_million or 0)
        dearest_out = max(self.output_usd_per_million, self.reasoning_usd_per_million or 0)
        return (prompt_tokens * dearest_in + completion_tokens * dearest_out) / 1e6


def _times(price: float | None, share: float) -> float | None:
    return None if price is None else price * share


def _or(price: float | None, otherwise: float) -> float:
    return otherwise if price is None else price
