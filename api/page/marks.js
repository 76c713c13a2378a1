// What of a series was found to be wrong: marks for its curve, and a list for those who don't see it.

import { get, keepsAnomalies } from "./api.js";
import { before, entry, howLong, keyOf } from "./anomaly.js";
import { arrows, h, text } from "./dom.js";

const LIMIT = 100;
const LISTED = 20;
const LINES = 4;

/** The anomalies of a series, and of its device as a whole. */
export function marks(device, metric, signal) {
  const known = new Map();
  let listed = "";
  let asked = 0;
  const list = h("div", { "aria-label": "Anomalies in this range" });
  const card = h("section.card", { id: "found", hidden: true }, h("div.title", null, h("h2", null, "Anomalies in this range")), list);
  arrows(list, "summary");

  function take(one) {
    const isOurs = one.device_id === device && (one.metric === null || one.metric === metric);
    const old = known.get(keyOf(one));
    if (!isOurs || (old && old.revision > one.revision)) return false;
    one.status === "withdrawn" ? known.delete(keyOf(one)) : known.set(keyOf(one), one);
    return true;
  }

  const end = (one) => (one.ended_at == null ? Infinity : Date.parse(one.ended_at));

  /** Rows come twice a second: the list is made anew only when it is another one. */
  function show(shown) {
    const now = JSON.stringify(shown.map((one) => [keyOf(one), one.revision]));
    if (now === listed) return shown.forEach((one, at) => at < LISTED && text(list.children[at].querySelector("small"), howLong(one)));
    listed = now;
    const open = new Set([...list.querySelectorAll("details[open]")].map((one) => one.dataset.key));
    const focused = list.contains(document.activeElement) && document.activeElement.closest("details").dataset.key;
    const entries = shown.slice(0, LISTED).map((one) => entry(one, false));
    for (const one of entries) one.open = open.has(one.dataset.key);
    list.replaceChildren(...entries);
    entries.find((one) => one.dataset.key === focused)?.querySelector("summary").focus();
    card.hidden = shown.length === 0;
  }

  return {
    card,
    /** Asks which there were between two times. */
    async load(from, to) {
      const question = ++asked;
      try {
        if (!(await keepsAnomalies(signal))) return;
        const { anomalies } = await get("/v1/anomalies", { device, from, to, limit: LIMIT }, signal);
        if (question !== asked) return;
        known.clear();
        anomalies.forEach(take);
      } catch (problem) {
        // The curve is right without them.
        if (!signal.aborted) console.info("anomalies can't be read:", problem.message);
      }
    },
    /** Takes what became durable; says whether that changes anything. */
    hear: (anomalies) => anomalies.filter(take).length > 0,
    /** What is to be drawn between two times; the list shows the same. */
    within(from, to) {
      const shown = [...known.values()].filter((one) => Date.parse(one.started_at) < to && end(one) > from).sort(before);
      show(shown);
      const limits = shown.flatMap((one) => [one.expected.low, one.expected.high]).filter((limit) => limit != null);
      return {
        spans: shown.map((one) => ({ from: Date.parse(one.started_at) / 1000, to: Math.min(end(one), Date.now()) / 1000, severity: one.severity })),
        limits: [...new Set(limits)].slice(0, LINES),
      };
    },
  };
}
