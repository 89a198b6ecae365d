/**
 * Reads what `/metrics` answers: the Prometheus text format, version 0.0.4.
 *
 * A family that is announced but has no sample yet is kept: a counter with labels is nothing until
 * it first counts, and that is another thing than a metric that this server does not have.
 */

/**
 * @typedef {object} Sample
 * @property {string} name
 * @property {Record<string, string>} labels
 * @property {number} value
 *
 * @typedef {object} Family
 * @property {string} type counter, gauge, histogram…
 * @property {string} help
 * @property {Sample[]} samples
 */

const SUFFIX = /_(bucket|sum|count)$/;

/**
 * @param {string} text
 * @returns {Map<string, Family>} by the name that its samples have; histograms by their own
 */
export function parse(text) {
  const families = new Map();
  const family = (name) => {
    if (!families.has(name)) families.set(name, { type: "untyped", help: "", samples: [] });
    return families.get(name);
  };
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) {
      const [, keyword, name, rest] = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line) ?? [];
      if (keyword === "HELP") family(name).help = rest;
      if (keyword === "TYPE") family(name).type = rest;
    } else if (line !== "") {
      const sample = parseSample(line);
      if (sample !== null) family(owner(sample.name, families)).samples.push(sample);
    }
  }
  return families;
}

/** The announced family that a sample belongs to, else its own name. */
function owner(name, families) {
  if (families.has(name)) return name;
  const base = name.replace(SUFFIX, "");
  return families.has(base) ? base : name;
}

/** @param {string} line @returns {Sample | null} null if it is not one */
function parseSample(line) {
  const match = /^([a-zA-Z_:][\w:]*)(\{.*\})?\s+(\S+)/.exec(line);
  if (match === null) return null;
  const labels = {};
  for (const [, key, value] of (match[2] ?? "").matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
    labels[key] = value.replace(/\\(.)/g, (_, letter) => (letter === "n" ? "\n" : letter));
  }
  return { name: match[1], labels, value: numberFrom(match[3]) };
}

/** Infinity is spelled otherwise than in this language. */
export function numberFrom(word) {
  if (/^[+]?inf$/i.test(word)) return Infinity;
  if (/^-inf$/i.test(word)) return -Infinity;
  return Number(word);
}

/**
 * The sum of a family's samples, or null if this server has no such metric. A counter that was
 * announced and has no sample has counted nothing; of a gauge nothing is known then.
 * @param {Map<string, Family>} families
 * @param {string} name
 * @param {(labels: Record<string, string>) => boolean} [wanted]
 * @returns {number | null}
 */
export function total(families, name, wanted = () => true) {
  const family = families.get(name);
  if (family === undefined) return null;
  const samples = family.samples.filter((sample) => sample.name === name && wanted(sample.labels));
  if (samples.length === 0) return family.type === "counter" ? 0 : null;
  const sum = samples.reduce((so_far, sample) => so_far + sample.value, 0);
  return Number.isFinite(sum) ? sum : null;
}

/**
 * The samples of a gauge that hold a number.
 * @param {Map<string, Family>} families
 * @param {string} name
 * @returns {Sample[]}
 */
export const values = (families, name) =>
  (families.get(name)?.samples ?? []).filter((sample) => Number.isFinite(sample.value));
