from __future__ import annotations

from pathlib import Path

from decided import decision

from jobs.review.log import ReviewLog
from jobs.review.reviewed import Reviewed, reviewed
from jobs.run.folder import RunFolder


def stamp(folder: Path) -> str | None:
    return Reviewed(ReviewLog(folder)).stamp(0)


def test_a_run_without_reviews_has_no_such_dataset(tmp_path: Path) -> None:
    """Its jobs read what they read before; the folder comes with the first decision."""
    folder = RunFolder(tmp_path)
    assert reviewed(folder) == {}
    assert not folder.reviews.exists()
    ReviewLog(folder.reviews).append(0, decision("a"))
    assert reviewed(folder).keys() == {"reviews"}


def test_only_decisions_that_change_something_make_a_shard_another_one(tmp_path: Path) -> None:
    """Accepting a kept pair changes nothing; a rejection, an edit and accepting a refused pair do; undo takes it back."""
    log = ReviewLog(tmp_path)
    log.append(0, decision("a"))
    assert stamp(tmp_path) is None
    seen = {None}
    for change in (
        decision("b", "reject"),
        decision("c", "edit", question="Other?"),
        decision("c", "edit", question="Another?"),
        decision("d", refused="too_short"),
    ):
        before = stamp(tmp_path)
        made = log.append(0, change)
        assert stamp(tmp_path) not in seen
        seen.add(stamp(tmp_path))
        log.append(0, decision(change.pair_id, "undo", undoes=made.id))
        assert stamp(tmp_path) == before
        log.append(0, change)
    assert Reviewed(log).stamp(1) is None


def test_all_jobs_of_a_process_see_the_same_decisions(tmp_path: Path) -> None:
    """What is decided while a run works counts from the next one on."""
    log = ReviewLog(tmp_path)
    first = log.append(0, decision("a", "reject"))
    there = Reviewed(log)
    log.append(0, decision("b", "reject"))
    assert there.read(0) == [first]
    assert (there.read(1), there.sealed()) == ([], [0])
