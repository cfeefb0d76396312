from __future__ import annotations

from jobs.serve.survey import Looked, Survey


def test_each_look_goes_further() -> None:
    """A look without time sees one shard more; what was seen is not read again, and the end is known."""
    read: list[int] = []

    def seen(index: int) -> int:
        read.append(index)
        return 10 * index

    survey = Survey(seen, lambda only: {0: "a", 1: "a", 2: "a"})
    assert [survey.further(0) for _ in range(4)] == [Looked(1, 3), Looked(2, 3), Looked(3, 3), Looked(3, 3)]
    assert survey.found() == {0: 0, 1: 10, 2: 20}
    assert read == [0, 1, 2]


def test_what_has_changed_is_read_again() -> None:
    """A shard with another stamp is read anew, and one that is gone is forgotten."""
    stamps = {0: "a", 1: "a"}
    read: list[int] = []
    survey = Survey(read.append, lambda only: stamps)
    assert survey.further(60).whole
    stamps[1] = "b"
    assert survey.further(60).whole
    assert read == [0, 1, 1]
    del stamps[0]
    survey.further(60)
    assert list(survey.found()) == [1]
