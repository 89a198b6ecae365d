/** From what somebody gives to a picture, and from a model to what it says of it. */

import { ApiError } from "./api.js";
import { byId, element, problemBox } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { isBinary, readFrames } from "./input.js";
import { Picture } from "./picture.js";
import { Player } from "./player.js";
import { resultBox } from "./result.js";
import { Runs } from "./run.js";
import { Scan } from "./scan.js";
import { XyzError } from "./xyz.js";

// More is drawn, but computed only when asked: nobody means to with every key that is pressed.
const MOST_ATOMS_UNASKED = 500;
const PAUSE_MS = 350;
// Longer texts are kept, but shown in no box.
const MOST_SHOWN = 300_000;

/** The part of the page under “Try a structure”. */
export class Workbench {
  /**
   * @param {import("./api.js").Api} api
   * @param {(refusal: ApiError) => void} onrefused told of requests without a valid key
   */
  constructor(api, onrefused) {
    this.api = api;
    this.onrefused = onrefused;
    /** @type {string | ArrayBuffer} */
    this.content = "";
    this.name = "";
    /** @type {import("./input.js").Frames | null} */
    this.found = null;
    /** What somebody has typed, whatever the file says. @type {string | null} */
    this.charge = null;
    /** @type {import("./xyz.js").Structure | null} */
    this.structure = null;
    this.asked = null;
    this.reading = null;
    this.pause = 0;
    this.picture = new Picture(() => this.#ask());
    this.player = new Player((index, isPlaying) => this.#showFrame(index, isPlaying));
    this.scan = new Scan((structure) => this.#moved(structure));
    this.runs = new Runs(api, {
      asked: () => this.#toMove(),
      onframe: (structure) => this.picture.show(structure, true),
      onend: (frames) => this.#play(frames),
    });
    this.#listen();
  }

  /** @param {import("./models.js").ModelList} list */
  setModels(list) {
    const select = byId("model");
    const chosen = select.value;
    const options = list.models.flatMap((model) =>
      [...model.versions].reverse().map((version) =>
        element("option", { value: `${model.name}/${version}` }, `${model.name} ${version}`),
      ),
    );
    select.replaceChildren(...options);
    if (options.some((option) => option.value === chosen)) select.value = chosen;
    else if (list.models.length > 0) {
      const { name, default_version: version, versions } = list.models[0];
      select.value = `${name}/${version ?? versions.at(-1)}`;
    }
    this.#ready();
  }

  /** Show an example, if nobody has given anything yet. */
  start() {
    if (this.content === "") this.load(EXAMPLES[2][1]());
    else this.#changed();
  }

  /** @param {string | ArrayBuffer} content @param {string} [name] of the file it came from */
  load(content, name = "") {
    this.content = content;
    this.name = name;
    const isShown = typeof content === "string" && content.length <= MOST_SHOWN;
    byId("text").value = isShown ? content : "";
    byId("text").placeholder = isShown ? "" : "too long to be shown here, but it was read";
    byId("file-name").textContent = name;
    this.#changed();
  }

  #listen() {
    for (const [name, text] of EXAMPLES) {
      const button = element("button", { type: "button", onclick: () => this.load(text()) }, name);
      byId("examples").append(button);
    }
    byId("text").addEventListener("input", () => {
      this.content = byId("text").value;
      this.name = byId("file-name").textContent = "";
      this.#soon(() => this.#changed());
    });
    byId("charge").addEventListener("input", () => {
      this.charge = byId("charge").value;
      this.#soon(() => this.#showFrame(this.player.index, false));
    });
    byId("file").addEventListener("change", (event) => {
      this.#open(event.target.files[0]);
      event.target.value = "";
    });
    const drop = byId("try");
    drop.addEventListener("dragover", (event) => {
      event.preventDefault();
      drop.classList.add("dropping");
    });
    drop.addEventListener("dragleave", () => drop.classList.remove("dropping"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("dropping");
      const [file] = event.dataTransfer.files;
      if (file === undefined) this.load(event.dataTransfer.getData("text"));
      else this.#open(file);
    });
    byId("model").addEventListener("change", () => this.#ask());
    byId("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
  }

  /** Once nobody has typed for a moment. */
  #soon(task) {
    clearTimeout(this.pause);
    this.pause = setTimeout(task, PAUSE_MS);
  }

  async #open(file) {
    if (file === undefined) return;
    this.load(isBinary(file.name) ? await file.arrayBuffer() : await file.text(), file.name);
  }

  /** What a run begins with; nothing else is shown or asked meanwhile. */
  #toMove() {
    this.player.stop();
    this.asked?.abort();
    byId("result").removeAttribute("aria-busy");
    const [model, version] = byId("model").value.split("/");
    return { which: { model, version }, structure: this.structure };
  }

  /** Frames of a run take the place of those that were given, and the last one is looked at. */
  #play(frames) {
    // Frames have the charge that the run was asked with.
    this.charge = null;
    this.found = { count: frames.length, frame: (index) => ({ ...frames[index] }), remarks: [] };
    this.player.reset(frames.length, frames.length - 1);
  }

  /** Another input: its first frame. */
  async #changed() {
    clearTimeout(this.pause);
    this.runs.drop();
    this.reading?.abort();
    this.asked?.abort();
    const reading = (this.reading = new AbortController());
    byId("result").setAttribute("aria-busy", "true");
    this.charge = null;
    try {
      const found = await readFrames(this.content, this.name, this.api, reading.signal);
      if (reading.signal.aborted) return;
      this.found = found;
    } catch (error) {
      this.#cannotRead(error);
      return;
    }
    this.player.reset(this.found.count);
  }

  #showFrame(index, isPlaying) {
    if (this.found === null) return;
    try {
      this.structure = this.found.frame(index);
    } catch (error) {
      this.#cannotRead(error);
      return;
    }
    this.#fillCharge();
    this.picture.show(this.structure, isPlaying);
    if (isPlaying) return;
    this.#ready();
    this.scan.offer(this.structure);
    if (this.structure.numbers.length <= MOST_ATOMS_UNASKED) this.#ask();
    else this.#say(element("p", { class: "hint" }, "Large: press Compute."));
  }

  /** By hand, from what was given: the eye stays, and what comes last is asked about. */
  #moved(structure) {
    this.structure = structure;
    this.picture.show(structure, true);
    this.#ask();
  }

  /** The charge that is asked about: that of the input, unless somebody types another one. */
  #fillCharge() {
    const { charge } = this.structure;
    const from = byId("charge-from");
    if (this.charge === null) {
      byId("charge").value = charge ?? "";
      from.textContent = charge === undefined ? "not told: neutral" : "from the input";
      return;
    }
    this.structure.charge = this.charge === "" ? undefined : Math.trunc(Number(this.charge));
    from.textContent = "";
  }

  #cannotRead(error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof XyzError || error instanceof ApiError)) throw error;
    if (error.status === 401) this.onrefused(error);
    this.asked?.abort();
    this.structure = this.found = null;
    this.picture.show(null);
    this.scan.offer(null);
    this.#ready();
    this.#say(problemBox(error.problem ?? error));
  }

  async #ask() {
    const [model, version] = byId("model").value.split("/");
    if (this.structure === null || version === undefined) return;
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    const structure = this.structure;
    byId("result").setAttribute("aria-busy", "true");
    try {
      const card = await this.api.card(model, version).catch(() => null);
      this.picture.offer(card);
      const more = card?.interface === 2 ? ["charges"] : [];
      if (this.picture.wantsErrors) more.push("force_uncertainty");
      const answer = await this.api.predict({ model, version }, structure, more, asked.signal);
      if (asked.signal.aborted) return;
      this.picture.tell(answer.results[0]);
      this.scan.tell(answer.results[0].energy);
      const remarks = [structure.remark, ...this.found.remarks].filter(Boolean);
      const scale = card?.histograms ?? null;
      this.#say(resultBox(answer, structure, scale, remarks, this.api.key !== null));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) this.onrefused(error);
      this.#say(problemBox(error.problem));
    }
  }

  #say(box) {
    byId("result").removeAttribute("aria-busy");
    byId("result").replaceChildren(box);
  }

  #ready() {
    const can = this.structure !== null && byId("model").value !== "";
    byId("compute").disabled = !can;
    this.runs.offer(can);
  }
}
