/** Requests to the gateway that served this page, and the key that they carry. */

const STORE = "forcegate-key";

/** An answer that was a problem document, or no answer at all. */
export class ApiError extends Error {
  /**
   * @param {Record<string, any>} problem
   * @param {number} status 0 if there was no answer
   * @param {number} keyNumber which of the keys of this tab was sent
   */
  constructor(problem, status, keyNumber) {
    super(problem.detail ?? problem.title ?? "no answer");
    /** @type {Record<string, any>} */
    this.problem = problem;
    this.status = status;
    this.keyNumber = keyNumber;
  }
}

/** Asks the gateway. The key stays in this tab, and is sent in a header and nowhere else. */
export class Api {
  /** @type {Map<string, Promise<Record<string, any>>>} */
  #cards = new Map();
  /** How many keys there have been: a late refusal may be about the one before. */
  keyNumber = 0;

  /** @returns {string | null} */
  get key() {
    return sessionStorage.getItem(STORE);
  }

  /** @param {string | null} key */
  set key(key) {
    this.keyNumber += 1;
    if (key === null) sessionStorage.removeItem(STORE);
    else sessionStorage.setItem(STORE, key);
  }

  /** @param {string} path relative to the page @returns {Promise<any>} */
  async json(path) {
    return (await this.#ask(path)).json();
  }

  /** @param {string} path relative to the page @returns {Promise<string>} */
  async text(path) {
    return (await this.#ask(path)).text();
  }

  /** @param {string} path relative to the page @returns {Promise<Blob>} */
  async blob(path) {
    return (await this.#ask(path)).blob();
  }

  /**
   * A model's card. A version never changes, but validation may judge it anew: `refresh` asks.
   * @param {string} name @param {string} version @param {boolean} [refresh]
   * @returns {Promise<Record<string, any>>}
   */
  card(name, version, refresh = false) {
    const path = `v1/models/${encodeURIComponent(name)}?version=${encodeURIComponent(version)}`;
    if (refresh || !this.#cards.has(path)) {
      const asked = this.json(path);
      this.#cards.set(path, asked);
      asked.catch(() => this.#cards.delete(path));
    }
    return this.#cards.get(path);
  }

  /**
   * What a file holds that the gateway reads.
   * @param {string | ArrayBuffer} content
   * @param {string} format by the end that the name of such a file has
   * @param {AbortSignal} signal
   * @returns {Promise<any>}
   */
  async structures(content, format, signal) {
    const headers = { "Content-Type": "application/octet-stream" };
    const options = { method: "POST", body: content, headers, signal };
    return (await this.#ask(`v1/structures?format=${encodeURIComponent(format)}`, options)).json();
  }

  /**
   * Energies and forces of one structure.
   * @param {{model: string, version: string}} which
   * @param {import("./xyz.js").Structure} structure
   * @param {string[]} more properties, which not every model has
   * @param {AbortSignal} signal
   * @returns {Promise<any>}
   */
  async predict(which, structure, more, signal) {
    const properties = ["energy", "forces", "uncertainty", ...more];
    if (structure.cell !== null && structure.pbc.every(Boolean)) properties.push("stress");
    if (more.includes("charges") && !structure.pbc.some(Boolean)) properties.push("dipole");
    const body = { ...which, properties, structures: [asBody(structure)] };
    const headers = { "Content-Type": "application/json" };
    const options = { method: "POST", body: JSON.stringify(body), headers, signal };
    return (await this.#ask("v1/predict", options)).json();
  }

  /**
   * The records of a run, as they come.
   * @param {string} path relative to the page
   * @param {Record<string, any>} body
   * @param {AbortSignal} signal ends the run, here and on the server
   * @param {(record: Record<string, any>) => void} onrecord
   * @returns {Promise<void>} once the stream has ended as it should
   */
  async stream(path, body, signal, onrecord) {
    const headers = { "Content-Type": "application/json", Accept: "application/x-ndjson" };
    const options = { method: "POST", body: JSON.stringify(body), headers, signal };
    const response = await this.#ask(path, options);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let [begun, isWhole] = ["", false];
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (begun + value).split("\n");
      begun = lines.pop();
      for (const line of lines) {
        const record = JSON.parse(line);
        isWhole = record.record === "summary";
        onrecord(record);
      }
    }
    if (isWhole) return;
    const received = "a run that was cut off";
    const action = "press Run again: it goes on from the last frame that came";
    throw new ApiError({ title: "The run broke off", received, action }, 0, this.keyNumber);
  }

  async #ask(path, options = {}) {
    const headers = { ...options.headers };
    const number = this.keyNumber;
    if (this.key !== null) headers.Authorization = `Bearer ${this.key}`;
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(
        {
          title: "The gateway does not answer",
          received: "no answer",
          expected: "one from the gateway that served this page",
          action: "see whether it runs and whether the network reaches it",
        },
        0,
        number,
      );
    }
    if (response.ok) return response;
    throw new ApiError(await problemOf(response), response.status, number);
  }
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    // A proxy's own page, for example.
    return {
      title: "The answer is not the gateway's",
      received: `status ${response.status} without a problem document`,
      expected: "an answer of the gateway",
      action: "ask whoever runs what stands between here and the gateway",
    };
  }
}

/** @param {import("./xyz.js").Structure} structure @returns {Record<string, any>} */
export function asBody({ numbers, positions, cell, pbc, charge, multiplicity }) {
  const body = { atomic_numbers: numbers, positions, cell, pbc };
  if (charge !== undefined) body.charge = charge;
  if (multiplicity !== undefined) body.multiplicity = multiplicity;
  return body;
}
