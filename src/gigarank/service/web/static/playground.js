// The playground without a new page: the form is sent as it is, and what comes back is put in its place.
const form = document.querySelector("[data-play]");
const results = document.getElementById("results");
const stop = form.querySelector("[data-stop]");
const documents = form.elements.documents;
let running = null;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  running?.abort();
  const mine = (running = new AbortController());
  const body = new URLSearchParams(new FormData(form, event.submitter));
  const client = document.getElementById("client");
  if (client) body.set("client", client.value);
  busy(true);
  try {
    const response = await fetch("/playground", { method: "POST", body, headers: { accept: "text/html" }, signal: mine.signal });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    place(page.getElementById("results") ?? page.getElementById("main"), event.submitter);
  } catch (error) {
    say(error.name === "AbortError" ? "Stopped." : "The server did not answer. Try again.");
  } finally {
    if (running === mine) busy(false);
  }
});

stop.addEventListener("click", () => running?.abort());

function busy(on) {
  results.setAttribute("aria-busy", String(on));
  form.querySelector("[data-run]").disabled = on;
  stop.hidden = !on;
  if (on) say("The model is reading…", true);
  else document.querySelector("[data-wait]")?.remove();
}

function say(text, waits = false) {
  document.querySelector("[data-wait]")?.remove();
  const line = document.createElement("p");
  line.className = "notice";
  line.textContent = text;
  if (waits) line.dataset.wait = "";
  results.prepend(line);
}

// An explanation goes below its document and code below the results; everything else takes their place.
function place(found, button) {
  const part = found.querySelector("[data-explained], [data-snippet]");
  const failed = found.querySelector(".notice.bad");
  if (part && results.querySelector(".ranks")) {
    const kind = part.hasAttribute("data-snippet") ? "[data-snippet]" : `[data-explained="${part.dataset.explained}"]`;
    results.querySelector(kind)?.remove();
    const item = button?.closest("li");
    if (item) item.querySelector(".hit").append(part);
    else results.append(part);
  } else if (failed && button?.name && results.querySelector(".ranks")) {
    results.querySelector(":scope > .notice.bad")?.remove();
    results.prepend(failed);
  } else {
    results.replaceChildren(...found.childNodes);
    results.focus({ preventScroll: true });
    results.scrollIntoView({ block: "start" });
  }
  for (const copy of results.querySelectorAll("[data-copy]")) copy.hidden = false;
}

const picker = form.querySelector("[data-file]");
picker.hidden = false;
picker.querySelector("input").addEventListener("change", (event) => take(event.target.files[0]));
documents.addEventListener("dragover", (event) => event.preventDefault());
documents.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});

async function take(file) {
  if (!file) return;
  if (file.size > 200_000) return say(`${file.name} has ${file.size} bytes; the playground takes 200,000.`);
  documents.value = await file.text();
  const ending = file.name.toLowerCase().split(".").pop();
  form.elements.form.value = { csv: "csv", jsonl: "jsonl", ndjson: "jsonl" }[ending] ?? "auto";
}
