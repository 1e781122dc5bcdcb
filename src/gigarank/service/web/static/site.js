// On every page: the switch between light and dark, and the buttons that copy code.
const root = document.documentElement;

function shownTheme() {
  return root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

for (const button of document.querySelectorAll("[data-theme-toggle]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = shownTheme() === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // it holds for this page
    }
  });
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const text = button.parentElement.querySelector("pre").textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select and copy";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
});

for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;

// Sections under headings become tabs; without scripts they stand one below the other.
for (const tabs of document.querySelectorAll("[data-tabs]")) {
  const panels = [...tabs.querySelectorAll(":scope > section")];
  const list = document.createElement("div");
  list.className = "tablist";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "Clients");
  const select = (chosen, focus) => {
    panels.forEach((panel, index) => {
      const here = index === chosen;
      panel.hidden = !here;
      list.children[index].setAttribute("aria-selected", String(here));
      list.children[index].tabIndex = here ? 0 : -1;
      if (here && focus) list.children[index].focus();
    });
  };
  panels.forEach((panel, index) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.setAttribute("role", "tab");
    tab.id = `${panel.id}-tab`;
    tab.setAttribute("aria-controls", panel.id);
    tab.textContent = panel.querySelector("h3").textContent;
    tab.addEventListener("click", () => select(index, false));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) select((index + step + panels.length) % panels.length, true);
    });
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    list.append(tab);
  });
  tabs.prepend(list);
  tabs.classList.add("ready");
  select(0, false);
}
