// Dead letters: records that can't be used, why, and their bytes.

import { currentToken, get, post } from "./api.js";
import { arrows, failure, h, notice, text, waiting } from "./dom.js";
import { bytes, clock, count, day, full } from "./format.js";
import { on } from "./live.js";

const PAGE = 50;
const LINE = 16;

const words = (reason) => reason.replaceAll("_", " ");

function decode(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Bytes as people read them: offset, hexadecimal, and what is printable. */
function dump(data) {
  const lines = [];
  for (let at = 0; at < data.length; at += LINE) {
    const part = data.subarray(at, at + LINE);
    const digits = Array.from(part, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const signs = Array.from(part, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${digits.padEnd(3 * LINE - 1)}  ${signs}`);
  }
  return lines.join("\n") || "no bytes";
}

/** A key as text, when it is one. */
function keyText(base64) {
  if (base64 == null) return "none";
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(decode(base64)) || "empty";
  } catch {
    return `${base64} (base64)`;
  }
}

async function download(letter) {
  const token = currentToken();
  const response = await fetch(`/v1/dead-letters/${letter.number}`, { headers: token ? { authorization: `Bearer ${token}` } : {} });
  const link = h("a", { href: URL.createObjectURL(await response.blob()), download: `dead-letter-${letter.number}.bin` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
}

/** What is said of a replay: where the bytes are now. */
function whereNow({ at, partition, offset }) {
  const where = offset == null ? "was cut off: replay it to find out whether it is there" : `${partition} @ ${offset}`;
  return `${where}, ${day(at)}, ${clock(at)}`;
}

/** Puts a letter into its log again, when that is confirmed. */
function replaying(letter) {
  let done = letter.replayed;
  const said = h("p.detail", { role: "status" });
  const ask = h("button.button", { type: "button", onclick: () => turn(true) });
  const yes = h("button.button.primary", { type: "button", onclick: send }, "Put it there");
  const no = h("button.button", { type: "button", onclick: () => turn(false) }, "Leave it");
  const sure = h("div.controls", { role: "group", "aria-label": "Confirm the replay", hidden: true });
  const again = () => done?.offset != null;

  function turn(asks) {
    ask.hidden = asks;
    sure.hidden = !asks;
    text(ask, again() ? "Replay once more" : "Replay");
    if (asks) {
      const warning = again() ? " It was done before: what was accepted then may count twice." : "";
      sure.replaceChildren(h("p", null, `Its bytes go into ${letter.partition} again, as a new record that is read as things are set today.${warning}`), yes, no);
      no.focus();
    } else {
      text(said, done ? `Replayed: ${whereNow(done)}` : "");
    }
  }

  async function send() {
    yes.disabled = true;
    try {
      done = await post(`/v1/dead-letters/${letter.number}/replay`, { force: again() ? "true" : null });
      turn(false);
    } catch (problem) {
      turn(false);
      text(said, problem.detail ?? problem.message);
    }
    yes.disabled = false;
    ask.focus();
  }

  turn(false);
  return h("div.controls", null, ask, sure, said);
}

function one(letter) {
  const data = decode(letter.payload);
  const cut = letter.payload_bytes > data.length ? `the first ${bytes(data.length)} of ${bytes(letter.payload_bytes)}` : bytes(letter.payload_bytes);
  const when = letter.log_time ? `${day(letter.log_time)}, ${clock(letter.log_time)}` : "no log time";
  return h("details.letter", null,
    h("summary", null, h("time", { datetime: letter.log_time, title: full(letter.log_time) }, when), h("span", null, h("span.status.is-corrected", null, words(letter.reason))),
      h("span.what", null, letter.detail), h("span.where", null, `${letter.partition} @ ${letter.offset}`)),
    h("div.inside", null,
      h("dl.facts", null,
        h("div", null, h("dt", null, "key"), h("dd", null, keyText(letter.key))),
        h("div", null, h("dt", null, "partition"), h("dd", null, letter.partition)),
        h("div", null, h("dt", null, "offset"), h("dd", null, String(letter.offset))),
        h("div", null, h("dt", null, "size"), h("dd", null, cut))),
      h("pre.dump", { tabindex: 0, "aria-label": "The record's bytes" }, dump(data)),
      h("div", null, h("button.button", { type: "button", onclick: () => download(letter) }, "Download the bytes")), replaying(letter)));
}

export function show(main, [asked], signal) {
  let reason = asked ?? "";
  let next = null;
  let total = null;
  let shownAt = 0;
  const select = h("select", { "aria-label": "Reason", onchange: () => { reason = select.value; load(); } }, h("option", { value: "" }, "every reason"));
  const fresh = h("button.button", { type: "button", hidden: true, onclick: () => load() }, "");
  const list = h("div", { "aria-label": "Dead letters" });
  const body = h("div", null, waiting("Loading dead letters"));
  const more = h("button.button.more", { type: "button", hidden: true, onclick: () => load(next) }, "Show more");
  main.replaceChildren(
    h("div.head", null, h("h1", null, "Dead letters"), h("p", null, "records that can't be used, the last stored first")),
    h("div.controls", null, select, fresh), body, more);
  arrows(list, "summary");

  async function load(cursor = null) {
    try {
      const page = await get("/v1/dead-letters", { reason, limit: PAGE, cursor }, signal);
      if (cursor === null) list.replaceChildren();
      list.append(...page.letters.map(one));
      next = page.next;
      more.hidden = !next;
      shownAt = total ?? 0;
      fresh.hidden = true;
      const none = reason ? notice(`No dead letter is there for “${words(reason)}”`) : notice("There are no dead letters", "Every record that came could be used.");
      body.replaceChildren(list.children.length ? h("section.card", null, list) : none);
    } catch (problem) {
      if (!signal.aborted) body.replaceChildren(failure(problem, problem.status === 404 ? null : () => load(cursor)));
    }
  }

  function update({ totals }) {
    const first = total === null;
    total = totals.dead_letters;
    if (first) shownAt = total;
    const reasons = Object.entries(totals.dead_letters_by_reason);
    if (reason && !reasons.some(([name]) => name === reason)) reasons.push([reason, 0]);
    const options = new Map([...select.options].map((option) => [option.value, option]));
    for (const [name, of] of reasons) {
      if (!options.has(name)) select.append(h("option", { value: name }));
      const option = options.get(name) ?? select.lastElementChild;
      text(option, `${words(name)} (${count(of)})`);
    }
    if (select.value !== reason) select.value = reason;
    const since = total - shownAt;
    fresh.hidden = since <= 0 || !list.isConnected;
    text(fresh, `${count(since)} more since: show`);
  }

  load();
  const offs = [on("progress", update), on("fresh", () => load())];
  return () => offs.forEach((off) => off());
}
