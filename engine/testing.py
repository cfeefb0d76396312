"""Fakes for tests of jobs and of the engine: a call that plays a script. An endpoint to test against is
`jobs.simulator`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from engine.requests import Reply, Request, Usage

__all__ = ["ScriptedCall", "chat_reply", "embedding_reply", "scripted"]

Turn = Reply | str | BaseException | Callable[[Request], "Reply | str | BaseException"]


def scripted(*turns: Turn, forever: bool = False) -> ScriptedCall:
    """A `Call` that answers each request with the next of `turns`: a reply, the text of a chat answer, an exception to
    raise, or a function from the request to one of these.

    With `forever` the last turn is repeated; without it, one request too many is an AssertionError. The requests are
    kept in ``.requests``.
    """
    return ScriptedCall(turns, forever=forever)


class ScriptedCall:
    """What `scripted` returns."""

    def __init__(self, turns: Iterable[Turn], *, forever: bool = False) -> None:
        self.requests: list[Request] = []
        self._turns = list(turns)
        self._forever = forever

    async def __call__(self, request: Request) -> Reply:
        position = len(self.requests)
        self.requests.append(request)
        if position >= len(self._turns) and not (self._forever and self._turns):
            raise AssertionError(f"request {position + 1}, but only {len(self._turns)} turns are scripted")
        turn = self._turns[min(position, len(self._turns) - 1)]
        if callable(turn):
            turn = turn(request)
        if isinstance(turn, BaseException):
            raise turn
        return chat_reply(turn) if isinstance(turn, str) else turn

    @property
    def left(self) -> int:
        """How many turns are left."""
        return max(0, len(self._turns) - len(self.requests))


def chat_reply(text: str, *, prompt_tokens: int = 10, completion_tokens: int = 5) -> Reply:
    """The reply to a chat request that says `text`."""
    return Reply(text=text, usage=Usage(requests=1, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens))


def embedding_reply(vectors: Sequence[Sequence[float]], *, prompt_tokens: int = 10) -> Reply:
    """The reply to an embedding request: one vector per text, in order."""
    return Reply(vectors=[list(vector) for vector in vectors], usage=Usage(requests=1, prompt_tokens=prompt_tokens))
