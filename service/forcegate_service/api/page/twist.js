/** One coordinate to be moved by hand: a torsion of a molecule, or the distance of two. */

import { bonds } from "./bonds.js";
import { symbolOf } from "./elements.js";

/**
 * @typedef {object} Coordinate
 * @property {string} name
 * @property {"°" | "Å"} unit
 * @property {number} least @property {number} most @property {number} step
 * @property {(value: number) => number[][]} positions Å, `value` away from where it was
 */

const MOST_ATOMS = 300;
const MOST_TORSIONS = 12;

/**
 * What of a structure can be moved so: bonds between atoms with others at both ends, outside rings;
 * or the distance, if there are two molecules.
 * @param {import("./xyz.js").Structure} structure
 * @returns {Coordinate[]}
 */
export function coordinatesOf({ numbers, positions, pbc }) {
  if (numbers.length > MOST_ATOMS || pbc.some(Boolean)) return [];
  const pairs = bonds(numbers, positions);
  const beside = numbers.map(() => []);
  for (const [a, b] of pairs) {
    beside[a].push(b);
    beside[b].push(a);
  }
  const first = reached(beside, 0, -1);
  const rest = numbers.flatMap((_, atom) => (first.has(atom) ? [] : [atom]));
  if (rest.length > 0 && reached(beside, rest[0], -1).size === rest.length) {
    return [distance(positions, first, rest)];
  }
  const found = [];
  for (const [a, b] of pairs) {
    if (beside[a].length < 2 || beside[b].length < 2) continue;
    const side = reached(beside, b, a);
    // Around a ring one comes back to the other end.
    if (side.has(a)) continue;
    found.push(torsion(numbers, positions, a, b, side));
  }
  // Between heavy atoms with most on both sides first: those are the ones that people turn.
  found.sort((one, other) => other.weight - one.weight);
  return found.slice(0, MOST_TORSIONS);
}

/** The atoms that bonds lead to from `start`, not over the bond to `without`. */
function reached(beside, start, without) {
  const seen = new Set([start]);
  const open = [start];
  while (open.length > 0) {
    const atom = open.pop();
    for (const next of beside[atom]) {
      if (seen.has(next) || (atom === start && next === without)) continue;
      seen.add(next);
      open.push(next);
    }
  }
  return seen;
}

function torsion(numbers, positions, a, b, side) {
  const heavy = (atoms) => atoms.filter((atom) => numbers[atom] > 1).length;
  const moved = [...side];
  const others = numbers.map((_, atom) => atom).filter((atom) => !side.has(atom));
  const axis = unit(minus(positions[b], positions[a]));
  const name = [a, b].map((atom) => `${symbolOf(numbers[atom])}${atom + 1}`).join("–");
  return {
    name: `turn about ${name}`,
    unit: "°",
    ...{ least: -180, most: 180, step: 5 },
    weight: Math.min(heavy(moved), heavy(others)),
    positions: (degrees) => {
      const angle = (degrees * Math.PI) / 180;
      return positions.map((p, atom) => (side.has(atom) ? turned(p, positions[a], axis, angle) : p));
    },
  };
}

function distance(positions, first, rest) {
  const center = (atoms) => mean([...atoms].map((atom) => positions[atom]));
  const away = unit(minus(center(rest), center(first)));
  const moved = new Set(rest);
  return {
    name: "distance of the two",
    unit: "Å",
    ...{ least: -1, most: 6, step: 0.1 },
    weight: 0,
    positions: (length) =>
      positions.map((p, atom) => (moved.has(atom) ? p.map((x, k) => x + length * away[k]) : p)),
  };
}

/** Rodrigues' rotation about an axis through `origin`. */
function turned(p, origin, axis, angle) {
  const v = minus(p, origin);
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const along = axis.reduce((sum, value, k) => sum + value * v[k], 0);
  const cross = [0, 1, 2].map((k) => {
    const [i, j] = [(k + 1) % 3, (k + 2) % 3];
    return axis[i] * v[j] - axis[j] * v[i];
  });
  return v.map((value, k) => origin[k] + c * value + s * cross[k] + (1 - c) * along * axis[k]);
}

const minus = (p, q) => p.map((value, k) => value - q[k]);
const unit = (v) => v.map((value) => value / (Math.hypot(...v) || 1));
const mean = (points) => [0, 1, 2].map((k) => points.reduce((sum, p) => sum + p[k], 0) / points.length);
