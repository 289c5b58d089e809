// Korean and English. The browser's languages decide, until somebody chooses with the button.

const STORED = "munjang-language";
const SPOKEN = ["ko", "en"];
const CHANGED = "languagechanged";

let current = stored() ?? preferred();

/** The text in the language of the page. */
export function say(korean, english) {
  return current === "ko" ? korean : english;
}

/** A number as people write it in the language of the page. */
export function number(value, digits = 0) {
  return value.toLocaleString(current, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Calls `redraw` after each change of the language. */
export function onLanguageChange(redraw) {
  document.addEventListener(CHANGED, redraw);
}

/** Translates the static texts, and connects the button that changes the language. */
export function connectLanguage(button) {
  const speak = () => {
    translate();
    button.lang = say("en", "ko"); // it names the other language, in that language
  };
  speak();
  button.addEventListener("click", () => {
    current = say("en", "ko");
    store();
    speak();
    document.dispatchEvent(new Event(CHANGED));
  });
}

/**
 * The static texts stand in index.html in Korean. Beside each one is its English text, in `data-en`, or in
 * `data-en-placeholder` and the like for an attribute.
 */
function translate() {
  document.documentElement.lang = current;
  for (const element of document.querySelectorAll("[data-en]")) {
    element.dataset.ko ??= element.textContent;
    element.textContent = element.dataset[current];
  }
  for (const attribute of ["placeholder", "aria-label", "title", "content"]) {
    for (const element of document.querySelectorAll(`[data-en-${attribute}]`)) translateAttribute(element, attribute);
  }
}

function translateAttribute(element, attribute) {
  const korean = `data-ko-${attribute}`;
  if (!element.hasAttribute(korean)) element.setAttribute(korean, element.getAttribute(attribute));
  element.setAttribute(attribute, element.getAttribute(`data-${current}-${attribute}`));
}

function preferred() {
  const tags = navigator.languages.map((tag) => tag.toLowerCase().split("-")[0]);
  return tags.find((tag) => SPOKEN.includes(tag)) ?? "en";
}

function stored() {
  try {
    const language = localStorage.getItem(STORED);
    return SPOKEN.includes(language) ? language : null;
  } catch {
    return null; // the browser forbids storage
  }
}

function store() {
  try {
    localStorage.setItem(STORED, current);
  } catch {
    // the choice lasts until the page is loaded again
  }
}
