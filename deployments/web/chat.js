// The chat: an answer that arrives in pieces, and the places in the documents that it is taken from.

import { element } from "./draw.js";
import { failureParts } from "./form.js";
import { onLanguageChange, say } from "./language.js";
import { Failure, postEvents } from "./request.js";

const EXAMPLE = "생일이 언제예요?";
const NO_KEY = "unused"; // a server without a language model ignores the key

/** Connects the box of the chat. `info` gives a promise of what the server says of its tasks. */
export function connectChat(box, info) {
  const form = box.querySelector("form");
  const chat = new Chat(box);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    chat.ask(form);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.querySelector(".example").addEventListener("click", () => (form.elements.prompt.value = EXAMPLE));
  onLanguageChange(() => chat.turns.forEach((turn) => turn.draw()));
  return async () => {
    const { kind } = (await info()).chat ?? {};
    box.querySelector(".provider-key").hidden = kind === "extractive";
  };
}

class Chat {
  constructor(box) {
    this.box = box;
    this.turns = [];
    this.current = null;
  }

  async ask(form) {
    const { prompt, api_key, db_path } = form.elements;
    const body = { prompt: prompt.value, api_key: api_key.value || NO_KEY, db_path: db_path.value, passages: true };
    this.current?.abort(null);
    const mine = (this.current = new AbortController());
    this.setBusy(true);
    await this.add(body.prompt).follow(postEvents("/v1/chat", body, mine));
    if (mine !== this.current) return;
    this.setBusy(false);
    prompt.select();
  }

  setBusy(busy) {
    this.box.setAttribute("aria-busy", busy);
    this.box.querySelector("[type=submit]").disabled = busy;
  }

  /** Adds a turn of the conversation, below those before. */
  add(question) {
    const turn = new Turn(question);
    if (!this.turns.length) this.box.querySelector(".result").replaceChildren();
    this.turns.push(turn);
    this.box.querySelector(".result").append(turn.node);
    return turn;
  }
}

/** One question, and its answer as far as it has arrived. */
class Turn {
  constructor(question) {
    this.question = question;
    this.output = "";
    this.citations = [];
    this.failure = null;
    this.node = element("article", { class: "turn" });
    this.draw();
  }

  /** Reads the events of an answer to their end. */
  async follow(events) {
    try {
      for await (const { event, data } of events) {
        if (event === "done") this.citations = data.citations;
        else this.output += data.output;
        this.draw();
      }
    } catch (error) {
      if (error === null) return; // a newer question has ended this answer
      if (!(error instanceof Failure)) throw error;
      this.failure = error;
      this.draw();
    }
    this.node.scrollIntoView({ block: "nearest" });
  }

  draw() {
    const parts = [element("p", { class: "asked" }, this.question), element("p", { class: "reply" }, this.output || "…")];
    if (this.failure) parts.splice(1, 1, this.drawnFailure());
    if (this.citations.length) parts.push(element("p", { class: "hint" }, say("출처", "Sources")));
    this.node.replaceChildren(...parts, ...this.citations.map(drawnCitation));
  }

  drawnFailure() {
    const line = ({ pointer, detail }) => element("li", {}, `${pointer}: ${detail}`);
    return element("div", { class: "error", role: "alert" }, ...failureParts(this.failure, line));
  }
}

/** The passage of the document, with the cited text marked in it. Only the first one is open. */
function drawnCitation({ document, start, end, passage }, index) {
  const place = say(`${start}–${end}자`, `characters ${start}–${end}`);
  const summary = element("summary", {}, element("b", {}, document), ` ${place}`);
  const made = element("details", { class: "citation" }, summary, marked(passage, start, end));
  made.open = index === 0;
  return made;
}

/** The server counts code points, JavaScript does not. */
function marked(passage, start, end) {
  const points = Array.from(passage.text);
  const [from, to] = [start - passage.start, end - passage.start];
  const part = (first, last) => points.slice(first, last).join("");
  const isWhole = from === 0 && to === points.length; // a language model was shown all of it
  const cited = isWhole ? part(from, to) : element("mark", {}, part(from, to));
  return element("p", { class: "passage" }, part(0, from), cited, part(to));
}
