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
    this.panel = byId("key-panel");
    this.forget = byId("key-forget");
    const input = byId("key");
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#use(input.value.trim());
      input.value = "";
      this.panel.hidden = true;
      onchange();
    });
    this.forget.addEventListener("click", () => {
      this.#use(null);
      onchange();
    });
    this.forget.hidden = api.key === null;
  }

  /** @param {import("./api.js").ApiError} refusal for want of a valid key */
  ask(refusal) {
    // Somebody has typed another key since that was asked.
    if (refusal.keyNumber !== this.api.keyNumber) return;
    // A key that was refused is no use; where there was none the heading says it all.
    if (this.api.key !== null) {
      this.#use(null);
      byId("key-problem").replaceChildren(problemBox(refusal.problem));
    }
    this.panel.hidden = false;
  }

  #use(key) {
    this.api.key = key;
    this.forget.hidden = key === null;
    byId("key-problem").replaceChildren();
  }
}
