/** Which of several frames is shown: by a slider, or one after the other. */

import { byId } from "./dom.js";

const FRAMES_PER_S = 20;

/** Told of each frame by `onframe(index, isPlaying)`; the last one of a play comes as a rest. */
export class Player {
  /** @param {(index: number, isPlaying: boolean) => void} onframe */
  constructor(onframe) {
    this.onframe = onframe;
    this.count = 1;
    this.timer = 0;
    this.slider = byId("frame");
    this.button = byId("play");
    this.slider.addEventListener("input", () => {
      this.#halt();
      this.#show(false);
    });
    this.button.addEventListener("click", () => (this.isPlaying ? this.stop() : this.play()));
  }

  get isPlaying() {
    return this.timer !== 0;
  }

  /** @returns {number} of the frame that is shown, from 0 */
  get index() {
    return Number(this.slider.value) - 1;
  }

  /** Begin with `index` of so many frames. @param {number} count @param {number} [index] */
  reset(count, index = 0) {
    this.#halt();
    this.count = count;
    Object.assign(this.slider, { max: String(count), value: String(index + 1) });
    byId("frames").hidden = count === 1;
    this.#show(false);
  }

  /** From the frame that is shown to the last, or from the first if it is the last. */
  play() {
    if (this.index === this.count - 1) this.slider.value = "1";
    this.button.textContent = "Stop";
    this.timer = setInterval(() => {
      this.slider.value = String(this.index + 2);
      if (this.index >= this.count - 1) this.stop();
      else this.#show(true);
    }, 1000 / FRAMES_PER_S);
  }

  stop() {
    if (!this.isPlaying) return;
    this.#halt();
    this.#show(false);
  }

  #halt() {
    clearInterval(this.timer);
    this.timer = 0;
    this.button.textContent = "Play";
  }

  #show(isPlaying) {
    const told = `${this.index + 1} of ${this.count.toLocaleString("en")}`;
    byId("frame-number").textContent = told;
    this.onframe(this.index, isPlaying);
  }
}
