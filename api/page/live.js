// The WebSocket: one for the page. It comes back by itself, subscribes again, and says when it hears nothing.

import { currentToken, get } from "./api.js";

const SILENT_MS = 5_000;
const LOST_MS = 15_000;
const BACK_OFF_MS = [250, 500, 1_000, 2_000, 5_000];

const listeners = { state: new Set(), progress: new Set(), rows: new Set(), anomalies: new Set(), fresh: new Set() };
let socket = null;
let heard = 0;
let failures = 0;
let retryAt = 0;
let timer = null;
let state = { name: "connecting" };
let wanted = {};
let generation = null;

/** Hears of `state`, `progress` (the fleet), `rows` (rows, whether they are a snapshot), `anomalies` or `fresh` (the server was
 * started anew, or something was missed: ask again); gives what ends it. */
export function on(kind, listener) {
  listeners[kind].add(listener);
  if (kind === "state") listener(state);
  return () => listeners[kind].delete(listener);
}

/** What is wanted from now on: {devices, search, metrics, jobs, throttle_ms, anomalies}; nothing for none. */
export function want(subscription = {}) {
  wanted = subscription;
  if (socket?.readyState === WebSocket.OPEN) subscribe();
}

export function start() {
  connect();
  setInterval(watch, 500);
  addEventListener("online", () => connect());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !socket) connect();
  });
}

/** Tries at once instead of when it is time. */
export function retryNow() {
  if (!socket) connect();
}

function tell(kind, ...values) {
  listeners[kind].forEach((listener) => listener(...values));
}

function setState(next) {
  if (next.name === state.name && next.seconds === state.seconds) return;
  state = next;
  tell("state", state);
}

function subscribe() {
  socket.send(JSON.stringify({ fleet: true, ...wanted }));
}

function connect() {
  clearTimeout(timer);
  retryAt = 0;
  if (socket) return;
  if (!failures) setState({ name: "connecting" });
  const url = new URL("/v1/live", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const own = new WebSocket(url, protocols());
  socket = own;
  heard = Date.now();
  own.onopen = () => {
    heard = Date.now();
    subscribe();
  };
  own.onmessage = (event) => {
    heard = Date.now();
    hear(JSON.parse(event.data));
  };
  own.onclose = () => {
    if (socket === own) lost();
  };
}

function protocols() {
  const token = currentToken();
  if (!token) return ["tidewatch"];
  const bytes = new TextEncoder().encode(token);
  return ["tidewatch", "bearer." + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")];
}

function hear(message) {
  switch (message.type) {
    case "snapshot":
      return tell("rows", message.rows, true, message);
    case "rows":
      return tell("rows", message.rows, false, message);
    case "anomalies":
      return tell("anomalies", message.anomalies);
    case "slow":
      return tell("fresh");
    case "progress":
      failures = 0;
      setState({ name: "live" });
      if (!message.fleet) return;
      if (generation !== null && generation !== message.fleet.workers.generation) tell("fresh");
      generation = message.fleet.workers.generation;
      return tell("progress", message.fleet);
  }
}

async function lost() {
  socket = null;
  const wait = BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length - 1)] * (0.8 + 0.4 * Math.random());
  failures += 1;
  retryAt = Date.now() + wait;
  setState({ name: "lost", seconds: Math.ceil(wait / 1000) });
  timer = setTimeout(async () => {
    // A handshake that is refused doesn't say why: a plain question does, and asks for a token if that is it.
    if (failures === 1) await get("/v1/fleet").catch(() => {});
    connect();
  }, wait);
}

/** Silence is a state of its own: the connection may be there and bring nothing. */
function watch() {
  if (!socket) {
    if (retryAt) setState({ name: "lost", seconds: Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)) });
    return;
  }
  const silent = Date.now() - heard;
  if (silent > LOST_MS) {
    socket.onclose = null;
    socket.close();
    lost();
  } else if (silent > SILENT_MS && !document.hidden) {
    setState({ name: "silent", seconds: Math.floor(silent / 1000) });
  }
}
