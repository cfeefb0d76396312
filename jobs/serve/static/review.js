// One pair after the other: a key decides, the server saves, and only its answer is shown as saved.
import { watch } from "/static/paper.js";

const WORDS = { accept: "accepted", edit: "edited", reject: "rejected", undo: "taken back" };
const REASONS = ["wrong", "not in the text", "unclear", "trivial", "repeats another"];

const review = document.getElementById("review");
const shown = document.getElementById("shown");
const state = document.getElementById("state");
const trouble = document.getElementById("trouble");
const who = document.getElementById("who");
const keys = document.getElementById("keys");
const done = document.getElementById("done");
const list = document.getElementById("keys-list");
const token = document.querySelector('meta[name="gristmill-token"]').content;

who.value = localStorage.getItem("gristmill-who") ?? "";
who.addEventListener("change", () => localStorage.setItem("gristmill-who", who.value));
keys.checked = localStorage.getItem("gristmill-keys") !== "off";
keys.addEventListener("change", () => localStorage.setItem("gristmill-keys", keys.checked ? "on" : "off"));

// Each tab is a reviewer of its own: the server sends no two of them to the same pair.
const browser = sessionStorage.getItem("gristmill-browser") ?? [...crypto.getRandomValues(new Uint32Array(4))].join("-");
sessionStorage.setItem("gristmill-browser", browser);
const made = JSON.parse(sessionStorage.getItem("gristmill-made") ?? "[]");

let busy = false;

const card = () => shown.querySelector(".reviewed-pair");
const place = () => Number(card()?.dataset.at ?? 0);

function address(at) {
  const { kind, seed, size, shard, pair } = review.dataset;
  return new URLSearchParams(pair ? { pair, shard, at } : { kind, seed, size, at });
}

function queue() {
  const { kind, seed, size, shard, pair } = review.dataset;
  return { kind, seed: Number(seed), size: Number(size), shard: Number(shard), pair };
}

function say(text, failed = false) {
  (failed ? trouble : state).textContent = text;
  trouble.hidden = !failed;
  if (failed) state.textContent = "";
}

async function show(at) {
  const asked = address(at);
  asked.set("browser", browser);
  const answer = await fetch(`/review/card?${asked}`);
  if (!answer.ok) {
    say(`This pair cannot be shown (${answer.status}); load the page again.`, true);
    return;
  }
  shown.innerHTML = await answer.text(); // every text in it was escaped by the server
  history.replaceState(null, "", `/review?${address(at)}`);
  watch(shown);
  card().focus();
}

async function save(decision, more = {}) {
  if (busy || !card()) return;
  busy = true;
  say("Saving …");
  const { shard, pair } = card().dataset;
  const decided = { shard: Number(shard), pair_id: pair, decision, at: place() - 1, ...more };
  try {
    const answer = await fetch("/review/decisions", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Gristmill-Token": token },
      body: JSON.stringify({ ...decided, who: who.value, browser, queue: queue() }),
    });
    const found = await answer.json().catch(() => ({ error: `the server answered ${answer.status}; load the page again` }));
    if (!answer.ok) throw new Error(found.error);
    await saved(decided, found);
  } catch (error) {
    say(`Not saved: ${error.message}`, true);
  } finally {
    busy = false;
  }
}

async function saved(decided, found) {
  if (decided.decision === "undo") {
    const place = made.findIndex((each) => each.undoes === decided.undoes);
    if (place >= 0) made.splice(place, 1);
  } else {
    made.push({ shard: decided.shard, pair_id: decided.pair_id, undoes: found.id, at: decided.at });
  }
  sessionStorage.setItem("gristmill-made", JSON.stringify(made.slice(-500)));
  const other = found.overrules;
  const over = other ? `, instead of ${WORDS[other.decision]} by ${other.who}` : "";
  say(`Saved: ${WORDS[found.decision]}${over}.`);
  if (found.next === null) {
    await show(place());
    done.hidden = false;
  } else {
    done.hidden = true;
    await show(found.next);
  }
}

function open(form) {
  for (const each of shown.querySelectorAll("form")) each.hidden = each !== form;
  form?.querySelector("textarea, input").focus();
  if (!form) card().focus();
}

function undo() {
  const last = made.at(-1);
  const { review: standing, shard, pair } = card()?.dataset ?? {};
  if (last) save("undo", last);
  else if (standing) save("undo", { shard: Number(shard), pair_id: pair, undoes: standing });
  else say("There is nothing to undo.");
}

function move(by) {
  const at = place() + by;
  if (busy || at < 1 || at > Number(card()?.dataset.total ?? 0)) return;
  say("");
  show(at);
}

const ACTS = {
  accept: () => save("accept"),
  edit: () => open(shown.querySelector(".editing")),
  reject: () => open(shown.querySelector(".rejecting")),
  leave: () => open(null),
  undo,
  next: () => move(1),
  previous: () => move(-1),
};
const KEYS = { a: "accept", e: "edit", r: "reject", u: "undo", j: "next", k: "previous" };

shown.addEventListener("click", (event) => ACTS[event.target.closest("[data-act]")?.dataset.act]?.());
shown.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const given = Object.fromEntries(new FormData(form));
  if (form.matches(".editing")) save("edit", given);
  else save("reject", { reason: REASONS[Number(given.reason.trim()) - 1] ?? given.reason });
});
document.getElementById("help").addEventListener("click", () => list.showModal());

document.addEventListener("keydown", (event) => {
  const writing = event.target.closest("input:not([type=checkbox]), textarea, select");
  if (writing && shown.contains(writing)) {
    if (event.key === "Escape") open(null);
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) writing.form.requestSubmit();
  }
  if (writing || list.open || !keys.checked || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = KEYS[event.key];
  if (act) ACTS[act]();
  else if (event.key === "?") list.showModal();
  else return;
  event.preventDefault();
});

async function begin() {
  if (review.dataset.at) return show(review.dataset.at);
  const answer = await fetch(`/review/next?${address(0)}&browser=${browser}`);
  const { next } = answer.ok ? await answer.json() : { next: null };
  if (next !== null) return show(next);
  if (review.dataset.pair) return show(1);
  done.hidden = false;
}

if (Number(review.dataset.total)) await begin();
review.dataset.ready = "";
