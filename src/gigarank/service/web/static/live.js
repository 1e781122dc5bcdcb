// Parts of a page that are as of now. Every two seconds its figures are asked for as JSON, where it says from where; else, and
// where other rows are there than before, the page itself is asked again and its part takes the place of what is shown.
const EVERY_MS = 2000;
const toggle = document.querySelector("[data-live-toggle]");
const before = new Map();
let paused = false;

const texts = {
  whole: (value) => value.toLocaleString("en"),
  share: (value) => (value === null ? "not known" : `${(100 * value).toFixed(1)} %`),
};

async function renew() {
  if (paused || document.hidden) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    if (!part.dataset.figures || !(await renewFigures(part))) await renewPart(part);
  }
}

async function renewPart(part) {
  const reply = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!reply.ok || reply.redirected) return;
  const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
  const found = fresh.getElementById(part.id);
  if (found && found.innerHTML !== part.innerHTML) part.innerHTML = found.innerHTML;
}

// False where the rows are others, or in another state, than those that are shown.
async function renewFigures(part) {
  const reply = await fetch(part.dataset.figures, { headers: { accept: "application/json" } });
  if (!reply.ok) return true;
  const told = await reply.json();
  const rows = Object.entries(told)
    .filter(([, list]) => Array.isArray(list))
    .flatMap(([kind, list]) => list.map((one) => [`${kind}/${one.model ?? one.state}`, one]));
  const shown = new Map([...part.querySelectorAll("[data-row]")].map((row) => [row.dataset.row, row]));
  if (rows.length !== shown.size || rows.some(([name, one]) => shown.get(name)?.dataset.state !== one.state)) return false;
  for (const [name, one] of rows) fill(shown.get(name), name, one);
  return true;
}

function fill(row, name, one) {
  const last = before.get(name);
  before.set(name, one);
  for (const cell of row.querySelectorAll("[data-figure]")) {
    const figure = cell.dataset.figure;
    if (figure === "now") cell.textContent = last ? between(last, one) : "–";
    else cell.textContent = texts[figure === "filled" ? "share" : "whole"](one[figure]);
  }
}

function between(last, one) {
  const room = one.batch_room_tokens - last.batch_room_tokens;
  return room > 0 ? texts.share((one.batch_tokens - last.batch_tokens) / room) : "–";
}

if (toggle) {
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    paused = !paused;
    toggle.textContent = paused ? "Go on" : "Pause";
  });
}
setInterval(() => renew().catch(() => {}), EVERY_MS);
