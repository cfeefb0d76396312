// Marks the chunks, what was left out, and what pairs rely on over the pages, when a page comes into view.
const SVG = "http://www.w3.org/2000/svg";

async function mark(sheet) {
  const answer = await fetch(sheet.dataset.marks);
  const found = await answer.json();
  if (!answer.ok) {
    sheet.querySelector(".failed").textContent = found.error;
    sheet.classList.add("missing");
    return;
  }
  const image = sheet.querySelector("img");
  image.width = found.width;
  image.height = found.height;
  const over = document.createElementNS(SVG, "svg");
  over.setAttribute("viewBox", `0 0 ${found.width} ${found.height}`);
  over.setAttribute("aria-hidden", "true");
  for (const each of found.marks) {
    const box = document.createElementNS(SVG, "rect");
    for (const side of ["x", "y", "width", "height"]) box.setAttribute(side, each[side]);
    box.setAttribute("class", each.kind === "chunk" ? `chunk-${each.number % 2}` : each.kind);
    box.dataset[each.kind] = each.number;
    over.append(box);
  }
  sheet.append(over);
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    mark(entry.target);
  }
}, { rootMargin: "50%" });
export function watch(within) {
  for (const sheet of within.querySelectorAll(".sheet")) seen.observe(sheet);
}
watch(document);

// What a pair relies on stands out while the pointer or the focus is on it.
function point(event, on) {
  const pair = event.target.closest(".pair");
  if (!pair) return;
  const number = pair.dataset.pair;
  for (const box of document.querySelectorAll(`rect[data-quote="${number}"], mark[data-pairs~="${number}"]`)) {
    box.classList.toggle("now", on);
  }
}
for (const [begin, end] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
  document.addEventListener(begin, (event) => point(event, true));
  document.addEventListener(end, (event) => point(event, false));
}
