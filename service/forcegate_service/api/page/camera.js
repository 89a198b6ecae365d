/** Where the eye is: turns, zoom and perspective. Vectors are [x, y, z], z towards the eye. */

/** @typedef {number[][]} Matrix three rows */

/** @type {Matrix} */
const IDENTITY = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
// Distance of the eye in radii of the scene: near enough for depth, too far for distortion.
const EYE = 5;
// Room for balls and arrows around the outermost centers, Å.
const MARGIN = 0.6;

/** @param {Matrix} m @param {number[]} v @returns {number[]} */
export const turned = (m, v) => m.map((row) => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);

/** @param {Matrix} a @param {Matrix} b @returns {Matrix} a after b */
const product = (a, b) =>
  a.map((row) => [0, 1, 2].map((k) => row[0] * b[0][k] + row[1] * b[1][k] + row[2] * b[2][k]));

/** A turn about one axis of the screen. @param {0 | 1 | 2} axis @param {number} angle rad */
function turnAbout(axis, angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  if (axis === 0) return [[1, 0, 0], [0, c, -s], [0, s, c]];
  if (axis === 1) return [[c, 0, s], [0, 1, 0], [-s, 0, c]];
  return [[c, -s, 0], [s, c, 0], [0, 0, 1]];
}

/** An eye that looks at a ball of what is to be seen. */
export class Camera {
  constructor() {
    this.center = [0, 0, 0];
    this.radius = 1;
    this.reset();
  }

  /** Back to where one starts: a little from above and from the side. */
  reset() {
    this.rotation = product(turnAbout(0, 0.42), product(turnAbout(1, -0.5), IDENTITY));
    this.zoom = 1;
  }

  /** Look at these points, whatever the turn. @param {number[][]} points Å */
  aim(points) {
    const sums = points.reduce((sum, p) => sum.map((value, k) => value + p[k]), [0, 0, 0]);
    this.center = sums.map((value) => value / Math.max(1, points.length));
    const reach = points.map((p) => Math.hypot(...p.map((value, k) => value - this.center[k])));
    // Not by spreading: there may be more atoms than a call takes arguments.
    this.radius = reach.reduce((largest, value) => Math.max(largest, value), 1.7);
  }

  /** @param {number} right rad @param {number} down rad @param {number} [roll] rad */
  turn(right, down, roll = 0) {
    const step = product(turnAbout(2, roll), product(turnAbout(0, down), turnAbout(1, right)));
    this.rotation = straightened(product(step, this.rotation));
  }

  /** @param {number} factor */
  magnify(factor) {
    this.zoom = Math.min(12, Math.max(0.3, this.zoom * factor));
  }

  /** Pixels of one Å at the center. @param {number} width px @param {number} height px */
  scale(width, height) {
    return (this.zoom * Math.min(width, height)) / (2 * (this.radius + MARGIN));
  }

  /**
   * A function from Å to the screen: x and y in pixels, z in Å towards the eye, and the pixels of
   * one Å there.
   * @param {number} width @param {number} height px
   * @returns {(point: number[]) => {x: number, y: number, z: number, scale: number}}
   */
  projection(width, height) {
    const scale = this.scale(width, height);
    const eye = EYE * (this.radius + MARGIN);
    return (point) => {
      const [x, y, z] = turned(this.rotation, point.map((value, k) => value - this.center[k]));
      const near = (scale * eye) / Math.max(0.2 * eye, eye - z);
      return { x: width / 2 + near * x, y: height / 2 - near * y, z, scale: near };
    };
  }
}

/** Many small turns would add up to a shear: rows are made unit vectors at right angles again. */
function straightened([a, b]) {
  const unit = (v) => v.map((value) => value / Math.hypot(...v));
  const first = unit(a);
  const along = first[0] * b[0] + first[1] * b[1] + first[2] * b[2];
  const second = unit(b.map((value, k) => value - along * first[k]));
  const third = [
    first[1] * second[2] - first[2] * second[1],
    first[2] * second[0] - first[0] * second[2],
    first[0] * second[1] - first[1] * second[0],
  ];
  return [first, second, third];
}
