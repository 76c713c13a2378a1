// Anomalies: what rules have found, those that go on first.

import { get } from "./api.js";
import { before, entry, howLong, keyOf } from "./anomaly.js";
import { arrows, failure, h, notice, text, waiting } from "./dom.js";
import { count } from "./format.js";
import { on, want } from "./live.js";

const PAGE = 50;
const PAUSE_MS = 300;
const SEVERITIES = ["info", "warning", "critical"];

/** A list that is asked for page by page and changes by itself. */
function list(name, status, onMore) {
  const known = new Map();
  const element = h("div", { "aria-label": name });
  const more = h("button.button.more", { type: "button", hidden: true, onclick: () => onMore() }, "Show more");
  const total = h("p");
  const card = h("section.card", { id: status, hidden: true }, h("div.title", null, h("h2", null, name), total), element, more);
  const own = {
    status, card, next: null, asked: 0,
    clear: () => {
      known.clear();
      element.replaceChildren();
    },
    size: () => known.size,
    add: (one) => {
      const key = keyOf(one);
      const old = known.get(key);
      if (old && old.revision >= one.revision) return;
      known.set(key, one);
      const shown = find(key);
      const fresh = entry(one);
      fresh.open = shown?.open ?? false;
      shown ? shown.replaceWith(fresh) : element.append(fresh);
    },
    remove: (one) => {
      if (known.delete(keyOf(one))) find(keyOf(one))?.remove();
    },
    /** Whether an anomaly lies within what has been asked for. */
    covers: (one) => {
      const last = [...known.values()].sort(before).at(-1);
      return !own.next || !last || before(one, last) < 0;
    },
    settle: () => {
      // What stays where it is keeps the focus.
      [...known.values()].sort(before).forEach((one, at) => {
        const shown = find(keyOf(one));
        if (element.children[at] !== shown) element.insertBefore(shown, element.children[at]);
      });
      more.hidden = !own.next;
      card.hidden = known.size === 0;
      text(total, `${count(known.size)}${own.next ? " shown, there are more" : ""}`);
    },
    tick: () => {
      for (const [key, one] of known) if (one.ended_at == null) text(find(key).querySelector("small"), howLong(one));
    },
  };
  const find = (key) => [...element.children].find((child) => child.dataset.key === key);
  arrows(element, "summary");
  return own;
}

export function show(main, [asked], signal) {
  let device = asked ?? "";
  let least = "";
  let timer = null;
  const input = h("input", { type: "search", "aria-label": "Device id", placeholder: "Device id", value: device, autocomplete: "off", spellcheck: "false" });
  const select = h("select", { "aria-label": "Severity", onchange: () => { least = select.value; load(); } },
    h("option", { value: "" }, "every severity"), h("option", { value: "warning" }, "warning and critical"), h("option", { value: "critical" }, "critical"));
  const body = h("div", null, waiting("Loading anomalies"));
  const now = list("Going on now", "raised", () => page(now));
  const past = list("Ended", "cleared", () => page(past));
  main.replaceChildren(
    h("div.head", null, h("h1", null, "Anomalies"), h("p", null, "what rules have found, those that go on first")),
    h("form.controls", { role: "search", onsubmit: (event) => { event.preventDefault(); choose(); } }, input, select),
    body, now.card, past.card);

  async function page(one) {
    const question = ++one.asked;
    try {
      const answer = await get("/v1/anomalies", { status: one.status, device, severity: least, limit: PAGE, cursor: one.next }, signal);
      if (question !== one.asked) return;
      answer.anomalies.forEach(one.add);
      one.next = answer.next;
      settle();
    } catch (problem) {
      if (signal.aborted || question !== one.asked) return;
      for (const { card } of [now, past]) card.hidden = true;
      body.replaceChildren(failure(problem, problem.status === 404 ? null : load));
    }
  }

  function load() {
    for (const one of [now, past]) {
      one.clear();
      one.next = null;
    }
    want({ anomalies: true, ...(device && { devices: [device], jobs: [] }) });
    return Promise.all([page(now), page(past)]);
  }

  function settle() {
    now.settle();
    past.settle();
    const few = device || least ? "Other devices or severities may have some." : "No rule finds anything wrong.";
    if (now.size()) body.replaceChildren();
    else body.replaceChildren(notice("Nothing goes on at the moment", few));
  }

  function hear(anomalies) {
    for (const one of anomalies) {
      const isAsked = (!device || one.device_id === device) && SEVERITIES.indexOf(one.severity) >= SEVERITIES.indexOf(least);
      for (const into of [now, past]) {
        if (!isAsked || one.status !== into.status) into.remove(one);
        else if (into.covers(one)) into.add(one);
      }
    }
    settle();
  }

  function choose() {
    clearTimeout(timer);
    if (input.value.trim() === device) return;
    device = input.value.trim();
    load();
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(choose, PAUSE_MS);
  });
  load();
  const offs = [on("anomalies", hear), on("fresh", load), on("progress", () => now.tick())];
  return () => {
    clearTimeout(timer);
    offs.forEach((off) => off());
  };
}
