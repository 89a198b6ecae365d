/** Quantiles of what happened between two looks at a histogram. */

/**
 * @typedef {{bound: number, count: number}[]} Buckets cumulative counts by ascending upper bound
 */

/**
 * The buckets of a histogram, summed over all labels but those asked for.
 * @param {Map<string, import("./exposition.js").Family>} families
 * @param {string} name
 * @param {(labels: Record<string, string>) => boolean} [wanted]
 * @returns {Buckets} empty if there is none
 */
export function buckets(families, name, wanted = () => true) {
  const counts = new Map();
  for (const sample of families.get(name)?.samples ?? []) {
    if (sample.name !== `${name}_bucket` || !wanted(sample.labels)) continue;
    const bound = sample.labels.le.toLowerCase().includes("inf") ? Infinity : Number(sample.labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + sample.value);
  }
  return [...counts].map(([bound, count]) => ({ bound, count })).sort((a, b) => a.bound - b.bound);
}

/**
 * What was added since `before`; all of it if counting began anew in between.
 * @param {Buckets} now
 * @param {Buckets} before
 * @returns {Buckets}
 */
export function since(now, before) {
  const old = new Map(before.map(({ bound, count }) => [bound, count]));
  const added = now.map(({ bound, count }) => ({ bound, count: count - (old.get(bound) ?? 0) }));
  return added.some(({ count }) => count < 0) ? now : added;
}

/**
 * The q-quantile, linear within its bucket as Prometheus has it. Above the last finite bound no
 * more is known than that bound.
 * @param {Buckets} given
 * @param {number} q between 0 and 1
 * @returns {number | null} null if nothing was counted
 */
export function quantile(given, q) {
  const all = given.at(-1)?.count ?? 0;
  if (all <= 0) return null;
  const rank = q * all;
  const at = given.findIndex(({ count }) => count >= rank);
  const { bound, count } = given[at];
  if (bound === Infinity) return at > 0 ? given[at - 1].bound : null;
  const lower = at > 0 ? given[at - 1] : { bound: Math.min(0, bound), count: 0 };
  if (count === lower.count) return bound;
  return lower.bound + ((bound - lower.bound) * (rank - lower.count)) / (count - lower.count);
}
