/** Elements of the page, made without markup from strings: text stays text, whoever wrote it. */

/**
 * An element with attributes, listeners (`onclick`…) and children.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes] false and null leave one out
 * @param {...(Node | string | null)} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/**
 * The element with this id, which the page is known to have.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element #${id}`);
  return found;
}

/**
 * A list of terms and what they are.
 * @param {[string, Node | string][]} rows
 * @returns {HTMLElement}
 */
export function facts(rows) {
  const list = element("dl", { class: "facts" });
  for (const [term, what] of rows) {
    list.append(element("dt", {}, term), element("dd", {}, what));
  }
  return list;
}

/**
 * A problem document, or an error of our own in its words.
 * @param {{title?: string, code?: string, received?: string, expected?: string | null,
 *   action?: string | null, detail?: string, message?: string}} problem
 * @returns {HTMLElement}
 */
export function problemBox(problem) {
  const rows = [];
  if (problem.received) rows.push(["received", problem.received]);
  if (problem.expected) rows.push(["expected", problem.expected]);
  if (problem.action) rows.push(["what to do", problem.action]);
  const heading = problem.title ?? "Something went wrong";
  return element(
    "div",
    { class: "problem", role: "alert" },
    element("strong", {}, heading),
    problem.code ? element("code", {}, problem.code) : null,
    rows.length > 0 ? facts(rows) : element("p", {}, problem.detail ?? problem.message ?? ""),
  );
}
