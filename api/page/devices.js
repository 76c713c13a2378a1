// Devices, found by their ids, with what they measure now.

import { get } from "./api.js";
import { arrows, failure, h, notice, text, waiting } from "./dom.js";
import { full, hourMinute, measure } from "./format.js";
import { on, want } from "./live.js";
import { nameOf, unitOf } from "./metrics.js";

const PAGE = 50;
const LIVE_MAX = 200;
const PAUSE_MS = 150;

export function show(main, _, signal) {
  const input = h("input", { id: "search", type: "search", placeholder: "Search by device id", "aria-label": "Search by device id", autocomplete: "off", spellcheck: "false" });
  const place = { site: null, fleet: null };
  const chosen = h("p.places", { hidden: true });
  const told = h("p.muted", { role: "status" });
  const list = h("ul.devices", { "aria-label": "Devices" });
  const card = h("section.card", null, list);
  const more = h("button.button.more", { type: "button", hidden: true }, "Show more");
  const body = h("div", null, waiting("Loading devices"));
  const values = new Map();
  let next = null;
  let asked = 0;
  let timer = null;
  let fleet = null;

  main.replaceChildren(h("div.head", null, h("h1", null, "Devices"), told),
    h("form.search", { role: "search", onsubmit: open }, input), chosen, body, more);
  arrows(list);

  function open(event) {
    event.preventDefault();
    list.querySelector("a.row")?.click();
  }

  async function load(cursor = null) {
    const question = ++asked;
    try {
      const page = await get("/v1/devices", { search: input.value.trim(), ...place, limit: PAGE, cursor }, signal);
      if (question === asked) showPage(page, cursor !== null);
    } catch (problem) {
      if (!signal.aborted && question === asked) body.replaceChildren(failure(problem, () => load(cursor)));
    }
  }

  function showPage(page, isMore) {
    if (!isMore) {
      list.replaceChildren();
      values.clear();
    }
    list.append(...page.devices.map(row));
    next = page.next;
    more.hidden = !next;
    const shown = list.children.length;
    text(told, shown ? `${shown}${next ? " shown, there are more" : " found"}` : "");
    body.replaceChildren(shown ? card : none());
    const devices = [...list.querySelectorAll("a.row")].slice(0, LIVE_MAX).map((link) => link.textContent);
    want(devices.length ? { devices, throttle_ms: 1000 } : {});
  }

  /** Only devices of a site or fleet, or of all of them again. */
  function choose(kind, name) {
    place[kind] = name;
    const all = Object.entries(place).filter(([, one]) => one);
    chosen.replaceChildren(...all.map(([of, one]) =>
      h("button.chip", { type: "button", "aria-label": `All, not only ${of} ${one}`, onclick: () => choose(of, null) }, `${of} `, h("b", null, one), " ×")));
    chosen.hidden = all.length === 0;
    load();
  }

  function placeOf(device) {
    return ["site", "fleet"].filter((kind) => device[kind]).map((kind) =>
      h("button.chip", { type: "button", title: `Only ${kind} ${device[kind]}`, onclick: () => choose(kind, device[kind]) }, `${kind} `, h("b", null, device[kind])));
  }

  function none() {
    if (place.site || place.fleet) return notice("No device is there", "Of those that belong there none has sent anything that has been published, or none is called that.");
    if (input.value.trim()) return notice("No device is called that", `Nothing that has been published holds “${input.value.trim()}”.`);
    if (fleet?.devices > 0) {
      const first = notice("The first minute is still open", `${fleet.devices} devices have sent something; they are listed here when their first minute has closed.`);
      setTimeout(() => !signal.aborted && list.children.length === 0 && load(), 3_000);
      return first;
    }
    return notice("No device has sent anything yet", "As soon as one does, it is listed here when its first minute has closed.");
  }

  function row(device) {
    const id = encodeURIComponent(device.device_id);
    const chips = device.metrics.map((metric) => {
      const value = h("b");
      values.set(`${device.device_id}\n${metric}`, { value, unit: unitOf(metric), at: "" });
      return h("a.chip", { href: `#/device/${id}/${encodeURIComponent(metric)}`, title: metric }, nameOf(metric), value);
    });
    const first = device.metrics.includes("temperature") ? "temperature" : device.metrics[0];
    return h("li.device", null,
      h("a.row", { href: `#/device/${id}/${encodeURIComponent(first)}` }, device.device_id),
      h("div.chips", null, chips, placeOf(device)),
      h("time", { datetime: device.latest, title: full(device.latest) }, `last minute ${hourMinute(device.latest)}`));
  }

  function hear(rows) {
    for (const row of rows) {
      const chip = values.get(`${row.device_id}\n${row.metric}`);
      if (!chip || row.last == null || row.window_start < chip.at) continue;
      chip.at = row.window_start;
      text(chip.value, `${measure(row.last, true)}${chip.unit}`);
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => load(), PAUSE_MS);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown") return;
    event.preventDefault();
    list.querySelector("a.row")?.focus();
  });
  more.onclick = () => load(next);
  if (sessionStorage.getItem("focus-search")) {
    sessionStorage.removeItem("focus-search");
    input.focus();
  }
  get("/v1/fleet", {}, signal).then((now) => (fleet = now)).catch(() => {}).finally(() => signal.aborted || load());
  const offs = [on("rows", hear), on("fresh", () => load()), on("progress", (now) => (fleet = now))];
  return () => {
    clearTimeout(timer);
    offs.forEach((off) => off());
  };
}
