from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from browser import Reader
from reviewable import body, cards, decided, reviewable
from served import client, site
from served_run import HOSTILE, sealed_run

from engine.files import make_folder
from jobs.review.decisions import standing
from jobs.review.log import ReviewLog
from jobs.serve.access import HEADER


def first(html: str) -> str:
    found = re.search(r'data-pair="([^"]+)"', html)
    assert found
    return found[1]


async def test_a_pair_with_its_chunk_and_its_page(tmp_path: Path) -> None:
    """The card has question, answer, the critic's words, the chunk, and the page as it is printed; nothing is written."""
    reviewable(tmp_path)
    async with client(site(tmp_path)) as browser:
        html = await cards(browser, 1)
        page = await (await browser.get("/review")).text()
    number = int(first(html)[5:])
    for words in (
        f"What does pair-{number} ask?",
        f"The text of paper-{number // 2}-0.",
        "The critic: grounded",
        "So.",
    ):
        assert words in html
    assert f"/papers/{number // 10}/paper-{number // 2}/pages/1.png" in html
    assert "<kbd>a</kbd>" in page
    assert not (tmp_path / "reviews").exists()


async def test_decisions_are_rows(tmp_path: Path) -> None:
    """Accept, edit, reject with a reason and undo: who, when, before and after, each in the file of its pair's shard."""
    reviewable(tmp_path)
    async with client(site(tmp_path)) as browser:
        assert (await decided(browser, "pair-0"))[0] == 200
        _, edit = await decided(browser, "pair-12", "edit", question=" Why? ", answer="So.")
        assert (await decided(browser, "pair-13", "reject", reason="trivial", queue={"kind": "critic"}))[0] == 200
        status, undo = await decided(browser, "pair-12", "undo", undoes=edit["id"], at=7)
    assert (status, undo["next"]) == (200, 8), "the page goes back to the pair"
    log = ReviewLog(tmp_path / "reviews")
    assert log.shards() == [0, 1]
    made, rejected, taken_back = log.rows(1)
    assert (made.who, made.before.question, made.after and made.after.question) == (
        "Ada",
        "What does pair-12 ask?",
        "Why?",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", made.when)
    assert (rejected.reason, rejected.queue, taken_back.undoes) == ("trivial", "critic", made.id)
    assert standing(log.rows(1)).keys() == {"pair-13"}
    assert log.rows(0)[0].queue == "random"


async def test_an_edited_pair_is_shown_in_its_words_and_accepted_as_shown(tmp_path: Path) -> None:
    """Accepting an edited pair does not bring the generated words back."""
    reviewable(tmp_path)
    async with client(site(tmp_path)) as browser:
        await decided(browser, "pair-3", "edit", question="Better?", answer="Yes.")
        assert "Better?" in await cards(browser, 1, pair="pair-3", shard=0)
        assert (await decided(browser, "pair-3"))[1]["decision"] == "edit"
    after = standing(ReviewLog(tmp_path / "reviews").rows(0))["pair-3"].after
    assert after is not None
    assert (after.question, after.answer) == ("Better?", "Yes.")


@pytest.mark.parametrize(
    ("pair_id", "decision", "more", "status", "words"),
    [
        ("pair-0", "edit", {"question": " ", "answer": "So."}, 409, "needs a question and an answer"),
        ("pair-0", "edit", {"question": "What does pair-0 ask?", "answer": "The answer of pair-0."}, 409, "nothing is"),
        ("pair-0", "edit", {"question": "?" * 20_001, "answer": "So."}, 409, "at most 20,000"),
        ("pair-0", "reject", {"reason": " "}, 409, "say why"),
        ("pair-0", "undo", {"undoes": "nothing"}, 409, "taken back before"),
        ("pair-99", "accept", {}, 409, "not in the run any more"),
        ("pair-0", "shrug", {}, 400, "no decision"),
        ("pair-0", "accept", {"more": 1}, 400, "no decision"),
    ],
)
async def test_what_cannot_be_is_not_saved(
    tmp_path: Path, pair_id: str, decision: str, more: dict[str, str], status: int, words: str
) -> None:
    """The answer says why, and no row is written."""
    reviewable(tmp_path)
    async with client(site(tmp_path)) as browser:
        got, answer = await decided(browser, pair_id, decision, **more)
    assert got == status
    assert words in answer["error"]
    assert not (tmp_path / "reviews").exists()


async def test_a_decision_that_the_disk_refuses_is_not_called_saved(tmp_path: Path) -> None:
    """The answer is an error that says what to do."""
    reviewable(tmp_path)
    (tmp_path / "reviews").write_text("a file where the folder should be", "utf-8")
    async with client(site(tmp_path)) as browser:
        status, answer = await decided(browser, "pair-0")
    assert status == 500
    assert "reviews" in answer["error"]


async def test_a_decision_needs_the_token(tmp_path: Path) -> None:
    """A form of another site saves nothing."""
    reviewable(tmp_path)
    async with client(site(tmp_path)) as browser:
        refused = await browser.post("/review/decisions", json=body("pair-0"), headers={HEADER: ""})
    assert refused.status == 403
    assert not (tmp_path / "reviews").exists()


async def test_two_browsers_work_on_one_queue(tmp_path: Path) -> None:
    """Neither is sent to the pair that is before the other; together they decide on each pair once."""
    reviewable(tmp_path, 30)
    queue = {"kind": "random", "seed": 3, "size": 20}

    async def work(browser: object, name: str) -> list[str]:
        seen: list[str] = []
        at = (await (await one.get("/review/next", params={**_text(queue), "browser": name})).json())["next"]
        while at is not None:
            html = await cards(one, at, **queue, browser=name)
            seen.append(first(html))
            await asyncio.sleep(0)
            _, saved = await decided(one, seen[-1], at=at - 1, queue=queue, browser=name)
            at = saved["next"]
        return seen

    async with client(site(tmp_path)) as one:
        found = await asyncio.gather(work(one, "a"), work(one, "b"))
    log = ReviewLog(tmp_path / "reviews")
    rows = [row for shard in log.shards() for row in log.rows(shard)]
    assert len(set(found[0]) | set(found[1])) == 20
    assert len(rows) == len(found[0]) + len(found[1]) <= 21, "only the very last pair may be before both"
    assert min(map(len, found)) >= 5


def _text(queue: dict[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in queue.items()}


async def test_the_later_of_two_decisions_counts_and_says_what_it_overrules(tmp_path: Path) -> None:
    """Both rows stay; an undo takes back its own row alone, so the other one's counts again."""
    reviewable(tmp_path)
    async with client(site(tmp_path)) as browser:
        _, accepted = await decided(browser, "pair-4", who="Ada")
        _, rejected = await decided(browser, "pair-4", "reject", reason="wrong", who="Ben")
        assert rejected["overrules"]["who"] == "Ada"
        assert "rejected" in await cards(browser, 1, pair="pair-4", shard=0)
        await decided(browser, "pair-4", "undo", undoes=rejected["id"])
        status, again = await decided(browser, "pair-4", "undo", undoes=rejected["id"])
    assert status == 409
    assert "taken back before" in again["error"]
    found = standing(ReviewLog(tmp_path / "reviews").rows(0))
    assert found["pair-4"].id == accepted["id"]


async def test_decisions_of_another_process_are_seen(tmp_path: Path) -> None:
    """A pair that another server of the run has decided on is decided here, too."""
    reviewable(tmp_path)
    async with client(site(tmp_path)) as one, client(site(tmp_path)) as other:
        pair_id = first(await cards(one, 1))
        assert "accepted" not in await cards(one, 1)
        await decided(other, pair_id)
        assert "accepted" in await cards(one, 1)
        asked = await (await one.get("/review/next")).json()
    assert asked["next"] == 2


async def test_a_refused_pair_may_be_decided_on_by_itself(tmp_path: Path) -> None:
    """Its row says for what curation had refused it, and that no queue had chosen it."""
    reviewable(tmp_path)
    async with client(site(tmp_path)) as browser:
        assert "Curation has refused it" in await cards(browser, 1, pair="pair-9", shard=0)
        await decided(browser, "pair-9", queue={"kind": "", "size": 1, "shard": 0, "pair": "pair-9"})
    [row] = ReviewLog(tmp_path / "reviews").rows(0)
    assert (row.refused, row.queue) == ("too_short", "")


@pytest.mark.parametrize("path", ["/review/card?at=0", "/review/card?at=31", "/review/card?pair=nothing&shard=0&at=1"])
async def test_a_place_that_is_not_there(tmp_path: Path, path: str) -> None:
    """It is not found, and no pair is shown in its stead."""
    reviewable(tmp_path)
    async with client(site(tmp_path)) as browser:
        assert (await browser.get(path)).status == 404


async def test_pairs_of_a_file_are_changed_in_the_file(tmp_path: Path) -> None:
    """The page says so."""
    make_folder(tmp_path / "pairs")
    (tmp_path / "pairs" / "job.json").write_text('{"job": "deal", "fingerprint": {}}', "utf-8")
    async with client(site(tmp_path)) as browser:
        assert "are from a file" in await (await browser.get("/review")).text()


@pytest.mark.parametrize("path", ["/review", "/review/card?at=1", "/review/card?pair=p1&shard=0&at=1"])
async def test_texts_from_outside_stay_text(tmp_path: Path, path: str) -> None:
    """Questions, answers, papers, names and reasons that are HTML, script and escapes give no tag and no attribute."""
    sealed_run(tmp_path, text=HOSTILE)
    async with client(site(tmp_path)) as browser:
        made = {"decision": "reject", "reason": HOSTILE, "who": HOSTILE, "shard": 0, "pair_id": "p1"}
        assert (await browser.post("/review/decisions", json=made)).status == 200
        edit = {**made, "decision": "edit", "question": HOSTILE + "?", "answer": HOSTILE, "reason": "", "pair_id": "p2"}
        assert (await browser.post("/review/decisions", json=edit)).status == 200
        html = await (await browser.get(path)).text()
    reader = Reader(html)
    assert not {"\x1b", "\u202e"} & set(html)
    assert all(values.get("src", "/").startswith("/") for tag, values in reader.tags if tag in ("script", "img"))
    assert not [name for _, values in reader.tags for name in values if name.startswith("on") or name == "style"]
    assert path == "/review" or "<script>alert(1)</script>" in reader.text
