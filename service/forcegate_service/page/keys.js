/** The box that asks for a key, where keys are in force. */

import { byId, problemBox } from "./dom.js";

/** Hidden until the gateway refuses something for want of a key. */
export class KeyPanel {
  /**
   * @param {import("./api.js").Api} api
   * @param {() => void} onchange told that another key, or none, is used from now on
   */
  constructor(api, onchange) {
    this.api = api;
    const input = byId("key");
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      api.key = input.value.trim();
      input.value = "";
      this.#hide();
      onchange();
    });
    byId("key-forget").addEventListener("click", () => {
      api.key = null;
      input.value = "";
      onchange();
    });
  }

  /** @param {Record<string, any>} problem the refusal */
  ask(problem) {
    const known = this.api.key !== null;
    // A key that was refused is no use; without one the heading says it all.
    if (known) this.api.key = null;
    byId("key-problem").replaceChildren(...(known ? [problemBox(problem)] : []));
    byId("key-panel").hidden = false;
  }

  #hide() {
    byId("key-problem").replaceChildren();
    byId("key-panel").hidden = true;
  }
}
