/** What two looks at the metrics say about the time between them. Nothing here draws. */

import { parse, total, values } from "./exposition.js";
import { buckets, quantile, since } from "./histogram.js";

/** How long a look is remembered, s. */
export const REMEMBERED_S = 300;
/** Rates are means over about so long, s: long enough to be smooth, short enough to be now. */
export const WINDOW_S = 10;
const LATENCY_WINDOW_S = 30;

export const PHASES = ["queue", "graph", "inference", "serialise"];
const PHASE_METRIC = "forcegate_phase_seconds";
const WHOLE_METRIC = "forcegate_request_duration_seconds";
// The page's own questions are not what anybody wants to know of.
const isPrediction = (labels) => labels.route === "/v1/predict";

/**
 * @typedef {{time: number, families: Map<string, import("./exposition.js").Family>}} Look
 * @typedef {{time: number, value: number | null}[]} Series
 */

/** The looks of the last minutes. */
export class History {
  constructor() {
    /** @type {Look[]} */
    this.looks = [];
    /** @type {Map<string, Series>} */
    this.series = new Map();
  }

  /**
   * @param {string} text of `/metrics`
   * @param {number} time s, of whatever clock does not go back
   */
  add(text, time) {
    this.looks.push({ time, families: parse(text) });
    const horizon = time - REMEMBERED_S;
    this.looks = this.looks.filter((look) => look.time >= horizon);
    const now = this.now();
    for (const [name, value] of Object.entries(now)) {
      const kept = (this.series.get(name) ?? []).filter((point) => point.time >= horizon);
      this.series.set(name, [...kept, { time, value }]);
    }
  }

  /** What curves show, s: all that is remembered, and a minute while that is less. */
  get length() {
    return Math.min(REMEMBERED_S, Math.max(60, this.last.time - this.looks[0].time));
  }

  /** @returns {Look | undefined} */
  get last() {
    return this.looks.at(-1);
  }

  /** The figures that have a curve; null is what cannot be told. */
  now() {
    return {
      requests: this.#rate("forcegate_requests_total", isPrediction),
      structures: this.#rate("forcegate_structures_total"),
      busy: this.#rate("forcegate_runtime_busy_seconds_total"),
      queue: total(this.last.families, "forcegate_admitted_seconds"),
      p50: this.latency(0.5),
      p95: this.latency(0.95),
    };
  }

  /** Whether whole requests are timed, and not their phases alone. */
  get timesRequests() {
    return this.last.families.has(WHOLE_METRIC);
  }

  /** Of whole predictions where they are timed, else of inference. @param {number} q */
  latency(q) {
    return this.timesRequests ? this.#quantile(WHOLE_METRIC, q, isPrediction) :
      this.phase("inference", q);
  }

  /**
   * A quantile of a phase's time in the last half minute, s; null if nothing was predicted.
   * @param {string} phase @param {number} q
   */
  phase(phase, q) {
    const ofPhase = (labels) => labels.phase === phase;
    return this.#quantile(PHASE_METRIC, q, ofPhase);
  }

  #quantile(metric, q, wanted) {
    const [before, now] = this.#window(LATENCY_WINDOW_S);
    if (before === undefined) return null;
    const added = since(
      buckets(now.families, metric, wanted),
      buckets(before.families, metric, wanted),
    );
    return quantile(added, q);
  }

  /** @returns {number | null} per second, null where there is no such metric or one look only */
  #rate(name, wanted) {
    const [before, now] = this.#window(WINDOW_S);
    if (before === undefined) return null;
    const count = added(total(now.families, name, wanted), total(before.families, name, wanted));
    return count === null ? null : count / (now.time - before.time);
  }

  /** @returns {[Look | undefined, Look]} the look that long ago, or the oldest, and the last one */
  #window(length) {
    const now = this.last;
    const found = this.looks.find((look) => look.time >= now.time - length - 0.5);
    return [found === now ? undefined : found, now];
  }

  /**
   * The share of novel structures among those of the last minutes, of the versions of which it is
   * known what the training set looks like.
   * @returns {{share: number, watched: number} | null} null if none was watched
   */
  novel() {
    const [first, now] = [this.looks[0], this.last];
    const version = ({ model, version }) => `${model}/${version}`;
    const known = new Set(
      values(now.families, "forcegate_novel_structures_total").map(({ labels }) => version(labels)),
    );
    const isKnown = (labels) => known.has(version(labels));
    const count = (name) => {
      const end = total(now.families, name, isKnown);
      return first === now ? end : added(end, total(first.families, name, isKnown));
    };
    if (known.size === 0) return null;
    const watched = count("forcegate_watched_structures_total");
    const novel = count("forcegate_novel_structures_total");
    return watched === null || novel === null || watched <= 0 ? null :
      { share: novel / watched, watched };
  }
}

/** A server that was started again counts from nothing. */
function added(now, before) {
  if (now === null || before === null) return null;
  return now >= before ? now - before : now;
}

/**
 * Counters of what should not happen, since the server started.
 * @param {Look} look
 * @returns {{title: string, value: number | null, parts: [string, number][]}[]}
 */
export function troubles({ families }) {
  const counted = (title, name, label, wanted = undefined) => ({
    title,
    value: total(families, name, wanted),
    parts: label === null ? [] : parts(families, name, label, wanted),
  });
  return [
    counted("structures refused", "forcegate_rejected_structures_total", "reason"),
    counted("requests told to come back", "forcegate_requests_total", null,
      (labels) => labels.code === "429"),
    counted("given up by their callers", "forcegate_cancelled_total", "reason"),
    counted("predictions not finite", "forcegate_not_finite_total", "model"),
    counted("inference restarts", "forcegate_inference_process_restarts_total", null),
  ];
}

function parts(families, name, label, wanted = () => true) {
  const sums = new Map();
  for (const sample of values(families, name)) {
    if (sample.name !== name || !wanted(sample.labels) || sample.value === 0) continue;
    const key = sample.labels[label] ?? "?";
    sums.set(key, (sums.get(key) ?? 0) + sample.value);
  }
  return [...sums].sort((a, b) => b[1] - a[1]);
}
