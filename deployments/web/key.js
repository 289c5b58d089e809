// The API key that the page sends to a server that asks for one. It is kept until the tab is closed, not longer.

import { say } from "./language.js";

const STORED = "munjang-api-key";
const WANTED = "keywanted";

let key = stored();

/** The header with the key, {} without one. */
export function authorization() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** To be called when the server refuses the key, or the lack of one: shows the form to enter it. */
export function askForKey() {
  document.dispatchEvent(new Event(WANTED));
}

/** Connects the form of the key, which is hidden until it is needed. `changed` is called after each change. */
export function connectKey(form, changed) {
  form.hidden = !key;
  form.elements.key.value = key;
  document.addEventListener(WANTED, () => (form.hidden = false));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    key = form.elements.key.value.trim();
    store();
    form.querySelector("[role=status]").textContent = key
      ? say("이제 이 키로 보냅니다.", "Requests now carry this key.")
      : say("키를 지웠습니다.", "The key is gone.");
    changed();
  });
}

function stored() {
  try {
    return sessionStorage.getItem(STORED) ?? "";
  } catch {
    return ""; // the browser forbids storage
  }
}

function store() {
  try {
    sessionStorage.setItem(STORED, key);
  } catch {
    // the key counts until the page is loaded again
  }
}
