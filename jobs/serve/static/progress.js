// Keeps the page as the run is: each message holds how it stands now, and the points and lines since the last one seen.
// The browser connects again by itself and names the last message that it has seen, so nothing is lost.
const SVG = "http://www.w3.org/2000/svg";
const LINES = 200;
const WORDS = {
  works: "A process works on this run.",
  done: "All jobs are done.",
  stopped: "No process works on this run, and it is not finished.",
};
let points = [];
let drawnAt = 0;

const find = (id) => document.getElementById(id);
const count = (number) => Math.round(number).toLocaleString("en");
const dollars = (usd, digits = 4) => `$${usd.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;

function legible(text) {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 60) return `${seconds >= 9.95 ? seconds.toFixed(0) : seconds.toFixed(1)} s`;
  const minutes = Math.floor(Math.round(seconds) / 60);
  const rest = (number) => String(number).padStart(2, "0");
  return minutes < 60 ? `${minutes} min ${rest(Math.round(seconds) % 60)} s` : `${Math.floor(minutes / 60)} h ${rest(minutes % 60)} min`;
}

function made(tag, { text = "", ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.append(legible(text));
  element.append(...children.filter((child) => child !== null));
  return element;
}

function figure(label, text, more = "") {
  return made("td", { class: text === "–" ? "number nothing" : "number", "data-label": label, text }, more ? made("span", { class: "small", text: more }) : null);
}

function part(text, of) {
  return of === null ? [text] : [text, made("span", { class: "small", text: of })];
}

function jobRow(job) {
  const badge = { done: "good", works: "now" }[job.state] ?? "open";
  const failed = Object.entries(job.failed);
  const total = job.total === null ? "" : ` of ${job.exact ? "" : "≈ "}${count(job.total)}`;
  return made("tr", {},
    made("th", { scope: "row" },
      made("bdi", { text: job.job }), " ", made("span", { class: `badge ${badge}`, text: job.state }),
      job.waits_for ? made("span", { class: "small wait" }, made("bdi", { text: job.waits_for })) : null),
    made("td", {},
      made("progress", { max: Math.max(1, job.total ?? 1), value: job.done, "aria-label": job.job }),
      made("span", { class: "small", text: count(job.done) + total })),
    figure("A second", job.per_second ? job.per_second.toFixed(1) : "–"),
    figure("In flight", job.in_flight === null ? "–" : count(job.in_flight)),
    figure("Failed",
      failed.length ? count(failed.reduce((sum, [, number]) => sum + number, 0)) : "–",
      failed.map(([kind, number]) => `${count(number)} ${kind.replaceAll("_", " ")}`).join(", ")),
    figure("Tokens", job.tokens ? count(job.tokens) : "–"),
    figure("Cost", job.usd ? dollars(job.usd) : "–"),
    figure("Left", job.left_s ? duration(job.left_s) : "–"));
}

function share(label, used, limit) {
  const cell = figure(label, count(used), limit ? `of ${count(limit)}` : "no limit is known");
  if (limit) cell.append(made("meter", { min: 0, max: limit, value: Math.min(used, limit), "aria-label": label }));
  return cell;
}

function limitRow(limit) {
  return made("tr", {},
    made("td", {}, made("bdi", { text: limit.model }), made("span", { class: "small path" }, made("bdi", { text: limit.address }))),
    figure("In flight", `${count(limit.in_flight)} of ${count(limit.window)}`),
    figure("Waiting", count(limit.waiting), limit.paused_s ? `the server asks for a pause of ${duration(limit.paused_s)}` : ""),
    share("Requests a minute", limit.requests, limit.requests_per_minute),
    share("Tokens a minute", limit.tokens, limit.tokens_per_minute));
}

function plot(job) {
  const first = points[0].at - points[0].seconds;
  const last = points[points.length - 1].at;
  const rates = [];
  let until = first;
  for (const { at, seconds, rates: all } of points) { // each rate holds for its seconds, and nothing was done between
    const since = Math.max(until, at - seconds);
    if (since > until + 1) rates.push([until, 0], [since, 0]);
    rates.push([since, all[job] ?? 0], [at, all[job] ?? 0]);
    until = at;
  }
  const highest = Math.max(...rates.map(([, rate]) => rate));
  const across = (at) => last > first ? 300 * (at - first) / (last - first) : 300;
  const line = rates.map(([at, rate]) => `${across(at).toFixed(1)},${(58 - 54 * rate / highest).toFixed(1)}`).join(" ");
  const picture = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 300 60", preserveAspectRatio: "none", role: "img" })) picture.setAttribute(name, value);
  picture.setAttribute("aria-label", `${job}: up to ${highest.toFixed(1)} a second`);
  for (const [kind, list] of [["area", `0,58 ${line} 300,58`], ["line", line]]) {
    const shape = document.createElementNS(SVG, kind === "area" ? "polygon" : "polyline");
    shape.setAttribute("class", kind);
    shape.setAttribute("points", list);
    picture.append(shape);
  }
  const when = (at) => new Date(1000 * at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return made("figure", { class: "rate" },
    made("figcaption", {}, made("b", { text: job }), made("span", { class: "small", text: `up to ${highest.toFixed(1)} a second` })),
    picture,
    made("p", { class: "small times" }, made("span", { text: when(first) }), made("span", { text: when(last) })));
}

function drawRates(jobs) {
  const seen = jobs.map((job) => job.job).filter((job) => points.some((point) => point.rates[job]));
  find("rates-part").hidden = !seen.length;
  find("rates").replaceChildren(...seen.map(plot));
}

function show(message) {
  const now = message.now;
  if (message.whole) {
    points = [];
    find("log").replaceChildren();
  }
  points.push(...message.points);
  const words = now.ended ? `${WORDS[now.state]} The server of this page has ended.` : WORDS[now.state];
  if (find("state").textContent !== words) find("state").textContent = words;
  document.body.dataset.state = now.state;
  find("left").textContent = duration(now.left_s);
  find("usd").replaceChildren(...part(dollars(now.usd), now.usd_budget === null ? null : `of ${dollars(now.usd_budget, 2)}`));
  find("tokens").replaceChildren(...part(count(now.tokens), now.tokens_budget === null ? null : `of ${count(now.tokens_budget)}`));
  find("flying").hidden = now.in_flight === null;
  find("in-flight").textContent = count(now.in_flight ?? 0);
  if (now.jobs.length) find("jobs").replaceChildren(...now.jobs.map(jobRow));
  find("limits-part").hidden = !now.limits?.length;
  find("limits").replaceChildren(...(now.limits ?? []).map(limitRow));
  if (message.whole || now.ended || Date.now() - drawnAt > 2000) {
    drawnAt = Date.now();
    drawRates(now.jobs);
  }
  for (const { at, job, what, text } of message.happened) {
    const time = new Date(1000 * at);
    find("log").prepend(made("li", {},
      made("time", { datetime: time.toISOString(), text: time.toLocaleTimeString("en-GB") }), " ",
      made("b", { text: job }), " ", made("span", { class: "small", text: what.replaceAll("_", " ") }), " ", made("bdi", { text })));
  }
  while (find("log").children.length > LINES) find("log").lastChild.remove();
  find("log-part").hidden = !find("log").children.length;
}

const source = new EventSource("/progress/events");
source.onmessage = (event) => {
  const message = JSON.parse(event.data);
  show(message);
  if (message.now.ended) source.close();
};
source.onerror = () => {
  find("state").textContent = "The server does not answer. This page goes on when it does again.";
};
