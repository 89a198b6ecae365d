/** The slider that turns a bond or pulls two molecules apart, and the energy along it. */

import { byId, element } from "./dom.js";
import { figures, signed } from "./format.js";
import { coordinatesOf } from "./twist.js";

// CODATA 2018: 1 eV in kcal/mol.
const KCAL_PER_EV = 23.060548;

/** Moves what was given, by a coordinate that is chosen. */
export class Scan {
  /** @param {(structure: import("./xyz.js").Structure) => void} onmove shown and asked about */
  constructor(onmove) {
    this.onmove = onmove;
    /** @type {import("./twist.js").Coordinate[]} */
    this.coordinates = [];
    this.structure = null;
    this.start = null;
    this.slider = byId("scan");
    byId("scan-which").addEventListener("change", () => this.#choose());
    this.slider.addEventListener("input", () => this.#move());
  }

  /** @param {import("./xyz.js").Structure | null} structure that was given, or nothing to move */
  offer(structure) {
    this.structure = structure;
    this.start = null;
    this.coordinates = structure === null ? [] : coordinatesOf(structure);
    byId("scan-row").hidden = this.coordinates.length === 0;
    const options = this.coordinates.map(({ name }, k) => element("option", { value: k }, name));
    byId("scan-which").replaceChildren(...options);
    this.#choose(false);
  }

  /** @param {number} energy eV, of what is shown */
  tell(energy) {
    if (this.start === null) this.start = energy;
    const change = energy - this.start;
    const { unit } = this.#chosen ?? { unit: "" };
    const kcal = figures(Math.abs(change) < 5e-5 ? 0 : change * KCAL_PER_EV);
    const words = `${signed(this.slider.value)} ${unit}: ${signed(kcal)} kcal/mol`;
    byId("scan-told").textContent = this.#chosen === undefined ? "" : words;
  }

  get #chosen() {
    return this.coordinates[Number(byId("scan-which").value)];
  }

  #choose(isMoved = true) {
    const chosen = this.#chosen;
    if (chosen === undefined) return;
    const { least: min, most: max, step } = chosen;
    Object.assign(this.slider, { min, max, step, value: 0 });
    byId("scan-told").textContent = "";
    if (isMoved) this.#move();
  }

  #move() {
    const positions = this.#chosen.positions(Number(this.slider.value));
    this.onmove({ ...this.structure, positions, velocities: undefined });
  }
}
