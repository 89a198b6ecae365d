/** A molecule on a canvas, to be turned with mouse, finger or keys. */

import { Camera } from "./camera.js";
import { legend, paint } from "./paint.js";
import { corners, round125, sceneOf, things, withForces } from "./scene.js";
import { figures } from "./format.js";

const TURN_PER_PIXEL = 0.009;
const TURN_PER_KEY = Math.PI / 18;
const ZOOM_PER_KEY = 1.2;
const LEGEND_PIXELS = 90;

/** Shows one structure; everything it needs to know of the page is its canvas. */
export class Viewer {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {(atom: number | null) => void} onpoint told which atom the pointer is over
   */
  constructor(canvas, onpoint) {
    this.canvas = canvas;
    this.onpoint = onpoint;
    this.camera = new Camera();
    /** @type {import("./scene.js").Scene | null} */
    this.scene = null;
    this.shown = { bonds: true, arrows: true, labels: false };
    this.stretch = 1;
    this.marked = null;
    this.drawn = [];
    this.pointers = new Map();
    this.waiting = false;
    this.#listen();
  }

  /**
   * Show another structure, from where one looked at the last if it has as many atoms.
   * @param {import("./xyz.js").Structure | null} structure
   * @param {boolean} [isSteady] whether the eye stays where it is, as when frames are played
   */
  show(structure, isSteady = false) {
    const before = this.scene?.structure.numbers.length;
    this.scene = structure === null ? null : sceneOf(structure);
    this.marked = null;
    if (structure !== null && !(isSteady && before === structure.numbers.length)) {
      this.camera.aim([...structure.positions, ...(structure.cell ? corners(structure.cell) : [])]);
      if (before !== structure.numbers.length) this.camera.reset();
    }
    this.draw();
  }

  /** @param {number[][]} forces eV/Å, of the structure that is shown */
  setForces(forces) {
    if (this.scene !== null) this.scene = withForces(this.scene, forces, this.camera.radius);
    this.draw();
  }

  /** @param {string[] | null} colours of the atoms; null for those of their elements */
  setColours(colours) {
    if (this.scene !== null) this.scene = { ...this.scene, colours };
    this.draw();
  }

  /** @param {Partial<import("./scene.js").Shown>} change */
  setShown(change) {
    this.shown = { ...this.shown, ...change };
    this.draw();
  }

  /** @param {number} stretch of arrows, 1 for the length that suits the structure */
  setStretch(stretch) {
    this.stretch = stretch;
    this.draw();
  }

  /** Draw with the next frame of the screen, once, however often it is asked for. */
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#paint();
    });
  }

  #paint() {
    const { canvas, camera, scene } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const density = window.devicePixelRatio || 1;
    const [columns, rows] = [Math.round(width * density), Math.round(height * density)];
    if (canvas.width !== columns || canvas.height !== rows) {
      Object.assign(canvas, { width: columns, height: rows });
    }
    const context = canvas.getContext("2d");
    const palette = paletteOf(canvas);
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    this.drawn = [];
    if (scene === null || width === 0) return;
    this.drawn = things(scene, this.shown, camera.projection(width, height), this.stretch);
    const depth = { nearest: 0.6 * camera.radius, farthest: -camera.radius };
    paint(context, this.drawn, palette, depth, this.marked);
    if (this.shown.arrows && scene.forces !== null) {
      const pixels = camera.scale(width, height) * scene.arrowLength * this.stretch;
      const force = round125(LEGEND_PIXELS / pixels);
      legend(context, palette, height, force * pixels, `${figures(force)} eV/Å`);
    }
  }

  #listen() {
    const { canvas } = this;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
    });
    canvas.addEventListener("pointermove", (event) => this.#moved(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("pointerleave", () => this.#mark(null));
    canvas.addEventListener("wheel", (event) => this.#rolled(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#pressed(event));
  }

  #moved(event) {
    const before = this.pointers.get(event.pointerId);
    if (before === undefined) {
      this.#mark(this.#atomAt(event.offsetX, event.offsetY));
      return;
    }
    if (this.pointers.size === 1) {
      const [right, down] = [event.clientX - before.clientX, event.clientY - before.clientY];
      this.camera.turn(TURN_PER_PIXEL * right, TURN_PER_PIXEL * down);
    } else {
      // Two fingers: what lies between them follows.
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const [old, now] = [before, event].map(({ clientX, clientY }) => ({
        length: Math.hypot(clientX - other.clientX, clientY - other.clientY),
        angle: Math.atan2(clientY - other.clientY, clientX - other.clientX),
      }));
      if (old.length > 0) this.camera.magnify(now.length / old.length);
      this.camera.turn(0, 0, old.angle - now.angle);
    }
    this.pointers.set(event.pointerId, event);
    this.draw();
  }

  /** Only who has chosen the picture, or holds Ctrl, zooms: others scroll the page. */
  #rolled(event) {
    if (document.activeElement !== this.canvas && !event.ctrlKey) return;
    event.preventDefault();
    this.camera.magnify(Math.exp(-0.0015 * event.deltaY));
    this.draw();
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = TURN_PER_KEY;
    const actions = {
      ArrowLeft: () => this.camera.turn(-step, 0),
      ArrowRight: () => this.camera.turn(step, 0),
      ArrowUp: () => this.camera.turn(0, -step),
      ArrowDown: () => this.camera.turn(0, step),
      ",": () => this.camera.turn(0, 0, step),
      ".": () => this.camera.turn(0, 0, -step),
      "+": () => this.camera.magnify(ZOOM_PER_KEY),
      "=": () => this.camera.magnify(ZOOM_PER_KEY),
      "-": () => this.camera.magnify(1 / ZOOM_PER_KEY),
      0: () => this.camera.reset(),
      Home: () => this.camera.reset(),
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
    this.draw();
  }

  #mark(atom) {
    if (atom === this.marked) return;
    this.marked = atom;
    this.onpoint(atom);
    this.draw();
  }

  #atomAt(x, y) {
    const hit = this.drawn.findLast(
      (thing) => thing.kind === "ball" && Math.hypot(thing.x - x, thing.y - y) <= thing.radius,
    );
    return hit?.index ?? null;
  }
}

/** The colours that the style sheet has for this theme. */
function paletteOf(canvas) {
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    background: colour("viewer"),
    ink: colour("ink"),
    arrow: colour("arrow"),
    edge: colour("edge"),
  };
}
