/** Atoms in the colours of a number: what it is, from where to where, and in which colours. */

import { figures, signed } from "./format.js";

/**
 * @typedef {{title: string, low: string, high: string, ramp: string, colours: string[]}} Colouring
 */

// Few enough that each ball is painted once, and too many to be told apart.
const STEPS = 40;
const RAMPS = {
  charge: ["#c62838", "#e9a09a", "#f2f1ec", "#9db6ea", "#2756cc"],
  error: ["#f4eed4", "#f0bf6a", "#d96a3a", "#94265c", "#3d1152"],
};

/**
 * What a prediction says of each atom, as colours; null if it says nothing of the kind.
 * @param {"element" | "charge" | "error"} kind
 * @param {{charges?: number[], force_uncertainty?: number[]} | null} result
 * @returns {Colouring | null}
 */
export function colouringOf(kind, result) {
  if (kind === "charge" && result?.charges) {
    const most = roundedUp(largest(result.charges));
    const colours = result.charges.map((value) => shade("charge", 0.5 + value / (2 * most)));
    const [low, high] = [signed(figures(-most)), `+${figures(most)} e`];
    return { title: "atomic charge", low, high, ramp: "charge", colours };
  }
  if (kind === "error" && result?.force_uncertainty) {
    const most = roundedUp(largest(result.force_uncertainty));
    const colours = result.force_uncertainty.map((value) => shade("error", value / most));
    const title = "standard deviation of a force component";
    return { title, low: "0", high: `${figures(most)} eV/Å`, ramp: "error", colours };
  }
  return null;
}

const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);

/** The smallest of 1, 1.5, 2, 3, 4, 5, 7, 10… (and their fractions) that is not below. */
function roundedUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 1.5, 2, 3, 4, 5, 7, 10].find((step) => step * power >= value * (1 - 1e-9));
}

/** @param {number} share 0 to 1 along the ramp @returns {string} #rrggbb */
function shade(name, share) {
  const ramp = RAMPS[name];
  const place = (Math.round(Math.min(1, Math.max(0, share)) * STEPS) / STEPS) * (ramp.length - 1);
  const first = Math.min(Math.floor(place), ramp.length - 2);
  const parts = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  const [low, high] = [parts(ramp[first]), parts(ramp[first + 1])];
  const mixed = low.map((value, k) => Math.round(value + (place - first) * (high[k] - value)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}
