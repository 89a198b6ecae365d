/** The little of Markdown that reports consist of, as elements: text never becomes markup. */

import { element } from "./dom.js";

/**
 * @param {string} text
 * @param {(file: string, words: string) => Node} picture for `![words](file)`
 * @returns {HTMLElement}
 */
export function markdown(text, picture) {
  const box = element("div", { class: "prose" });
  for (const block of text.split(/\n{2,}/)) {
    const lines = block.split("\n").filter((line) => line.trim() !== "");
    if (lines.length > 0) box.append(...blockOf(lines, picture));
  }
  const title = box.querySelector("h3")?.textContent ?? "report";
  box.querySelectorAll(".scroll").forEach((part, k) => {
    part.setAttribute("aria-label", `${title}, table ${k + 1}`);
  });
  return box;
}

function blockOf(lines, picture) {
  const [first, ...rest] = lines;
  const heading = /^(#+) (.*)$/.exec(first);
  if (heading !== null) {
    // Below the page's own, of which there are two.
    const made = element(`h${Math.min(6, 2 + heading[1].length)}`, {}, ...inline(heading[2]));
    return rest.length > 0 ? [made, ...blockOf(rest, picture)] : [made];
  }
  const image = /^!\[([^\]]*)\]\(([^)]+)\)$/.exec(first);
  if (image !== null) {
    const shown = picture(image[2], image[1]);
    return rest.length > 0 ? [shown, ...blockOf(rest, picture)] : [shown];
  }
  if (lines.every((line) => line.startsWith("|"))) return [table(lines)];
  if (lines.every((line) => line.startsWith("- "))) {
    return [element("ul", {}, ...lines.map((line) => element("li", {}, ...inline(line.slice(2)))))];
  }
  return [element("p", {}, ...inline(lines.join(" ")))];
}

function table(lines) {
  const cells = (line) =>
    line.replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.replaceAll("\\|", "|").trim());
  const [head, , ...rows] = lines.map(cells);
  const row = (tag, values) =>
    element("tr", {}, ...values.map((value) => element(tag, {}, ...inline(value))));
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region" },
    element(
      "table",
      {},
      element("thead", {}, row("th", head)),
      element("tbody", {}, ...rows.map((values) => row("td", values))),
    ),
  );
}

/** Code, bold and the words of links; links of a report lead to files that are not here. */
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]+\))/).map((part) => {
    if (part.startsWith("`")) return element("code", {}, part.slice(1, -1));
    if (part.startsWith("**")) return element("b", {}, part.slice(2, -2));
    const link = /^\[([^\]]+)\]\(/.exec(part);
    return link === null ? part.replaceAll("\\|", "|") : link[1];
  });
}
