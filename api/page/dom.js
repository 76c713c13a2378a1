// Elements in few words.

/** An element: h("p.note", {title: "…"}, "text", child, …); attributes that are null are left out. */
export function h(what, attributes, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  return fill(element, attributes, children);
}

/** The same for SVG. */
export function s(what, attributes, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  return fill(element, attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

/** Sets an element's text, if it is another one: what doesn't change isn't read out or drawn again. */
export function text(element, value) {
  const string = String(value);
  if (element.textContent !== string) element.textContent = string;
}

/** Something that isn't there: what, why, and what to do. */
export function notice(title, detail, ...more) {
  return h("section.empty", null, h("h2", null, title), detail && h("p", null, detail), ...more);
}

/** An error with a way on. */
export function failure(problem, retry) {
  const title = problem.title ?? "The server can't be reached";
  return h("section.empty", { role: "alert" }, h("h2", null, title), h("p", null, problem.detail ?? problem.message ?? ""),
    retry && h("button.button.primary", { type: "button", onclick: retry }, "Try again"));
}

/** What stands for a view until it knows something. */
export const waiting = (what) => h("p.waiting", { role: "status" }, `${what} …`);

/** Arrow keys, Home and End move between the rows' links of a list. */
export function arrows(list, selector = "a.row") {
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = [...list.querySelectorAll(selector)];
    const at = links.indexOf(document.activeElement);
    let to = null;
    if (step && at >= 0) to = links[at + step];
    if (event.key === "Home") to = links[0];
    if (event.key === "End") to = links.at(-1);
    if (!to) return;
    event.preventDefault();
    to.focus();
  });
}
