// Tabs whose choice lives in the address (#qa, #sts, ...): links and the back button work.

const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

/** `shown` is called with the name of each tab that is chosen. */
export function connectTabs(list, shown = () => {}) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const show = () => {
    const chosen = named(tabs, location.hash.slice(1));
    select(tabs, chosen);
    shown(chosen.dataset.name);
  };

  list.addEventListener("click", (event) => choose(event.target.closest("[role=tab]")));
  list.addEventListener("keydown", (event) => {
    const next = reachedBy(event.key, tabs, tabs.indexOf(event.target));
    if (!next) return;
    event.preventDefault();
    next.focus();
    choose(next);
  });
  addEventListener("hashchange", show);
  show();
}

function choose(tab) {
  if (tab) location.hash = tab.dataset.name;
}

function named(tabs, name) {
  return tabs.find((tab) => tab.dataset.name === name) ?? tabs[0];
}

/** The tab a key leads to from position `index`; undefined for any other key. */
function reachedBy(key, tabs, index) {
  if (key === "Home") return tabs[0];
  if (key === "End") return tabs.at(-1);
  if (key in STEPS) return tabs[(index + STEPS[key] + tabs.length) % tabs.length];
}

function select(tabs, chosen) {
  for (const tab of tabs) {
    const selected = tab === chosen;
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !selected;
  }
}
