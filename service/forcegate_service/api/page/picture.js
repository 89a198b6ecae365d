/** The picture and its tools: what is drawn, in which colours, and what it says in words. */

import { colouringOf } from "./colouring.js";
import { byId, element } from "./dom.js";
import { composition, symbolOf } from "./elements.js";
import { figures, signed } from "./format.js";
import { Viewer } from "./viewer.js";

/** Shows a structure, and what a model says of it once that is known. */
export class Picture {
  /** @param {() => void} onwanted told that error bars are to be seen, which were not asked for */
  constructor(onwanted) {
    /** @type {import("./xyz.js").Structure | null} */
    this.structure = null;
    /** @type {Record<string, any> | null} */
    this.result = null;
    this.viewer = new Viewer(byId("canvas"), (atom) => this.#point(atom));
    for (const name of ["arrows", "bonds", "labels"]) {
      const box = byId(`show-${name}`);
      box.addEventListener("change", () => this.viewer.setShown({ [name]: box.checked }));
      this.viewer.setShown({ [name]: box.checked });
    }
    byId("colour").addEventListener("change", () => {
      // Error bars cost as much as the forces, and are asked for when they are looked at.
      if (this.wantsErrors && !this.result?.force_uncertainty) onwanted();
      else this.#colour();
    });
    const stretch = byId("stretch");
    stretch.addEventListener("input", () => this.viewer.setStretch(2 ** Number(stretch.value)));
    byId("reset").addEventListener("click", () => {
      this.viewer.camera.reset();
      this.viewer.draw();
    });
  }

  get wantsErrors() {
    return byId("colour").value === "error";
  }

  /**
   * @param {import("./xyz.js").Structure | null} structure
   * @param {boolean} [isSteady] whether the eye stays where it is
   */
  show(structure, isSteady = false) {
    this.structure = structure;
    this.result = null;
    this.viewer.show(structure, isSteady);
    this.#colour();
    if (!isSteady) this.#describe();
  }

  /** @param {Record<string, any>} result of a prediction of what is shown */
  tell(result) {
    this.result = result;
    this.viewer.setForces(result.forces);
    this.#colour();
    this.#describe();
  }

  /**
   * Offer what this model can say; the choice goes back to elements where it cannot.
   * @param {Record<string, any> | null} card
   */
  offer(card) {
    const select = byId("colour");
    const can = { element: true, charge: card?.interface === 2, error: Boolean(card?.force_partner) };
    for (const option of select.options) option.disabled = !can[option.value];
    if (!can[select.value]) select.value = "element";
  }

  #colour() {
    const found = colouringOf(byId("colour").value, this.result);
    this.viewer.setColours(found?.colours ?? null);
    const place = byId("scale");
    place.hidden = found === null;
    if (found === null) return;
    const ramp = element("span", { class: `ramp ${found.ramp}`, "aria-hidden": "true" });
    place.replaceChildren(`${found.title}: ${found.low} `, ramp, ` ${found.high}`);
  }

  /** What the picture shows, for those who do not see it. */
  #describe() {
    this.#point(null);
    const canvas = byId("canvas");
    if (this.structure === null) {
      canvas.setAttribute("aria-label", "No structure");
      return;
    }
    const { numbers, cell } = this.structure;
    const formula = composition(numbers).map(({ symbol, count }) => `${symbol} ${count}`).join(", ");
    const parts = [`${numbers.length} atoms: ${formula}`];
    if (cell !== null) parts.push("in a cell");
    if (this.result !== null) parts.push("with forces as arrows");
    canvas.setAttribute("aria-label", parts.join(", "));
  }

  #point(atom) {
    const place = byId("pointed");
    if (atom === null || this.structure === null) {
      place.textContent = "";
      return;
    }
    const told = [`${symbolOf(this.structure.numbers[atom])}${atom + 1}`];
    if (this.result !== null) {
      const { forces, charges, force_uncertainty: errors } = this.result;
      const error = errors ? ` ± ${figures(errors[atom])}` : "";
      told.push(`force ${figures(Math.hypot(...forces[atom]))}${error} eV/Å`);
      if (charges) told.push(`charge ${signed(charges[atom].toFixed(3))} e`);
    }
    place.textContent = told.join(" · ");
  }
}
