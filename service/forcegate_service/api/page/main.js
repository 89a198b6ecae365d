/** Puts the parts of the page together. */

import { Api } from "./api.js";
import { byId, element, problemBox } from "./dom.js";
import { KeyPanel } from "./keys.js";
import { driftView, trafficView } from "./live.js";
import { modelList } from "./models.js";
import { History } from "./traffic.js";
import { Workbench } from "./workbench.js";

const METRICS_EVERY_MS = 2_000;
const MODELS_EVERY_MS = 30_000;
const STATE_EVERY_MS = 5_000;
const AGAIN_MS = 2_000;

const api = new Api();
const keys = new KeyPanel(api, start);
const bench = new Workbench(api, (refusal) => keys.ask(refusal));
const history = new History();
let shown = "";
/** One timer for each thing that is asked again and again. @type {Map<string, number>} */
const timers = new Map();

/** Ask for everything, with whatever key there is now. */
function start() {
  repeat("models", showModels, MODELS_EVERY_MS);
  repeat("metrics", showMetrics, METRICS_EVERY_MS);
  repeat("state", showState, STATE_EVERY_MS);
}

/**
 * Run `task` now and again after each end; not while nobody looks, and no more once it says so.
 * @param {string} name
 * @param {() => Promise<number | boolean | void>} task answers false to be left alone, or the
 *   milliseconds after which to try again
 * @param {number} every ms
 */
function repeat(name, task, every) {
  clearTimeout(timers.get(name));
  const round = async () => {
    const again = document.hidden ? undefined : await task();
    if (timers.get(name) === mine && again !== false) {
      mine = setTimeout(round, typeof again === "number" ? again : every);
      timers.set(name, mine);
    }
  };
  let mine = setTimeout(round, 0);
  timers.set(name, mine);
}

async function showModels() {
  try {
    const list = await api.json("v1/models");
    const text = JSON.stringify(list);
    if (text === shown) return undefined;
    shown = text;
    bench.setModels(list);
    byId("model-list").replaceChildren(modelList(list, api));
    bench.start();
    return undefined;
  } catch (error) {
    shown = "";
    byId("model-list").replaceChildren(problemOf(error));
    if (error.status === 401) {
      keys.ask(error);
      return false;
    }
    return AGAIN_MS;
  }
}

async function showMetrics() {
  let text;
  try {
    text = await api.text("metrics");
  } catch (error) {
    return withoutMetrics(error);
  }
  history.add(text, performance.now() / 1000);
  byId("traffic-body").replaceChildren(trafficView(history));
  byId("drift-body").replaceChildren(driftView(history));
  return undefined;
}

function withoutMetrics(error) {
  for (const id of ["traffic-body", "drift-body"]) {
    byId(id).replaceChildren(
      element("p", { class: "absent" }, "Not measured: the metrics cannot be read."),
      problemOf(error),
    );
  }
  if (error.status === 401) {
    keys.ask(error);
    return false;
  }
  // A proxy may keep them to itself; asking is cheap, but need not be done every two seconds.
  return error.status === 0 ? AGAIN_MS : MODELS_EVERY_MS;
}

async function showState() {
  const place = byId("state");
  try {
    await api.json("health/ready");
    say(place, "good", "ready");
  } catch (error) {
    if (error.problem === undefined) throw error;
    say(place, "poor", error.status === 503 ? (error.problem.title ?? "not ready") : "no answer");
  }
}

function say(place, level, text) {
  if (place.textContent === text) return;
  place.className = `state ${level}`;
  place.textContent = text;
}

/** What is no answer of the gateway is a defect of the page, and belongs in the console. */
function problemOf(error) {
  if (error.problem === undefined) throw error;
  return problemBox(error.problem);
}

start();
