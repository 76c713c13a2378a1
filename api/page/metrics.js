// What is known of metrics: their names, units, and which values are usual.

import { get } from "./api.js";

const PAGES_MAX = 20;
const NOTHING = { name: null, unit: null, min: null, max: null, description: null };
let known = new Map();

/** What is known of a metric; all is null of one of which nothing is. */
export const about = (metric) => known.get(metric) ?? NOTHING;

/** The unit with the space in front of it; empty when it isn't known. */
export const unitOf = (metric) => (about(metric).unit ? ` ${about(metric).unit}` : "");

/** What people call it. */
export const nameOf = (metric) => about(metric).name ?? metric;

/** Asks anew what is known; when that fails, what was known stays. */
export async function learn() {
  try {
    const all = new Map();
    let cursor = null;
    for (let page = 0; page < PAGES_MAX; page += 1) {
      const { metrics, next } = await get("/v1/metrics", { limit: 1000, cursor });
      metrics.forEach((one) => all.set(one.metric, one));
      cursor = next;
      if (!cursor) break;
    }
    known = all;
  } catch {
    // The connection says it when the server is away.
  }
}
