// The page's entry: connects the tabs, the form of the key, and each task's form.

import { cola } from "./cola.js";
import { connectForm } from "./form.js";
import { connectKey } from "./key.js";
import { qa } from "./qa.js";
import { readInfo } from "./request.js";
import { sts } from "./sts.js";
import { stsFile } from "./sts_file.js";
import { connectTabs } from "./tabs.js";

let info = readInfo();

connectKey(document.getElementById("key-form"), () => (info = readInfo()));
connectTabs(document.querySelector("[role=tablist]"));
connectForm(document.getElementById("task-qa"), qa);
connectForm(document.getElementById("task-sts"), sts(() => info));
connectForm(document.getElementById("task-sts-file"), stsFile);
connectForm(document.getElementById("task-cola"), cola);
