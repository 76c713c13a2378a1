// Asks the server, with the token when one is needed.

let token = sessionStorage.getItem("token");
let asking = null;

export const currentToken = () => token;

/** What went wrong, as the server says it. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `the server answered ${status}`);
    Object.assign(this, { status, title: body.title, detail: body.detail, type: body.type });
  }
}

/** The JSON at a path; asks for a token when one is needed. */
export const get = (path, parameters, signal) => ask("GET", path, parameters, signal);

/** Has something done, and gives what is answered. */
export const post = (path, parameters) => ask("POST", path, parameters);

async function ask(method, path, parameters = {}, signal) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value != null && value !== ""));
  const url = query.size ? `${path}?${query}` : path;
  for (;;) {
    const used = token;
    const headers = used ? { authorization: `Bearer ${used}` } : {};
    const response = await fetch(url, { method, headers, signal, cache: "no-store" });
    if (response.ok) return response.json();
    const body = await response.json().catch(() => ({}));
    if (response.status !== 401) throw new Problem(response.status, body);
    if (used === token) await askForToken(used ? "This token is not known here." : "");
  }
}

/** Shows the dialog until there is a token; those who ask at once share it. */
export function askForToken(problem = "") {
  asking ??= new Promise((resolve) => {
    const dialog = document.querySelector("#token");
    const form = document.querySelector("#token-form");
    const value = document.querySelector("#token-value");
    document.querySelector("#token-problem").textContent = problem;
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    form.onsubmit = (event) => {
      event.preventDefault();
      token = value.value.trim();
      sessionStorage.setItem("token", token);
      value.value = "";
      dialog.close();
      asking = null;
      resolve();
    };
    if (!dialog.open) dialog.showModal();
    value.focus();
  });
  return asking;
}

let keeps = false;

/** Whether anomalies are kept here: where they aren't, nobody knows how many go on. */
export async function keepsAnomalies(signal) {
  keeps ||= (await get("/v1/fleet", {}, signal)).anomalies_now != null;
  return keeps;
}

/** The path of a series. */
export const seriesPath = (device, metric) =>
  `/v1/series/${encodeURIComponent(device)}/${encodeURIComponent(metric)}`;
