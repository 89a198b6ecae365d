/** What a model said, in numbers and in words. */

import { element } from "./dom.js";
import { composition, symbolOf } from "./elements.js";
import { duration, figures, noveltyReading, signed } from "./format.js";
import { badges } from "./models.js";
import { largestForce } from "./scene.js";
import { snippetBox } from "./snippet.js";

// CODATA 2018, exact: 1 eV/Å³ in GPa.
const GPA_PER_EV_PER_CUBIC_ANGSTROM = 160.2176634;
// CODATA 2018: 1 e·Å in debye.
const DEBYE_PER_ELECTRON_ANGSTROM = 4.80320471;
const MOST_ROWS = 300;

/**
 * @param {Record<string, any>} answer of `/v1/predict`, with one result
 * @param {import("./xyz.js").Structure} structure
 * @param {Record<string, any> | null} scale of novelty, if the model's card has one
 * @param {string[]} remarks of whoever read the structure
 * @param {boolean} withKey whether the gateway asks for one
 * @returns {HTMLElement}
 */
export function resultBox(answer, structure, scale, remarks, withKey) {
  const [result] = answer.results;
  const { size, atom } = largestForce(result.forces);
  const box = element("div", { class: "answer" });
  box.append(
    element("div", { class: "formula" }, ...formula(structure.numbers)),
    element(
      "div",
      { class: "figures" },
      figure("energy", signed(result.energy.toFixed(4)), "eV", `± ${figures(result.energy_uncertainty)} eV`),
      figure(
        "largest force",
        figures(size),
        "eV/Å",
        `on ${symbolOf(structure.numbers[atom])}${atom + 1}`,
      ),
      noveltyFigure(result.max_novelty, scale),
      ...stressFigure(result.stress),
      ...chargeFigures(result),
    ),
  );
  for (const text of [...remarks, ...result.warnings]) {
    box.append(element("p", { class: "warning", role: "note" }, element("b", {}, "Warning: "), text));
  }
  box.append(
    ...verdicts(answer, noveltyReading(result.max_novelty, scale).level),
    element("p", { class: "hint" }, timing(answer.timing)),
    snippetBox({ model: answer.model, version: answer.version }, structure, withKey),
    forceTable(structure, result),
  );
  return box;
}

/** Verdicts are about structures like those of validation: of others they say nothing. */
function verdicts({ model, version, status }, level) {
  const words = {
    good: `${model} version ${version} is`,
    fair: `For structures more like its training set, ${model} version ${version} is`,
    poor: `Not about a structure like this one: ${model} version ${version} is elsewhere`,
  };
  return [element("p", { class: "verdict-line" }, words[level]), badges(status, level === "good")];
}

function figure(title, value, unit, note) {
  return element(
    "div",
    { class: "figure" },
    element("span", { class: "name" }, title),
    element("span", { class: "value" }, element("b", {}, value), ` ${unit}`),
    element("span", { class: "note" }, note),
  );
}

/** About 1 is an atom like those of the training set, for every student. */
function noveltyFigure(novelty, scale) {
  const { level, words } = noveltyReading(novelty, scale);
  const made = figure("novelty", figures(novelty), "", words);
  made.classList.add(level);
  made.title =
    "About 1 for an atom like those of the training set. A low number is no proof of a good " +
    "answer: ions, for example, are not noticed.";
  return made;
}

/** Only where the gateway gave one: it is not defined without three periodic axes. */
function stressFigure(stress) {
  if (!stress) return [];
  const pressure = (-(stress[0] + stress[1] + stress[2]) / 3) * GPA_PER_EV_PER_CUBIC_ANGSTROM;
  return [figure("pressure", signed(figures(pressure)), "GPa", "minus a third of the stress's trace")];
}

/** Only of models that know charges, and the dipole only of what is not periodic. */
function chargeFigures({ net_charge: net, dipole }) {
  if (net === undefined || net === null) return [];
  const found = [figure("net charge", signed(net.toFixed(2)), "e", "the sum of the atomic charges")];
  if (dipole) {
    const size = Math.hypot(...dipole) * DEBYE_PER_ELECTRON_ANGSTROM;
    found.push(figure("dipole", figures(size), "D", "about the centre of mass"));
  }
  return found;
}

function formula(numbers) {
  return composition(numbers).flatMap(({ symbol, count }) =>
    count === 1 ? [symbol] : [symbol, element("sub", {}, String(count))],
  );
}

function timing({ queue_s, graph_s, inference_s }) {
  const parts = [`neighbour list ${duration(graph_s)}`, `inference ${duration(inference_s)}`];
  if (queue_s > 1e-3) parts.unshift(`waited ${duration(queue_s)}`);
  return `Computed on the gateway: ${parts.join(", ")}.`;
}

/** The arrows as numbers, for copying and for those who do not see them. */
function forceTable(structure, { forces, charges, force_uncertainty: errors }) {
  const rows = forces.slice(0, MOST_ROWS).map((force, atom) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, `${symbolOf(structure.numbers[atom])}${atom + 1}`),
      ...force.map((value) => element("td", {}, signed(value.toFixed(4)))),
      element("td", {}, Math.hypot(...force).toFixed(4)),
      ...(errors ? [element("td", {}, errors[atom].toFixed(4))] : []),
      ...(charges ? [element("td", {}, signed(charges[atom].toFixed(3)))] : []),
    ),
  );
  const names = ["", "x", "y", "z", "size", ...(errors ? ["±"] : []), ...(charges ? ["charge"] : [])];
  const head = names.map((name) => element(name === "" ? "td" : "th", { scope: name === "" ? null : "col" }, name));
  const left = forces.length - rows.length;
  return element(
    "details",
    {},
    element("summary", {}, charges ? "Forces (eV/Å) and charges (e) as numbers" : "Forces as numbers, eV/Å"),
    element(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Forces" },
      element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)),
    ),
    left > 0 ? element("p", { class: "hint" }, `and ${left.toLocaleString("en")} more atoms`) : null,
  );
}
