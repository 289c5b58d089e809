// The life of a form: fill in the example, send, wait, show the answer or say what went wrong.

import { element } from "./draw.js";
import { onLanguageChange, say } from "./language.js";
import { Failure } from "./request.js";

/**
 * Connects one `.task` box. A task is {fill(form), ask(form, controller, show)}: `ask` resolves to a function that draws
 * the answer in the language of the page: {summary, parts}, the sentence read to screen readers and the nodes to show.
 * Until then it may `show` such functions for what is there already.
 * Only the newest request counts; sending again aborts the one before.
 */
export function connectForm(box, task) {
  const form = box.querySelector("form");
  let current = null;
  let redraw = () => {};

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    current?.abort(null);
    const mine = (current = new AbortController());
    redraw = () => {};
    setBusy(box, true);
    const show = (draw) => {
      if (mine !== current) return;
      redraw = () => draw(box);
      redraw();
    };
    const draw = await outcomeOf(task, form, mine, (part) => show(() => showAnswer(box, part())));
    if (mine !== current) return;
    setBusy(box, false);
    show(draw);
    box.querySelector(".outcome").scrollIntoView({ block: "nearest" });
  });
  onLanguageChange(() => redraw());
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) sendNow(event, form);
  });
  form.addEventListener("input", (event) => event.target.removeAttribute("aria-invalid"));
  form.querySelector(".example").addEventListener("click", () => task.fill(form));
}

/** Puts each text of {field name: text} into its field. */
export function fillTexts(form, texts) {
  for (const [name, text] of Object.entries(texts)) form.elements.namedItem(name).value = text;
}

/** For the parts of an answer: a word where the model did not read the text to its end, else nothing. */
export function truncationNotice(headers) {
  if (headers.get("X-Truncated") !== "true") return [];
  const words = say("글이 길어서 모델이 앞부분만 읽었습니다.", "The text is long: the model read only its beginning.");
  return [element("p", { class: "notice" }, words)];
}

function sendNow(event, form) {
  event.preventDefault();
  form.requestSubmit();
}

/** What to do to the box once the request has ended, well or badly. */
async function outcomeOf(task, form, controller, show) {
  try {
    const draw = await task.ask(form, controller, show);
    draw(); // an answer without its fields fails here
    return (box) => showAnswer(box, draw());
  } catch (error) {
    return (box) => showFailure(box, error instanceof Failure ? error : notUnderstood(error));
  }
}

function notUnderstood(error) {
  console.error(error);
  return new Failure(() => say("서버의 답을 이해하지 못했습니다.", "The server's answer makes no sense here."));
}

function setBusy(box, busy) {
  const button = box.querySelector("[type=submit]");
  box.setAttribute("aria-busy", busy);
  button.disabled = busy;
  if (busy) clearComplaints(box);
  else if (document.activeElement === document.body) button.focus({ preventScroll: true }); // disabling took it
}

function clearComplaints(box) {
  box.querySelector(".error").replaceChildren();
  box.querySelector("[role=status]").textContent = say("답을 기다리는 중입니다.", "Waiting for the answer.");
  for (const field of box.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}

function showAnswer(box, { summary, parts }) {
  const status = box.querySelector("[role=status]");
  if (status.textContent !== summary) status.textContent = summary; // it is read aloud after each change
  const result = box.querySelector(".result");
  const shown = [...result.childNodes];
  // Nodes that are there already stay, and with them the focus.
  if (parts.length !== shown.length || parts.some((part, index) => part !== shown[index])) result.replaceChildren(...parts);
}

function showFailure(box, failure) {
  box.querySelector("[role=status]").textContent = "";
  box.querySelector(".result").replaceChildren();
  box.querySelector(".error").replaceChildren(...failureParts(failure, (field) => fieldLine(box, field)));
}

/** What to show for a failure. `line` draws one of its fields. */
export function failureParts({ headline, detail, fields, requestId }, line) {
  const parts = [element("strong", {}, headline())];
  if (detail()) parts.push(element("p", {}, detail()));
  if (fields.length) parts.push(element("ul", {}, ...fields.map(line)));
  const id = element("code", {}, requestId);
  if (requestId) parts.push(element("p", { class: "request-id" }, say("요청 번호 ", "Request "), id));
  return parts;
}

/** One field's message; the input it is about, where the page has it, is marked invalid. */
function fieldLine(box, { pointer = "", detail = "" }) {
  const field = box.querySelector("form").elements.namedItem(pointer.slice(1));
  field?.setAttribute("aria-invalid", "true");
  const name = field?.labels?.[0].textContent.trim() ?? placeInFile(pointer);
  return element("li", {}, element("b", {}, name), name ? ": " : "", detail);
}

/** `/results/516/sentence2` as people count: pair 517. Other pointers stay as they are. */
function placeInFile(pointer) {
  const [, index, key] = /^\/results\/(\d+)(?:\/(.+))?$/.exec(pointer) ?? [];
  return index === undefined ? pointer : placeOfPair(Number(index) + 1, key ?? "");
}

function placeOfPair(number, key) {
  return say(`${number}번째 쌍 ${key}`, `Pair ${number} ${key}`).trim();
}
