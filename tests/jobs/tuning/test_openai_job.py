from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from engine.errors import BadInput, Fatal
from engine.events import Event
from engine.signals import Stopped
from engine.virtualtime import run_virtual
from jobs.config import Model
from jobs.records import Example
from jobs.simulator import Fault, FaultScript, Seen, simulated_endpoint
from jobs.tuning.events import FinetuneProgress
from jobs.tuning.export import write_dataset
from jobs.tuning.openai_job import finetune
from jobs.tuning.tuning_jobs import Hyperparameters, read_models, tuned_model

pytestmark = pytest.mark.slow  # each opens clients of its own, for a second of processor time

KEY = "sk-secret-0123456789"
BASE = "base-model"


class Provider:
    """OpenAI's fine-tuning routes, scripted: a job passes through `statuses`, one at each look at it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.jobs: list[dict[str, Any]] = []
        self.statuses = ["validating_files", "queued", "running", "succeeded"]
        self.error: dict[str, Any] | None = {}  # OpenAI's has no fields, or null ones, while all is well
        self.requests: list[str] = []
        self.fault: Callable[[int, bool], web.Response | None] = lambda number, answered: None
        self.pages = True
        self.file_status = "processed"

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._faulty])
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/fine_tuning/jobs", self._list)
        app.router.add_post("/v1/fine_tuning/jobs", self._create)
        app.router.add_get("/v1/fine_tuning/jobs/{id}", self._job)
        app.router.add_get("/v1/fine_tuning/jobs/{id}/events", self._events)
        return app

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """`fault` may answer in the place of a request, before and after it has had its effect."""
        self.requests.append(f"{request.method} {request.path}")
        assert request.headers["Authorization"] in (f"Bearer {KEY}", "Basic dXNlcjpwYXNz")
        number = len(self.requests)
        return self.fault(number, False) or (await self._after(number, await handler(request)))

    async def _after(self, number: int, response: web.StreamResponse) -> web.StreamResponse:
        return self.fault(number, True) or response

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "fine-tune"
        field = form["file"]
        assert isinstance(field, web.FileField)
        id = f"file-{len(self.files)}"
        self.files[id] = field.file.read()
        return web.json_response(
            {"id": id, "object": "file", "filename": field.filename, "bytes": 1, "status": self.file_status}
        )

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["model"] != BASE:
            return refusal(404, "model_not_found", f"The model {body['model']} does not exist")
        assert body["training_file"] in self.files
        id = f"job-{len(self.jobs)}"
        self.jobs.append(
            {
                "id": id,
                "object": "fine_tuning.job",
                "asked": body,
                "looks": 0,
                "error": self.error,
                "statuses": self.statuses,
                **body,
            }
        )
        return web.json_response(self._shown(self.jobs[-1]))

    async def _list(self, request: web.Request) -> web.Response:
        newest_first = [self._shown(job) for job in reversed(self.jobs)]
        ids = [job["id"] for job in newest_first]
        start = ids.index(request.query["after"]) + 1 if self.pages and "after" in request.query else 0
        return web.json_response({"object": "list", "data": newest_first[start : start + 1], "has_more": True})

    async def _job(self, request: web.Request) -> web.Response:
        job = next((job for job in self.jobs if job["id"] == request.match_info["id"]), None)
        if job is None:
            return refusal(404, "not_found", "no such job")
        job["looks"] += 1
        return web.json_response(self._shown(job))

    async def _events(self, request: web.Request) -> web.Response:
        job = next(job for job in self.jobs if job["id"] == request.match_info["id"])
        events = [
            {
                "id": f"{job['id']}-{n}",
                "created_at": n // 2,
                "level": "info",
                "message": f"step {n}",
                "data": {"step": n},
            }
            for n in range(job["looks"] + 1)
        ]
        return web.json_response({"object": "list", "data": events[::-1], "has_more": False})

    def _shown(self, job: dict[str, Any]) -> dict[str, Any]:
        status = job["statuses"][min(job["looks"], len(job["statuses"]) - 1)]
        model = f"ft:{BASE}:{job['id']}" if status == "succeeded" else None
        keys = ("id", "object", "model", "training_file", "validation_file", "metadata", "error")
        shown = {key: job.get(key) for key in keys}
        return {**shown, "status": status, "fine_tuned_model": model}


def refusal(status: int, code: str, message: str, **headers: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)


class Bench:
    """A run folder with a dataset, a provider, and a clock that only notes how long one would have slept."""

    def __init__(self, folder: Path, provider: Provider, url: str) -> None:
        self.folder = folder
        self.provider = provider
        self.url = url
        self.slept: list[float] = []
        self.events: list[FinetuneProgress] = []
        self.sleeps_left = 1000

    async def tune(self, url: str = "", model: str = BASE, **settings: Any) -> str:
        return await finetune(
            folder=self.folder,
            base=Model(model=model).model_copy(update={"base_url": url or self.url}),
            api_key=KEY,
            hyperparameters=Hyperparameters(**settings),
            poll_s=5,
            on_event=self._note,
            sleep=self._sleep,
        )

    def models(self) -> Any:
        return json.loads((self.folder / "models.json").read_bytes())

    def count(self, request: str) -> int:
        return self.provider.requests.count(request)

    def _note(self, event: Event) -> None:
        assert isinstance(event, FinetuneProgress)
        self.events.append(event)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > self.sleeps_left:
            raise Stopped("the run is stopping")


def write_examples(folder: Path, train: int, val: int) -> None:
    def example(number: int, split: str) -> Example:
        return Example(
            id=f"{split}{number}",
            parent="pair",
            pair_id="pair",
            paper_id="paper",
            title="On Mills",
            question="q",
            prompt=f"prompt {number}",
            answer="a",
            contexts=[],
            split=split,
        )

    rows = [example(n, "train") for n in range(train)] + [example(n, "val") for n in range(val)]
    write_dataset(folder / "dataset", rows, [], system_prompt="s", seed=0)


@pytest.fixture(autouse=True)
def no_key_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    provider = Provider()
    write_examples(tmp_path, 10, 2)
    async with TestServer(provider.app()) as server:
        yield Bench(tmp_path, provider, str(server.make_url("/v1")))


UPLOAD, CREATE, LIST = "POST /v1/files", "POST /v1/fine_tuning/jobs", "GET /v1/fine_tuning/jobs"


async def test_whole_path(bench: Bench) -> None:
    """Upload both files, start one job with its settings, wait, and keep the tuned model's name."""
    name = await bench.tune(epochs=3, learning_rate_multiplier=0.5, seed=7)

    assert name == f"ft:{BASE}:job-0"
    assert tuned_model(bench.folder) == name
    train, val = ((bench.folder / "dataset" / f"{side}.jsonl").read_bytes() for side in ("train", "val"))
    assert bench.provider.files == {"file-0": train, "file-1": val}
    asked = bench.provider.jobs[0]["asked"]
    key = bench.models()["jobs"][0]["key"]
    assert asked == {
        "model": BASE,
        "training_file": "file-0",
        "validation_file": "file-1",
        "seed": 7,
        "suffix": f"gristmill-{key[:8]}",
        "metadata": {"gristmill": key},
        "method": {
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 3, "learning_rate_multiplier": 0.5}},
        },
    }


async def test_models_json(bench: Bench) -> None:
    """models.json holds every id, the settings and the hashes of what was trained on, and no key or credentials."""
    await bench.tune(url=bench.url.replace("http://", "http://user:pass@"), epochs=3)

    (job,) = bench.models()["jobs"]
    assert bench.models()["models"] == {"tuned": f"ft:{BASE}:job-0"}
    assert job == {
        "key": job["key"],
        "backend": "openai",
        "endpoint": bench.url,
        "base_model": BASE,
        "training_file_sha256": hashlib.sha256(bench.provider.files["file-0"]).hexdigest(),
        "validation_file_sha256": hashlib.sha256(bench.provider.files["file-1"]).hexdigest(),
        "settings": {"epochs": 3, "batch_size": None, "learning_rate_multiplier": None, "seed": None},
        "training_file_id": "file-0",
        "validation_file_id": "file-1",
        "job_id": "job-0",
        "status": "succeeded",
        "tuned_model": f"ft:{BASE}:job-0",
        "error": None,
    }


async def test_plain_settings_leave_all_to_the_provider(bench: Bench) -> None:
    """Without hyperparameters none is sent, and a validation file without rows is not uploaded."""
    write_examples(bench.folder, 10, 0)
    await bench.tune()

    assert set(bench.provider.jobs[0]["asked"]) == {"model", "training_file", "suffix", "metadata"}
    assert bench.count(UPLOAD) == 1


async def test_a_finished_job_is_not_asked_about_again(bench: Bench) -> None:
    """The second call gives the same name and sends nothing."""
    name = await bench.tune()
    before = list(bench.provider.requests)

    assert await bench.tune() == name
    assert bench.provider.requests == before


async def test_progress(bench: Bench) -> None:
    """Each status and each of the provider's messages is told once, in order; pauses double up to poll_s."""
    bench.provider.statuses = ["queued", "running", "running", "running", "running", "succeeded"]
    await bench.tune()

    assert [event.message for event in bench.events if event.message] == [f"step {n}" for n in range(6)]
    assert [event.status for event in bench.events if not event.message] == ["queued", "running", "succeeded"]
    assert bench.slept == [1, 2, 4, 5, 5]
    assert [dict(event.data) for event in bench.events if event.message][5] == {"step": 5}


async def test_events_that_cannot_be_had(bench: Bench) -> None:
    """A provider without events still tunes: they are only there to be shown."""
    bench.provider.fault = lambda number, answered: (
        refusal(404, "unknown_url", "no") if bench.provider.requests[-1].endswith("/events") else None
    )
    assert await bench.tune() == f"ft:{BASE}:job-0"
    assert [event.status for event in bench.events] == bench.provider.statuses


async def test_stopped_while_waiting(bench: Bench) -> None:
    """A stop ends the waiting; the next call takes up the same job, with nothing uploaded or started again."""
    bench.sleeps_left = 1
    with pytest.raises(Stopped):
        await bench.tune()
    assert bench.models()["jobs"][0]["job_id"] == "job-0"
    assert tuned_model(bench.folder) is None

    bench.sleeps_left = 1000
    assert await bench.tune() == f"ft:{BASE}:job-0"
    assert (bench.count(UPLOAD), bench.count(CREATE)) == (2, 1)


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("number", range(1, 10))
async def test_killed_at_any_request(bench: Bench, number: int, answered: bool) -> None:
    """Whichever request is the last one, and whether or not it had its effect, one job is all that is ever started."""
    bench.provider.statuses = ["queued", "running", "succeeded"]
    async with asyncio.TaskGroup() as group:
        doomed = group.create_task(bench.tune())

        def kill(n: int, done: bool) -> web.Response | None:
            if (n, done) == (number, answered):
                doomed.cancel()
                return refusal(500, "", "")
            return None

        bench.provider.fault = kill
    assert doomed.cancelled()

    assert await bench.tune() == f"ft:{BASE}:job-0"
    assert len(bench.provider.jobs) == 1
    assert len(bench.provider.files) == (3 if answered and number <= 2 else 2)  # an upload unheard of is made again


async def test_lost_reply_to_the_creation(bench: Bench) -> None:
    """A job whose creation was answered by a fault is found by the next attempt, not started twice."""
    bench.provider.fault = lambda n, done: (
        refusal(502, "", "") if done and bench.provider.requests[-1] == CREATE else None
    )
    assert await bench.tune() == f"ft:{BASE}:job-0"
    assert bench.count(CREATE) == 1
    assert bench.count(LIST) == 2


async def test_a_torn_list_is_not_an_empty_one(bench: Bench) -> None:
    """A list that came without its jobs is asked for again, lest a job that exists be started twice."""
    await bench.tune()
    (bench.folder / "models.json").unlink()
    before = bench.count(LIST)
    bench.provider.fault = lambda number, answered: (
        web.json_response({}) if bench.provider.requests[-1] == LIST and bench.count(LIST) == before + 1 else None
    )
    assert await bench.tune() == f"ft:{BASE}:job-0"
    assert bench.count(CREATE) == 1


async def test_found_by_its_file_where_metadata_is_dropped(bench: Bench) -> None:
    """A provider that keeps no metadata still shows the training file, which is no other job's."""
    await bench.tune(epochs=1)
    bench.provider.fault = lambda n, done: (
        refusal(500, "", "") if done and bench.provider.requests[-1] == CREATE else None
    )
    bench.slept.clear()
    bench.sleeps_left = 0
    with pytest.raises(Stopped):
        await bench.tune(epochs=2)
    for job in bench.provider.jobs:
        job["metadata"] = None

    bench.sleeps_left = 1000
    assert await bench.tune(epochs=2) == f"ft:{BASE}:job-1"
    assert bench.count(CREATE) == 2


async def test_models_json_lost(bench: Bench) -> None:
    """Without models.json the job is found by the key in its metadata, however many others lie before it."""
    await bench.tune()
    await bench.tune(epochs=9)
    (bench.folder / "models.json").unlink()

    assert await bench.tune() == f"ft:{BASE}:job-0"
    assert bench.count(CREATE) == 2


async def test_a_provider_without_pages(bench: Bench) -> None:
    """A list that sends its first page for ever is read once."""
    bench.provider.pages = False
    await bench.tune(epochs=1)
    assert await bench.tune(epochs=2) == f"ft:{BASE}:job-1"


async def test_other_settings_or_files_are_another_job(bench: Bench) -> None:
    """Changed settings or a changed dataset start anew; both jobs stay in models.json and the last one counts."""
    await bench.tune(epochs=1)
    await bench.tune(epochs=2)
    write_examples(bench.folder, 11, 2)
    name = await bench.tune(epochs=2)

    assert name == f"ft:{BASE}:job-2"
    assert [job["tuned_model"] for job in bench.models()["jobs"]] == [f"ft:{BASE}:job-{n}" for n in range(3)]
    assert tuned_model(bench.folder) == name


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_failed_job(bench: Bench, status: str) -> None:
    """A job without a model ends in its reason; the next call starts a new one and keeps the old one on record."""
    bench.provider.statuses = ["running", status]
    bench.provider.error = {"code": "bad_data", "message": "line 3 is toxic"}
    with pytest.raises(Fatal, match=rf"job-0 {status} without a model: line 3 is toxic; fix that and run it again"):
        await bench.tune()
    assert bench.models()["jobs"][0]["status"] == status
    assert bench.models()["models"] == {}

    bench.provider.statuses, bench.provider.error = ["succeeded"], None
    assert await bench.tune() == f"ft:{BASE}:job-1"
    assert [job["status"] for job in bench.models()["jobs"]] == [status, "succeeded"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: refusal(401, "invalid_api_key", f"Incorrect API key {KEY}"), r"refused the key \(401\): check"),
        (lambda: refusal(403, "", "not for you"), r"refused the key \(403\)"),
        (lambda: refusal(404, "", "no such route"), "knows no such model, file or job: no such route; check model"),
        (lambda: refusal(429, "insufficient_quota", "pay"), "no quota left: add some"),
        (lambda: refusal(400, "invalid_file", f"bad file, key {KEY}"), r"refused: bad file, key \[key\]$"),
        (lambda: refusal(422, "", "what?"), r"refused: what\?$"),
    ],
)
async def test_fatal_answers(bench: Bench, answer: Callable[[], web.Response], message: str) -> None:
    """What no retry mends stops at once, in one line that says what to do and never holds the key."""
    bench.provider.fault = lambda number, answered: answer()
    with pytest.raises(Fatal, match=message) as caught:
        await bench.tune()

    assert len(bench.provider.requests) == 1
    assert bench.slept == []
    assert KEY not in repr(caught.getrepr(chain=True))
    assert not (bench.folder / "models.json").exists()


async def test_unknown_model(bench: Bench) -> None:
    """A model that cannot be tuned is Fatal with the provider's words."""
    with pytest.raises(Fatal, match=r"The model other does not exist.*check model and base_url"):
        await bench.tune(model="other")


@pytest.mark.parametrize(
    "answer",
    [
        lambda: refusal(500, "", "oops"),
        lambda: refusal(503, "", "busy"),
        lambda: refusal(409, "", "conflict"),
        lambda: refusal(408, "", "slow"),
        lambda: web.Response(text='{"id": "fi', content_type="application/json"),
        lambda: web.Response(text="{}", content_type="application/json"),
        lambda: web.Response(text="[]", content_type="application/json"),
        lambda: web.Response(text="<html>Welcome to the hotel's network", content_type="text/html"),
        lambda: web.json_response({"id": None, "status": 3, "data": 4}),
    ],
)
async def test_transient_answers(bench: Bench, answer: Callable[[], web.Response]) -> None:
    """Each request's first answer is a fault: all are tried again, and one job is made."""
    seen: set[str] = set()

    def fault(number: int, answered: bool) -> web.Response | None:
        request = bench.provider.requests[-1]
        if request in seen:
            return None
        seen.add(request)
        return answer()

    bench.provider.fault = fault
    assert await bench.tune() == f"ft:{BASE}:job-0"
    assert len(bench.provider.jobs) == 1
    assert len(seen) == 5


async def test_retry_after(bench: Bench) -> None:
    """What the server asks for is waited, before its own guess of a backoff."""
    bench.provider.fault = lambda number, answered: (
        refusal(429, "rate_limited", "slow down", **{"Retry-After": "7.5"}) if number == 1 else None
    )
    await bench.tune()
    assert bench.slept[0] == 7.5


async def test_a_provider_that_stays_down(bench: Bench) -> None:
    """Faults without end are given up after a bounded number of attempts, in a line that says how to go on."""
    bench.provider.fault = lambda number, answered: refusal(500, "", "oops")
    with pytest.raises(Fatal, match=r"does not answer: oops; run it again to go on"):
        await bench.tune()
    assert len(bench.provider.requests) == 6
    assert all(0.5 <= seconds <= 61 for seconds in bench.slept)


async def test_nobody_there(bench: Bench) -> None:
    """An address where nothing listens is said at once, without retries."""
    with pytest.raises(Fatal, match="does not answer: no connection"):
        await bench.tune(url=f"http://127.0.0.1:{unused_port()}/v1")
    assert bench.slept == []


async def test_network_gone_while_waiting(tmp_path: Path) -> None:
    """Once the job runs, a provider that cannot be reached for a while is waited for."""
    provider = Provider()
    write_examples(tmp_path, 10, 0)
    server = TestServer(provider.app(), port=unused_port())
    await server.start_server()
    bench = Bench(tmp_path, provider, str(server.make_url("/v1")))
    again = TestServer(provider.app(), port=server.port)

    async def sleep(seconds: float) -> None:
        bench.slept.append(seconds)
        if len(bench.slept) == 1:
            await server.close()
        if len(bench.slept) == 9:
            await again.start_server()

    bench._sleep = sleep  # type: ignore[method-assign]
    assert await bench.tune() == f"ft:{BASE}:job-0"
    assert len(bench.slept) > 9
    await again.close()


def bad_line(folder: Path) -> None:
    with (folder / "dataset" / "train.jsonl").open("ab") as file:
        file.write(b'{"messages": []}\n')


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: write_examples(folder, 9, 2),
            "9 training examples, but fine-tuning takes 10 or more: add papers",
        ),
        (
            lambda folder: (folder / "dataset" / "train.jsonl").unlink(),
            "0 training examples, but fine-tuning takes 10 or more",
        ),
        (bad_line, r"train.jsonl, line 11: not a line of a chat training file: no messages"),
    ],
)
async def test_preflight(bench: Bench, spoil: Callable[[Path], None], message: str) -> None:
    """A dataset that the provider would refuse is refused before anything is sent."""
    spoil(bench.folder)
    with pytest.raises(BadInput, match=message):
        await bench.tune()
    assert bench.provider.requests == []


async def test_no_validation_file(bench: Bench) -> None:
    """Without validation rows there is no validation file, and the job is started without one."""
    (bench.folder / "dataset" / "val.jsonl").unlink()
    assert await bench.tune() == f"ft:{BASE}:job-0"
    assert "validation_file" not in bench.provider.jobs[0]["asked"]


async def test_too_large(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beyond the provider's bound is not uploaded."""
    monkeypatch.setattr("jobs.tuning.openai_job.MAX_FILE_BYTES", 100)
    with pytest.raises(BadInput, match=r"train\.jsonl is larger than the .* that can be uploaded"):
        await bench.tune()


async def test_job_unknown_to_the_provider(bench: Bench) -> None:
    """A recorded job that the provider does not know is not silently started again."""
    bench.sleeps_left = 0
    with pytest.raises(Stopped):
        await bench.tune()
    bench.sleeps_left = 1000
    bench.provider.jobs.clear()
    with pytest.raises(Fatal, match=r"no such job.*delete models\.json to start again"):
        await bench.tune()


def test_damaged_models_json(tmp_path: Path) -> None:
    """A models.json that cannot be read is said, not overwritten; none at all is empty."""
    assert read_models(tmp_path / "models.json").jobs == ()
    (tmp_path / "models.json").write_text('{"jobs": [')
    with pytest.raises(Fatal, match="is damaged"):
        tuned_model(tmp_path)


class Simulated:
    """A run folder tuned at the simulated endpoint, in virtual time, where jobs take five minutes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 0.0
        self.requests = 0
        self.messages: list[str] = []

    async def tune(self, fault: FaultScript | None = None, **knobs: Any) -> str:
        knobs = {"tuning_queue_s": 60.0, "tuning_run_s": 240.0, **knobs}
        async with simulated_endpoint(fault=fault, api_key=KEY, models=(BASE,), **knobs) as server:
            try:
                return await finetune(
                    folder=self.folder,
                    base=Model(model=BASE, base_url=server.base_url),
                    api_key=KEY,
                    hyperparameters=Hyperparameters(epochs=2),
                    poll_s=20,
                    on_event=self._note,
                )
            finally:
                self.seconds = asyncio.get_running_loop().time()
                self.requests = server.counters.requests.total()

    def _note(self, event: Event) -> None:
        assert isinstance(event, FinetuneProgress)
        self.messages.append(event.message or event.status)


@pytest.fixture
def simulated(tmp_path: Path) -> Simulated:
    write_examples(tmp_path, 10, 2)
    return Simulated(tmp_path)


def test_an_hour_at_the_simulated_endpoint(simulated: Simulated) -> None:
    """A job of an hour is polled every 20 s, its milestones are told, and its model is the simulated one."""
    name = run_virtual(simulated.tune(tuning_run_s=3540.0))

    assert name.startswith(f"ft:{BASE}:simulated:gristmill-")
    assert 3600 <= simulated.seconds <= 3622
    assert simulated.requests <= 2 * 3600 / 20 + 20
    statuses = [text for text in simulated.messages if text in ("validating_files", "queued", "running", "succeeded")]
    assert statuses == ["validating_files", "queued", "running", "succeeded"]
    assert simulated.messages.index("Fine-tuning job started") < simulated.messages.index(
        "New fine-tuned model created"
    )


def test_failure_at_the_simulated_endpoint(simulated: Simulated) -> None:
    """A job that fails while it trains ends in the endpoint's reason."""
    with pytest.raises(Fatal, match="failed without a model: The job failed while training"):
        run_virtual(simulated.tune(tuning_fails=True))


def test_outage_at_the_simulated_endpoint(simulated: Simulated) -> None:
    """Ten minutes of faults in the middle of the training are waited out, and nothing is started twice."""

    def fault(seen: Seen) -> Fault | None:
        down = 600 < asyncio.get_running_loop().time() < 1200
        return Fault(kind="status", status=503) if down else None

    assert run_virtual(simulated.tune(fault, tuning_run_s=1800.0)).startswith("ft:")
    assert len(read_models(simulated.folder / "models.json").jobs) == 1


@pytest.mark.parametrize("word", ["completed", "SUCCESS", "Succeeded", "JOB_STATE_COMPLETED", "done", "unheard-of"])
def test_a_success_in_any_words(simulated: Simulated, word: str) -> None:
    """A job has succeeded by any provider's word for it, and by finished_at where the word is not known."""
    assert run_virtual(simulated.tune(tuning_word=word)).startswith("ft:")
    assert simulated.seconds < 400
    (job,) = read_models(simulated.folder / "models.json").jobs
    assert job.status == "succeeded"


@pytest.mark.parametrize(
    "word", ["error", "user_error", "canceled", "Expired", "FAILED_VALIDATION", "JOB_STATE_CANCELLED", "unheard-of"]
)
def test_a_failure_in_any_words(simulated: Simulated, word: str) -> None:
    """A job has failed by any provider's word for it, and by finished_at and an error; the next call begins a new one."""
    for _ in range(2):
        with pytest.raises(Fatal, match="without a model: The job failed while training"):
            run_virtual(simulated.tune(tuning_word=word, tuning_fails=True))
        assert simulated.seconds < 400
    assert len(read_models(simulated.folder / "models.json").jobs) == 2


def test_a_rejected_file_is_forgotten(simulated: Simulated) -> None:
    """A training file that the endpoint rejects ends this call; the next one uploads it again, and goes through."""
    with pytest.raises(Fatal, match=r"has status error; the next run uploads the files again"):
        run_virtual(simulated.tune(tuning_bad_files=1))
    (job,) = read_models(simulated.folder / "models.json").jobs
    assert (job.status, job.training_file_id, job.validation_file_id) == ("uploading", None, None)
    assert run_virtual(simulated.tune()).startswith("ft:")


async def test_a_file_that_is_rejected_at_once(bench: Bench) -> None:
    """A file whose upload is answered by an error is not written down."""
    bench.provider.file_status = "error"
    with pytest.raises(Fatal, match=r"rejected train\.jsonl: its status is error"):
        await bench.tune()
    assert not (bench.folder / "models.json").exists()


@pytest.mark.parametrize(
    "knobs",
    [
        {"tuning_file_s": 300.0},
        {"tuning_no_list": True},
        {"tuning_hidden": 2},
        {"tuning_name_s": 200.0},
        {
            "tuning_file_s": 90.0,
            "tuning_no_list": True,
            "tuning_hidden": 1,
            "tuning_name_s": 60.0,
            "tuning_word": "OK?",
        },
    ],
    ids=["file not ready", "no list", "404 once", "name late", "all"],
)
def test_a_provider_that_takes_its_time(simulated: Simulated, knobs: dict[str, Any]) -> None:
    """A file that is not ready, a list that is not there, a job that is not known yet, a name that is late: waited for."""
    assert run_virtual(simulated.tune(**knobs)).startswith("ft:")
    assert len(read_models(simulated.folder / "models.json").jobs) == 1


def test_a_name_that_never_comes(simulated: Simulated) -> None:
    """A job that has succeeded without a model ends after a while in one line, and not never."""
    with pytest.raises(Fatal, match="without a model: the provider gave no reason"):
        run_virtual(simulated.tune(tuning_name_s=1e9))
    assert simulated.seconds < 3 * 3600
