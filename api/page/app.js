// The page: which view is shown, the keys, the theme, the zone, and how the connection is.

import * as anomalies from "./anomalies.js";
import { get } from "./api.js";
import * as devices from "./devices.js";
import { text, waiting } from "./dom.js";
import * as engine from "./engine.js";
import * as fleet from "./fleet.js";
import { isUtc, setUtc } from "./format.js";
import * as letters from "./letters.js";
import * as live from "./live.js";
import { learn } from "./metrics.js";
import * as series from "./series.js";

const views = { fleet, devices, device: series, anomalies, letters, engine };
const main = document.querySelector("#main");
let current = null;
let pressed = null;

/** A path such as "#/device/dev-1/temperature" in its decoded parts; one that leads nowhere leads to the fleet. */
function route() {
  try {
    const parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
    return Object.hasOwn(views, parts[0]) ? parts : ["fleet"];
  } catch {
    return ["fleet"];
  }
}

/** Shows the view of the address; it gets where to draw and a signal that it has ended. */
async function show(keepFocus = false) {
  current?.abort();
  current = new AbortController();
  const { signal } = current;
  const [name, ...rest] = route();
  for (const link of document.querySelectorAll("nav a")) {
    const own = link.dataset.view === name || (name === "device" && link.dataset.view === "devices");
    own ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  live.want();
  main.replaceChildren(waiting("Loading"));
  if (!keepFocus) scrollTo(0, 0);
  document.title = `${{ fleet: "Fleet", devices: "Devices", anomalies: "Anomalies", letters: "Dead letters", engine: "Engine", device: rest[0] }[name]} · Tidewatch`;
  // Who comes by the keyboard goes on from here; a view may have something better to focus.
  if (!keepFocus && pressed !== null) main.focus({ preventScroll: true });
  const stop = views[name].show(main, rest, signal);
  signal.addEventListener("abort", () => stop?.());
}

function showConnection(state) {
  const status = document.querySelector("#connection");
  const banner = document.querySelector("#banner");
  const words = {
    connecting: "connecting",
    live: "live",
    silent: `silent for ${state.seconds} s`,
    lost: "not connected",
  };
  status.dataset.state = state.name;
  text(status.querySelector(".text"), words[state.name]);
  document.body.classList.toggle("is-stale", state.name === "silent" || state.name === "lost");
  banner.hidden = state.name !== "silent" && state.name !== "lost";
  banner.dataset.state = state.name;
  if (banner.hidden) return banner.replaceChildren();
  const told = banner.querySelector("span") ?? document.createElement("span");
  text(told, state.name === "silent"
    ? "Nothing has been heard from the server for 5 seconds and more: what is shown may be out of date."
    : "The connection to the server is lost: what is shown is as it was. It is tried again by itself.");
  if (told.isConnected) return;
  const again = document.createElement("button");
  again.type = "button";
  again.textContent = "Try now";
  again.onclick = live.retryNow;
  banner.replaceChildren(told, again);
}

function switchTheme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const next = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
  if (next === system) {
    delete root.dataset.theme;
    localStorage.removeItem("theme");
  } else {
    root.dataset.theme = next;
    localStorage.setItem("theme", next);
  }
  dispatchEvent(new Event("theme"));
}

function showZone() {
  const button = document.querySelector("#zone");
  button.setAttribute("aria-pressed", String(isUtc()));
  button.textContent = isUtc() ? "UTC" : "local";
}

function switchZone() {
  setUtc(!isUtc());
  showZone();
  show(true);
}

function search() {
  const input = document.querySelector("#search");
  if (input) return input.focus();
  sessionStorage.setItem("focus-search", "yes");
  location.hash = "#/devices";
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const before = pressed;
  pressed = event.key;
  if (before === "g") {
    const to = { f: "fleet", d: "devices", a: "anomalies", l: "letters", e: "engine" }[event.key];
    if (to) location.hash = `#/${to}`;
    pressed = "";
    return;
  }
  const actions = { "/": search, u: switchZone, t: switchTheme, "?": () => document.querySelector("#keys").showModal() };
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

addEventListener("hashchange", () => show());
addEventListener("keydown", key);
document.querySelector("#theme").onclick = switchTheme;
document.querySelector("#zone").onclick = switchZone;
document.querySelector("#help").onclick = () => document.querySelector("#keys").showModal();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("theme")));
showZone();
live.on("state", showConnection);
live.on("fresh", learn);
// The first question asks for a token when one is needed; then the socket has it.
get("/v1/fleet").catch(() => {}).finally(() => live.start());
learn().finally(() => show());
