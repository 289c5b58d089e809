// The lines between the boxes, and the pulses that run along them.

import { svgElement } from "./graph_box.js";
import { pathBetween } from "./graph_paths.js";

const SHOWN_PULSES = 10; // of one line, between two answers of the server
const TRAVEL_MS = 750;
const STEP_MS = 420; // a call to a tokenizer comes before the one to its model
const CALLERS = ["", "Ingress", "PersonaChat"]; // "" stands for the clients

export class GraphLines {
  constructor(stage, boxes) {
    this.stage = stage;
    this.boxes = boxes;
    this.paths = new Map(); // by "from to"
    this.pulses = [];
    this.svg = svgElement("svg", { class: "lines", "aria-hidden": "true" });
    this.stage.prepend(this.svg);
    this.resized = new ResizeObserver(() => this.place());
    this.resized.observe(stage);
  }

  /** Draws the lines again when the size of this box changes. */
  watch(node) {
    this.resized.observe(node);
  }

  /** Sends pulses for the calls of a change, spread over the time until the next one. */
  pulse({ rates, calls }, spreadMs) {
    const arrived = { from: "", to: "Ingress", count: (rates.get("Ingress").requests * spreadMs) / 1000 };
    for (const { from, to, count } of [arrived, ...calls]) {
      const shown = Math.min(Math.ceil(count - 0.001), SHOWN_PULSES);
      this.path(from, to)?.classList.toggle("used", shown > 0);
      for (let each = 0; each < shown; each += 1) this.send(from, to, (each / shown) * spreadMs + this.delay(from, to));
    }
  }

  /** A request comes to the ingress, then to a tokenizer, then to a model; the chat's own calls come last. */
  delay(from, to) {
    const before = CALLERS.indexOf(from) * STEP_MS;
    return /Tokenizer$|Ingress|Chat$/.test(to) ? before : before + STEP_MS;
  }

  send(from, to, delayMs) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const dot = svgElement("circle", { class: "pulse", r: 4 });
    this.pulses.push({ from, to, dot, startMs: performance.now() + delayMs });
    if (this.pulses.length === 1) requestAnimationFrame((nowMs) => this.move(nowMs));
  }

  move(nowMs) {
    for (const { from, to, dot, startMs } of this.pulses) {
      const share = (nowMs - startMs) / TRAVEL_MS;
      const path = this.path(from, to);
      if (share < 0 || !path) continue;
      if (!dot.isConnected) this.svg.append(dot);
      const eased = share < 1 ? 1 - (1 - share) ** 2 : 1;
      const { x, y } = path.getPointAtLength(path.getTotalLength() * eased);
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", y);
      dot.style.opacity = share < 1 ? Math.min(1, share * 6) : 0;
      if (share >= 1) this.arrive(to, dot);
    }
    this.pulses = this.pulses.filter(({ startMs }) => nowMs - startMs < TRAVEL_MS);
    if (this.pulses.length) requestAnimationFrame((nextMs) => this.move(nextMs));
  }

  arrive(to, dot) {
    dot.remove();
    const node = this.boxes.get(to)?.node;
    node?.getAnimations().forEach((animation) => animation.cancel());
    node?.animate({ boxShadow: ["0 0 0 1.5px var(--pulse)", "0 0 0 1.5px transparent"] }, 500);
  }

  path(from, to) {
    return this.paths.get(`${from} ${to}`);
  }

  /** Draws all lines by the places of the boxes. */
  place() {
    const { width, height } = this.stage.getBoundingClientRect();
    if (!width || !this.boxes.size) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const [from, to] of this.ends()) this.line(from, to).setAttribute("d", pathBetween(this.stage, from, to));
  }

  /** All pairs of deployments between which there are calls. */
  *ends() {
    const names = [...this.boxes.keys()];
    if (this.boxes.has("Ingress")) yield ["", "Ingress"];
    for (const to of names.filter((name) => name !== "Ingress")) yield ["Ingress", to];
    if (!this.boxes.has("PersonaChat")) return;
    for (const to of names.filter((name) => /^(Sts|Qa)/.test(name))) yield ["PersonaChat", to];
  }

  line(from, to) {
    const key = `${from} ${to}`;
    if (!this.paths.has(key)) {
      this.paths.set(key, svgElement("path", { class: from === "PersonaChat" ? "line chat" : "line" }));
      this.svg.prepend(this.paths.get(key));
    }
    return this.paths.get(key);
  }
}
