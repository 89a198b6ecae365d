/** Draws what the metrics say: traffic, and drift. */

import { element, facts } from "./dom.js";
import { values } from "./exposition.js";
import { NOT_MEASURED, duration, figures, percent, psiReading } from "./format.js";
import { buckets, quantile } from "./histogram.js";
import { sparkline } from "./sparkline.js";
import { PHASES, troubles } from "./traffic.js";

/** @param {import("./traffic.js").History} history @returns {HTMLElement} */
export function trafficView(history) {
  const now = history.now();
  const rate = (value) => (value === null ? null : `${figures(value)} /s`);
  const whole = history.timesRequests;
  const latency = now.p50 === null ? null : `${duration(now.p50)} / ${duration(now.p95)}`;
  const quiet = history.looks.length < 2 ? "one moment…" : NOT_MEASURED;
  const tiles = element(
    "div",
    { class: "tiles" },
    tile("requests", rate(now.requests), ["requests"], history, quiet),
    tile("structures", rate(now.structures), ["structures"], history, quiet),
    tile(
      `${whole ? "latency" : "inference"}, p50 / p95`,
      latency,
      ["p95", "p50"],
      history,
      history.looks.length < 2 ? quiet : "no predictions lately",
    ),
    tile("runtime busy", now.busy === null ? null : percent(now.busy), ["busy"], history, quiet),
    tile(
      "work in the queue",
      now.queue === null ? null : duration(now.queue),
      ["queue"],
      history,
      NOT_MEASURED,
    ),
  );
  return element("div", {}, tiles, phaseTable(history), troubleList(history.last));
}

function tile(title, value, names, history, otherwise) {
  const curves = names.map((name) => history.series.get(name) ?? []);
  return element(
    "div",
    { class: "tile", "data-tile": names[0] },
    element("span", { class: "name" }, title),
    value === null ? element("span", { class: "absent" }, otherwise) : element("b", {}, value),
    sparkline(curves, history.last.time, history.length),
  );
}

function phaseTable(history) {
  const cell = (value) => element("td", {}, value === null ? "–" : duration(value));
  const rows = PHASES.map((phase) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, phase),
      cell(history.phase(phase, 0.5)),
      cell(history.phase(phase, 0.95)),
    ),
  );
  const heads = ["p50", "p95"].map((text) => element("th", { scope: "col" }, text));
  return element(
    "div",
    { class: "scroll" },
    element(
      "table",
      { class: "phases" },
      element("caption", {}, "Where predictions spend their time, last half minute"),
      element("thead", {}, element("tr", {}, element("td"), ...heads)),
      element("tbody", {}, ...rows),
    ),
  );
}

function troubleList(look) {
  const rows = troubles(look).map(({ title, value, parts }) => {
    if (value === null) return [title, absent()];
    const why = parts.map(([name, count]) => `${name.replaceAll("_", " ")} ${figures(count)}`).join(", ");
    const text = value === 0 ? "none" : figures(value);
    return [title, why === "" ? text : `${text} (${why})`];
  });
  return element(
    "div",
    { class: "troubles" },
    element("h3", {}, "Since the server started"),
    facts(rows),
  );
}

/** @param {import("./traffic.js").History} history @returns {HTMLElement} */
export function driftView(history) {
  const { families } = history.last;
  return element(
    "div",
    { class: "drift" },
    panel("Inputs beside the training set", stability(families), "population stability index"),
    panel("Novel structures", novelty(history), "share of those looked at in the last minutes"),
    panel("Against the teacher", shadow(families), "force RMSE of lately labelled structures"),
    panel("Dynamics of clients", dynamics(families), "energy drift that they report"),
  );
}

const panel = (title, content, note) =>
  element(
    "div",
    { class: "panel" },
    element("h3", {}, title),
    element("p", { class: "hint" }, note),
    content ?? absent(),
  );

const absent = () => element("span", { class: "absent" }, NOT_MEASURED);

/** Which version a sample is about, and which of its kind. */
const named = ({ model, version }) => [model, version].filter(Boolean).join(" ");

// A few people's molecules are no population: the index of fewer says who asked, not what is asked.
const ENOUGH_STRUCTURES = 1_000;

function stability(families) {
  const windows = values(families, "forcegate_input_window_structures");
  const few = windows.filter(({ value }) => value < ENOUGH_STRUCTURES);
  const isFew = ({ labels }) => few.some((window) => named(window.labels) === named(labels));
  const samples = values(families, "forcegate_input_psi").filter((sample) => !isFew(sample));
  if (samples.length + few.length === 0) return null;
  const list = element("ul", { class: "bars" });
  for (const { labels, value } of samples) {
    const { level, words } = psiReading(value);
    list.append(
      element(
        "li",
        { class: level },
        element("span", {}, `${(labels.feature ?? "").replaceAll("_", " ")} `),
        element("span", { class: "hint" }, named(labels)),
        element("meter", { min: 0, max: 0.5, low: 0.1, high: 0.25, optimum: 0, value, "aria-label": words }),
        element("b", {}, `${figures(value)} ${words}`),
      ),
    );
  }
  for (const { labels, value } of few) {
    const words = `${named(labels)}: waits for ${figures(ENOUGH_STRUCTURES)} structures, has ${figures(value)}`;
    list.append(element("li", { class: "absent" }, words));
  }
  return list;
}

function novelty(history) {
  const found = history.novel();
  if (found === null) return null;
  return element("p", {}, element("b", {}, percent(found.share)), ` of ${figures(found.watched)}`);
}

function shadow(families) {
  const rows = values(families, "forcegate_shadow_force_rmse_ev_per_angstrom");
  if (rows.length === 0) return null;
  const expected = values(families, "forcegate_shadow_force_rmse_expected_ev_per_angstrom");
  return facts(
    rows.map(({ labels, value }) => {
      const beside = expected.find((sample) => named(sample.labels) === named(labels));
      const told = beside === undefined ? "expected: not measured" : `expected ${figures(beside.value)}`;
      return [named(labels), `${figures(value)} eV/Å, ${told}`];
    }),
  );
}

function dynamics(families) {
  const name = "forcegate_md_drift_mev_per_atom_per_ps";
  const family = families.get(name);
  const rows = [];
  if (family?.type === "histogram") {
    const all = buckets(families, name);
    const [half, most] = [0.5, 0.95].map((q) => quantile(all, q));
    if (half !== null) {
      rows.push(["drift, p50", `${figures(half)} meV/atom/ps`]);
      rows.push(["drift, p95", `${figures(most)} meV/atom/ps`]);
    }
  } else {
    for (const { labels, value } of values(families, name)) {
      rows.push([`drift, ${named(labels)}`, `${figures(value)} meV/atom/ps`]);
    }
  }
  const broken = values(families, "forcegate_md_blow_ups_total");
  if (families.has("forcegate_md_blow_ups_total")) {
    const count = broken.reduce((sum, { value }) => sum + value, 0);
    rows.push(["runs that blew up", count === 0 ? "none" : figures(count)]);
  }
  return rows.length === 0 ? null : facts(rows);
}
