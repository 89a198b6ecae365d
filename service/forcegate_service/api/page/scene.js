/** A structure as things to draw, sorted from the back to the front. */

import { bonds } from "./bonds.js";
import { colourOf, radiusOf, symbolOf } from "./elements.js";

/**
 * @typedef {object} Scene
 * @property {import("./xyz.js").Structure} structure
 * @property {[number, number][]} bonds
 * @property {number[][] | null} forces eV/Å
 * @property {string[] | null} colours of the atoms, if not those of their elements
 * @property {number} arrowLength Å that one eV/Å is drawn long
 *
 * @typedef {{bonds: boolean, arrows: boolean, labels: boolean}} Shown
 */

const BOND_WIDTH = 0.2;
const CELL_PIECES = 12;
// Longest arrow in radii of the structure, and in Å, where nobody asks for another length.
const LONGEST = 0.8;
const LONGEST_A = 2.2;
// Sticks begin within their balls: seen from the front they would lie on them otherwise.
const INSIDE = 0.85;
// Beyond it arrows of rounding errors would look like forces.
const MOST_LENGTH = 5;

/** @param {number} number @returns {number} radius of the ball, Å */
export const ballRadius = (number) => 0.2 + 0.3 * radiusOf(number);

/** @param {import("./xyz.js").Structure} structure @returns {Scene} */
export function sceneOf(structure) {
  const found = bonds(structure.numbers, structure.positions);
  return { structure, bonds: found, forces: null, colours: null, arrowLength: 1 };
}

/**
 * @param {Scene} scene
 * @param {number[][]} forces eV/Å
 * @param {number} radius of the structure, Å
 * @returns {Scene}
 */
export function withForces(scene, forces, radius) {
  const longest = Math.min(LONGEST_A, LONGEST * radius);
  const largest = largestForce(forces).size;
  const arrowLength = Math.min(MOST_LENGTH, largest > 0 ? round125(longest / largest) : 1);
  return { ...scene, forces, arrowLength };
}

/** @param {number[][]} forces @returns {{size: number, atom: number}} */
export function largestForce(forces) {
  const found = { size: 0, atom: 0 };
  forces.forEach((force, atom) => {
    const size = Math.hypot(...force);
    if (size > found.size) Object.assign(found, { size, atom });
  });
  return found;
}

/** The largest of 1, 2, 5, 10… (and their fractions) that is not above. @param {number} value */
export function round125(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * (value / power >= 5 ? 5 : value / power >= 2 ? 2 : 1);
}

/** The corners of a cell. @param {number[][]} cell @returns {number[][]} */
export const corners = (cell) =>
  Array.from({ length: 8 }, (_, k) =>
    [0, 1, 2].map((i) => (k & 1) * cell[0][i] + ((k >> 1) & 1) * cell[1][i] + (k >> 2) * cell[2][i]),
  );

/**
 * Everything to draw, the farthest first.
 * @param {Scene} scene
 * @param {Shown} shown
 * @param {ReturnType<import("./camera.js").Camera["projection"]>} project
 * @param {number} stretch by which arrows are longer than the scene's own choice
 */
export function things(scene, shown, project, stretch) {
  const { numbers, positions, cell } = scene.structure;
  const places = positions.map(project);
  const found = places.map((place, index) => ({
    kind: "ball",
    ...place,
    radius: ballRadius(numbers[index]) * place.scale,
    colour: scene.colours?.[index] ?? colourOf(numbers[index]),
    label: shown.labels ? `${symbolOf(numbers[index])}${index + 1}` : null,
    index,
  }));
  if (shown.bonds) found.push(...sticks(scene, project));
  if (shown.arrows && scene.forces !== null) found.push(...arrows(scene, project, stretch));
  if (cell !== null) found.push(...frame(cell, project));
  return found.sort((a, b) => a.z - b.z);
}

/** Each bond is two halves in the colours of their atoms. */
function sticks({ structure: { numbers, positions }, bonds: pairs, colours }, project) {
  return pairs.flatMap(([a, b]) => {
    const middle = project(between(positions[a], positions[b], 0.5));
    const length = Math.hypot(...positions[a].map((value, k) => value - positions[b][k]));
    const half = ([end, other]) => {
      const share = Math.min(0.5, (INSIDE * ballRadius(numbers[end])) / length);
      const from = project(between(positions[end], positions[other], share));
      return {
        kind: "stick",
        from,
        to: middle,
        z: 0.5 * (from.z + middle.z),
        width: BOND_WIDTH * middle.scale,
        colour: colours?.[end] ?? colourOf(numbers[end]),
      };
    };
    return [[a, b], [b, a]].map(half);
  });
}

/** Arrows begin at the surface of their ball, so that short ones are seen too. */
function arrows({ structure, forces, arrowLength }, project, stretch) {
  return forces.flatMap((force, index) => {
    const size = Math.hypot(...force);
    const length = size * arrowLength * stretch;
    if (length < 0.03) return [];
    const unit = force.map((value) => value / size);
    const at = (distance) => structure.positions[index].map((value, k) => value + distance * unit[k]);
    const surface = ballRadius(structure.numbers[index]);
    const [from, to] = [project(at(surface)), project(at(surface + length))];
    return [{ kind: "arrow", from, to, z: Math.max(from.z, 0.5 * (from.z + to.z)), scale: to.scale }];
  });
}

/** The edges of the cell, in pieces, because an edge is before some atoms and behind others. */
function frame(cell, project) {
  const points = corners(cell);
  const found = [];
  for (let k = 0; k < 8; k += 1) {
    for (const bit of [1, 2, 4]) {
      if (k & bit) continue;
      for (let piece = 0; piece < CELL_PIECES; piece += 1) {
        const from = project(between(points[k], points[k | bit], piece / CELL_PIECES));
        const to = project(between(points[k], points[k | bit], (piece + 1) / CELL_PIECES));
        found.push({ kind: "edge", from, to, z: 0.5 * (from.z + to.z) });
      }
    }
  }
  return found;
}

const between = (p, q, share) => p.map((value, k) => value + share * (q[k] - value));
