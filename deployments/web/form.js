// The life of a form: fill in the example, send, wait, show the answer or say what went wrong.

import { element } from "./draw.js";
import { Failure } from "./request.js";

/**
 * Connects one `.task` box. A task is {fill(form), ask(form, controller)}: `ask` resolves to
 * {summary, parts}, the sentence read to screen readers and the nodes to show.
 * Only the newest request counts; sending again aborts the one before.
 */
export function connectForm(box, task) {
  const form = box.querySelector("form");
  let current = null;

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    current?.abort(null);
    const mine = (current = new AbortController());
    setBusy(box, true);
    const show = await outcomeOf(task, form, mine);
    if (mine !== current) return;
    setBusy(box, false);
    show(box);
  });
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
  return [element("p", { class: "notice" }, "글이 길어서 모델이 앞부분만 읽었습니다.")];
}

function sendNow(event, form) {
  event.preventDefault();
  form.requestSubmit();
}

/** What to do to the box once the request has ended, well or badly. */
async function outcomeOf(task, form, controller) {
  try {
    const answer = await task.ask(form, controller);
    return (box) => showAnswer(box, answer);
  } catch (error) {
    return (box) => showFailure(box, error instanceof Failure ? error : notUnderstood(error));
  }
}

function notUnderstood(error) {
  console.error(error);
  return new Failure("서버의 답을 이해하지 못했습니다.");
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
  box.querySelector("[role=status]").textContent = "답을 기다리는 중입니다.";
  for (const field of box.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}

function showAnswer(box, { summary, parts }) {
  box.querySelector("[role=status]").textContent = summary;
  box.querySelector(".result").replaceChildren(...parts);
  box.querySelector(".outcome").scrollIntoView({ block: "nearest" });
}

function showFailure(box, { headline, detail, fields, requestId }) {
  const error = box.querySelector(".error");
  box.querySelector("[role=status]").textContent = "";
  box.querySelector(".result").replaceChildren();
  error.replaceChildren(element("strong", {}, headline));
  if (detail) error.append(element("p", {}, detail));
  if (fields.length) error.append(element("ul", {}, ...fields.map((field) => fieldLine(box, field))));
  if (requestId) error.append(element("p", { class: "request-id" }, "요청 번호 ", element("code", {}, requestId)));
  error.scrollIntoView({ block: "nearest" });
}

/** One field's message; the input it is about, where the page has it, is marked invalid. */
function fieldLine(box, { pointer = "", detail = "" }) {
  const field = box.querySelector("form").elements.namedItem(pointer.slice(1));
  field?.setAttribute("aria-invalid", "true");
  const name = field?.labels?.[0].firstChild.textContent.trim() ?? placeInFile(pointer);
  return element("li", {}, element("b", {}, name), name ? ": " : "", detail);
}

/** `/results/516/sentence2` as people count: pair 517. Other pointers stay as they are. */
function placeInFile(pointer) {
  const [, index, key] = /^\/results\/(\d+)(?:\/(.+))?$/.exec(pointer) ?? [];
  return index === undefined ? pointer : `${Number(index) + 1}번째 쌍 ${key ?? ""}`.trim();
}
