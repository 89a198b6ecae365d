/** Numbers and findings in words for people. */

/** What is shown where nothing was measured; never a zero. */
export const NOT_MEASURED = "not measured";

/**
 * A number with about three figures, without an exponent where that can be read.
 * @param {number} value
 * @returns {string}
 */
export function figures(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1).replace("e+", "e");
  if (size >= 100) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

/** A written number with a minus sign in the place of a hyphen. @param {string} text */
export const signed = (text) => text.replace(/^-/, "−");

/** @param {number} seconds @returns {string} with the unit that suits it */
export function duration(seconds) {
  if (seconds < 1e-3) return `${figures(seconds * 1e6)} µs`;
  if (seconds < 1) return `${figures(seconds * 1e3)} ms`;
  return `${figures(seconds)} s`;
}

/** @param {number} share @returns {string} */
export const percent = (share) => `${figures(100 * share)} %`;

/** @param {string} digest @returns {string} */
export const shortDigest = (digest) => `${digest.slice(0, 19)}…`;

/**
 * What a novelty means, in words.
 * @param {number} novelty of the least familiar atom
 * @param {{max_novelty_99: number, max_novelty_999: number} | null} scale of the card: what 99 %
 *   and 99.9 % of the training set stay below. Without it the words are as broad as the scales of
 *   different students differ.
 * @returns {{level: "good" | "fair" | "poor", words: string}}
 */
export function noveltyReading(novelty, scale) {
  const [usual, rare] = scale === null ? [2, 4] : [scale.max_novelty_99, scale.max_novelty_999];
  if (novelty <= usual) {
    return { level: "good", words: "every atom looks much like those the model was trained on" };
  }
  if (novelty <= rare) {
    return { level: "fair", words: "at least one atom is unlike most of the training set: check it" };
  }
  return {
    level: "poor",
    words: "at least one atom is far from the training set: the answer is likely to be wrong",
  };
}

/**
 * What a population stability index means, by the usual rule of thumb.
 * @param {number} psi
 * @returns {{level: "good" | "fair" | "poor", words: string}}
 */
export function psiReading(psi) {
  if (psi < 0.1) return { level: "good", words: "as in training" };
  if (psi < 0.25) return { level: "fair", words: "has shifted" };
  return { level: "poor", words: "is another population" };
}

/** Verdicts as people say them. */
export const VERDICTS = {
  approved: "approved",
  caution: "caution",
  rejected: "rejected",
  not_validated: "not validated",
};

/** Uses as people say them. */
export const USES = {
  md: "molecular dynamics",
  relax: "relaxation",
  screening: "screening",
  periodic: "periodic systems",
};
