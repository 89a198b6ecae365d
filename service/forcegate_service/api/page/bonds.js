/** Which atoms are drawn as bonded: by distance alone, as a picture and not as chemistry. */

import { radiusOf } from "./elements.js";

// Bonds of the training data stretch that far in dynamics before one would call them broken.
const REACH = 1.25;

/**
 * Pairs of atoms within 1.25 times the sum of their covalent radii, images left out.
 * @param {number[]} numbers
 * @param {number[][]} positions Å
 * @returns {[number, number][]} first < second
 */
export function bonds(numbers, positions) {
  const largest = numbers.reduce((most, number) => Math.max(most, radiusOf(number)), 0);
  const side = 2 * REACH * largest;
  const cells = new Map();
  const cellOf = (p) => p.map((value) => Math.floor(value / side));
  positions.forEach((p, index) => {
    const name = cellOf(p).join();
    if (!cells.has(name)) cells.set(name, []);
    cells.get(name).push(index);
  });
  const found = [];
  positions.forEach((p, a) => {
    const [x, y, z] = cellOf(p);
    for (let k = 0; k < 27; k += 1) {
      const name = [x + (k % 3) - 1, y + (Math.floor(k / 3) % 3) - 1, z + Math.floor(k / 9) - 1];
      for (const b of cells.get(name.join()) ?? []) {
        if (b > a && bonded(numbers[a], numbers[b], p, positions[b])) found.push([a, b]);
      }
    }
  });
  return found;
}

function bonded(first, second, p, q) {
  const reach = REACH * (radiusOf(first) + radiusOf(second));
  const distance = Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]);
  return distance < reach;
}
