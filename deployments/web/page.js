// The page's entry: connects the language, the tabs, the form of the key, the chat, the graph, and each task's form.

import { connectChat } from "./chat.js";
import { cola } from "./cola.js";
import { connectForm } from "./form.js";
import { connectGraph } from "./graph.js";
import { connectKey } from "./key.js";
import { connectLanguage } from "./language.js";
import { qa } from "./qa.js";
import { readInfo } from "./request.js";
import { sts } from "./sts.js";
import { stsFile } from "./sts_file.js";
import { stsMany } from "./sts_many.js";
import { connectTabs } from "./tabs.js";

let info = readInfo();

connectLanguage(document.getElementById("language"));
const showKeyOfProvider = connectChat(document.getElementById("task-chat"), () => info);
showKeyOfProvider();
connectKey(document.getElementById("key-form"), () => {
  info = readInfo();
  showKeyOfProvider();
});
const showGraph = connectGraph(document.getElementById("panel-graph"));
connectTabs(document.querySelector("[role=tablist]"), (name) => showGraph(name === "graph"));
connectForm(document.getElementById("task-qa"), qa);
connectForm(document.getElementById("task-sts"), sts(() => info));
connectForm(document.getElementById("task-sts-many"), stsMany(() => info));
connectForm(document.getElementById("task-sts-file"), stsFile);
connectForm(document.getElementById("task-cola"), cola);
