/** The models that are served: verdicts at a glance, the rest of the card when asked for. */

import { element, facts, problemBox } from "./dom.js";
import { symbolOf } from "./elements.js";
import { reportBox } from "./report.js";
import { USES, VERDICTS, figures, shortDigest } from "./format.js";

/**
 * @typedef {{name: string, default_version: string | null, default_reason: string, versions: string[], digest: string,
 *   elements: number[], status: Record<string, string>}} ModelEntry
 * @typedef {{models: ModelEntry[], refused: {name: string, version: string, reason: string}[]}} ModelList
 */

/**
 * One badge for each use; colour is never all that tells them apart.
 * @param {Record<string, string>} status
 * @param {boolean} [holds] whether they are about a structure like this one
 * @returns {HTMLElement}
 */
export function badges(status, holds = true) {
  const list = element("ul", { class: "badges", "aria-label": "Verdicts" });
  for (const [use, verdict] of Object.entries(status)) {
    const words = VERDICTS[verdict] ?? verdict;
    list.append(
      element(
        "li",
        { class: holds ? `badge ${verdict}` : "badge" },
        element("span", {}, USES[use] ?? use),
        element("b", {}, words),
      ),
    );
  }
  return list;
}

/**
 * @param {ModelList} list
 * @param {import("./api.js").Api} api
 * @returns {HTMLElement}
 */
export function modelList(list, api) {
  const body = element("div", { class: "models" });
  for (const model of list.models) {
    for (const version of [...model.versions].reverse()) {
      body.append(versionBox(model, version, api));
    }
  }
  if (list.refused.length > 0) {
    const rows = list.refused.map(({ name, version, reason }) => [`${name} ${version}`, reason]);
    body.append(
      element("div", { class: "refused" }, element("h3", {}, "Refused, and not served"), facts(rows)),
    );
  }
  return body;
}

function versionBox(model, version, api) {
  const isDefault = version === model.default_version;
  const more = element("div", { class: "more" }, element("p", { class: "hint" }, "asking…"));
  const summary = element("div", { class: "verdicts" });
  const teacher = element("span", { class: "hint" });
  const box = element(
    "details",
    { class: "model" },
    element(
      "summary",
      {},
      element(
        "span",
        { class: "title" },
        element("b", {}, model.name),
        ` version ${version}${isDefault && model.versions.length > 1 ? ", the default" : ""} `,
        teacher,
      ),
      summary,
    ),
    more,
  );
  api.card(model.name, version, true).then(
    (card) => {
      summary.append(badges(card.status));
      teacher.textContent = `taught by ${card.teacher.name}`;
      more.replaceChildren(essentials(card), reportBox(api, model.name, version));
    },
    (error) => more.replaceChildren(problemBox(error.problem ?? error)),
  );
  return box;
}

/** What of a card one wants to know first. @param {Record<string, any>} card */
function essentials(card) {
  const rows = [
    ["digest", element("code", { title: card.files["model.pt"] }, shortDigest(card.files["model.pt"]))],
    ["teacher", [card.teacher.name, card.teacher.version].filter(Boolean).join(" ")],
    ["parameters", card.n_parameters.toLocaleString("en")],
    ["elements", card.elements.map(symbolOf).join(" ")],
    ["cutoff", `${card.cutoff} Å`],
    ["trained on", trainedOn(card.dataset)],
    ["exported", `${card.created.slice(0, 10)}, forcegate ${card.code_version}`],
  ];
  const reasons = decidedBy(card.metrics?.verdicts);
  if (reasons.length > 0) rows.push(["verdicts rest on", reasons.join("; ")]);
  return element(
    "div",
    { class: "card-body" },
    facts(rows),
    errorTable(card.metrics?.test),
  );
}

function trainedOn(dataset) {
  const train = dataset?.train;
  if (train?.frames === undefined) return "not told";
  const molecules = train.molecules === undefined ? "" :
    ` of ${train.molecules.toLocaleString("en")} molecules`;
  return `${train.frames.toLocaleString("en")} frames${molecules}`;
}

function decidedBy(verdicts) {
  return Object.entries(verdicts?.decided_by ?? {}).map(
    ([use, names]) => `${USES[use] ?? use}: ${names.map(withFigure(verdicts.figures)).join(", ")}`,
  );
}

const withFigure = (known) => (name) => {
  const value = known?.[name];
  const words = name.replaceAll("_", " ");
  return typeof value === "number" ? `${words} ${figures(value)}` : words;
};

/** Errors on molecules that the model was never trained on. */
function errorTable(test) {
  if (test?.force_rmse === undefined) {
    return element("p", { class: "hint" }, "Errors on molecules it was not trained on: not measured.");
  }
  const columns = [
    ["force_rmse", "force RMSE, eV/Å"],
    ["force_mae", "force MAE, eV/Å"],
    ["force_r2", "component R²"],
    ["energy_mae_mev_per_atom", "energy MAE, meV/atom"],
  ];
  const row = (name, values) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      ...columns.map(([key]) => element("td", {}, numberOrNot(values[key], key))),
    );
  const rows = [row("all", test)];
  for (const [kelvin, values] of Object.entries(test.per_temperature_k ?? {})) {
    rows.push(row(`${kelvin} K`, values));
  }
  for (const [symbol, values] of Object.entries(test.per_element ?? {})) rows.push(row(symbol, values));
  const size = test.frames === undefined ? "" :
    `: ${test.frames.toLocaleString("en")} frames of ${test.molecules} molecules`;
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Test errors" },
    element(
      "table",
      {},
      element("caption", {}, `Errors on molecules it was not trained on${size}`),
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          element("td", {}),
          ...columns.map(([, name]) => element("th", { scope: "col" }, name)),
        ),
      ),
      element("tbody", {}, ...rows),
    ),
  );
}

const numberOrNot = (value, key) =>
  typeof value !== "number" ? "–" : key === "force_r2" ? value.toFixed(4) : figures(value);
