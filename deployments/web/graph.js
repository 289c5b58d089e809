// The graph, live: asks the server while the tab is shown, and draws boxes, lines between them, and pulses.

import { element } from "./draw.js";
import { failureParts } from "./form.js";
import { GraphBox } from "./graph_box.js";
import { changeOf } from "./graph_change.js";
import { GraphLines } from "./graph_lines.js";
import { sendSamples } from "./graph_sample.js";
import { number, onLanguageChange, say } from "./language.js";
import { Failure, getJson } from "./request.js";

const EVERY_MS = 1_500;
const AFTER_FAILURE_MS = 5_000;
const PATIENCE_MS = 10_000;

/** Connects the panel of the graph. Returns what is to be called with whether the panel is shown. */
export function connectGraph(panel) {
  const graph = new Graph(panel);
  panel.querySelector("#graph-sample").addEventListener("click", () => sendSamples());
  document.addEventListener("visibilitychange", () => graph.wake());
  onLanguageChange(() => graph.draw());
  return (shown) => graph.show(shown);
}

class Graph {
  constructor(panel) {
    this.panel = panel;
    this.stage = panel.querySelector("#graph-stage");
    this.boxes = new Map(); // by the deployment's name
    this.lines = new GraphLines(this.stage, this.boxes);
    this.deployments = [];
    this.shown = false;
    this.asking = false;
  }

  show(shown) {
    this.shown = shown;
    this.wake();
  }

  /** Starts asking, unless it goes on already or nobody looks. */
  async wake() {
    if (this.asking) return;
    this.asking = true;
    while (this.shown && document.visibilityState === "visible") await pause(await this.ask());
    this.asking = false;
  }

  /** Asks once. Resolves to the milliseconds until the next time. */
  async ask() {
    try {
      const { data } = await getJson("/v1/graph", new AbortController(), PATIENCE_MS);
      this.update(data.deployments);
      this.explain([]);
      return EVERY_MS;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.explain(failureParts(error, ({ detail }) => element("li", {}, detail)));
      return AFTER_FAILURE_MS;
    }
  }

  explain(parts) {
    this.panel.querySelector("#graph-error").replaceChildren(...parts);
  }

  update(deployments) {
    const change = changeOf(this.deployments, deployments, performance.now());
    this.deployments = deployments;
    for (const { name } of deployments) {
      if (!this.boxes.has(name)) this.add(name);
    }
    this.change = change;
    this.draw();
    this.lines.pulse(change, EVERY_MS);
  }

  add(name) {
    const box = new GraphBox(name);
    this.boxes.set(name, box);
    this.stage.append(box.node);
    this.lines.watch(box.node);
  }

  draw() {
    for (const deployment of this.deployments) {
      this.boxes.get(deployment.name).draw(deployment, this.change.rates.get(deployment.name));
    }
    if (this.deployments.length) this.panel.querySelector("#graph-totals").textContent = this.totals();
  }

  totals() {
    const requests = number(this.change.rates.get("Ingress")?.requests ?? 0, 1);
    const replicas = this.deployments.reduce((sum, { running }) => sum + running, 0);
    return say(`초당 요청 ${requests} · 복제본 ${number(replicas)}`, `${requests} requests/s · ${number(replicas)} replicas`);
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
