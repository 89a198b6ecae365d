/** Relaxes and moves what is shown on the server, and shows each frame as it comes. */

import { ApiError, asBody } from "./api.js";
import { byId, problemBox } from "./dom.js";
import { figures, signed } from "./format.js";
import { sparkline } from "./sparkline.js";

// Ten picoseconds at a step that holds for hydrogens, a frame each 10 fs.
const DYNAMICS = {
  method: "langevin", timestep_fs: 0.5, temperature_k: 300, friction_per_fs: 0.01,
  steps: 20_000, frame_interval: 20,
};
const RELAXATION = { method: "fire", fmax: 0.01, steps: 500, frame_interval: 1 };
const FS_PER_STEP = DYNAMICS.timestep_fs;
const REASONS = {
  finished: "10 ps done", converged: "relaxed: no force above 0.01 eV/Å",
  not_converged: "not relaxed after 500 steps", stopped: "ended by a guard", failed: "failed",
};

/**
 * @typedef {object} Bench
 * @property {() => {which: {model: string, version: string},
 *   structure: import("./xyz.js").Structure | null}} asked what is to be moved, and by which model
 * @property {(structure: import("./xyz.js").Structure) => void} onframe shown while it goes on
 * @property {(frames: import("./xyz.js").Structure[]) => void} onend all frames, to be played
 */

/** The buttons Relax, Run and Stop, and what they tell. */
export class Runs {
  /** @param {import("./api.js").Api} api @param {Bench} bench */
  constructor(api, bench) {
    this.api = api;
    this.bench = bench;
    /** @type {AbortController | null} */
    this.going = null;
    /** What is told of, which may have ended. @type {Look | null} */
    this.look = null;
    byId("relax").addEventListener("click", () => this.#go("v1/relax", RELAXATION, {}));
    byId("run").addEventListener("click", () => {
      // A whole number that JavaScript has exactly; each press is another run.
      this.#go("v1/dynamics", DYNAMICS, { seed: crypto.getRandomValues(new Uint32Array(1))[0] });
    });
    byId("halt").addEventListener("click", () => this.going?.abort());
  }

  /** End what goes on, if anything does, and forget it: something else is to be shown. */
  drop() {
    this.going?.abort();
    if (this.going !== null) this.#show(false);
    this.going = this.look = null;
    byId("run-state").textContent = "";
    byId("run-curves").replaceChildren();
    byId("run-problem").replaceChildren();
  }

  /** @param {boolean} can whether there is something to move */
  offer(can) {
    byId("relax").disabled = byId("run").disabled = !can;
  }

  async #go(path, how, more) {
    const { which, structure } = this.bench.asked();
    if (structure === null) return;
    this.drop();
    const going = (this.going = new AbortController());
    const onframe = (frame) => this.going === going && this.bench.onframe(frame);
    const look = (this.look = new Look(structure, onframe, () => this.look === look));
    this.#show(true);
    const moved = asBody(structure);
    // A run goes on with the velocities of the frame that it begins with.
    if (how === DYNAMICS && structure.velocities) moved.velocities = structure.velocities;
    const body = { ...which, ...how, ...more, structures: [moved] };
    let told = "stopped";
    let problem = null;
    try {
      await this.api.stream(path, body, going.signal, (record) => {
        if (record.record === "frame") look.add(record);
        if (record.record === "end") told = REASONS[record.reason] ?? record.reason;
        problem = record.problem ?? problem;
      });
    } catch (error) {
      if (error instanceof ApiError) problem = error.problem;
      else if (error.name !== "AbortError") throw error;
    }
    if (this.going !== going) return;
    this.going = null;
    this.#show(false);
    look.end(told);
    if (look.frames.length > 1) this.bench.onend(look.frames);
    byId("run-problem").replaceChildren(...(problem === null ? [] : [problemBox(problem)]));
  }

  #show(isGoing) {
    byId("halt").hidden = !isGoing;
    byId("relax").hidden = byId("run").hidden = isGoing;
    byId("run-problem").replaceChildren();
  }
}

/** The frames of one run, the last of which is drawn with the screen's next picture. */
class Look {
  /** `isShown` tells whether nothing else has taken its place by the time of a picture. */
  constructor(structure, onframe, isShown) {
    this.structure = structure;
    this.onframe = onframe;
    this.isShown = isShown;
    this.frames = [structure];
    this.energies = [];
    this.others = [];
    this.last = null;
    this.isWaiting = false;
  }

  add(frame) {
    const { positions, velocities, step, energy } = frame;
    this.last = frame;
    this.energies.push({ time: step, value: energy });
    this.others.push({ time: step, value: frame.temperature_k ?? frame.fmax });
    this.frames.push({ ...this.structure, positions, velocities, comment: `step ${step}` });
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      this.#draw("");
    });
  }

  end(words) {
    // After the picture that is still to come.
    requestAnimationFrame(() => this.#draw(words));
  }

  #draw(words) {
    if (!this.isShown()) return;
    const state = byId("run-state");
    if (this.last === null) {
      state.textContent = words;
      return;
    }
    this.onframe(this.frames.at(-1));
    const { step, energy, temperature_k: kelvin, fmax } = this.last;
    const parts = kelvin === undefined
      ? [`step ${step}`, `largest force ${figures(fmax)} eV/Å`]
      : [`${((step * FS_PER_STEP) / 1000).toFixed(2)} ps`, `${Math.round(kelvin)} K`];
    parts.push(`${signed(energy.toFixed(3))} eV`);
    if (words !== "") parts.push(words);
    state.textContent = parts.join(" · ");
    const end = Math.max(1, step);
    byId("run-curves").replaceChildren(
      labelled(kelvin === undefined ? "largest force" : "temperature", this.others, end),
      labelled("energy", this.energies, end),
    );
  }
}

function labelled(name, series, end) {
  const box = document.createElement("div");
  const lowest = series.reduce((least, { value }) => Math.min(least, value), Infinity);
  // A curve begins at zero, and energies lie far below: what rises above the lowest is drawn.
  const shifted = name === "energy"
    ? series.map(({ time, value }) => ({ time, value: value - lowest })) : series;
  box.className = "curve-box";
  const title = document.createElement("span");
  title.className = "hint";
  title.textContent = name;
  box.append(title, sparkline([shifted], end, end));
  return box;
}
