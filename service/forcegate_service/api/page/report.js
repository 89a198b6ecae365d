/** How a version was judged: the report of its validation, read when somebody opens it. */

import { element, problemBox } from "./dom.js";
import { markdown } from "./markdown.js";

/**
 * @param {import("./api.js").Api} api
 * @param {string} model @param {string} version
 * @returns {HTMLElement}
 */
export function reportBox(api, model, version) {
  const body = element("div", {}, element("p", { class: "hint" }, "asking…"));
  const box = element(
    "details",
    { class: "report" },
    element("summary", {}, "Report of its validation, with plots"),
    body,
  );
  const read = async () => {
    try {
      const { files } = await api.json(address(model, version, ""));
      if (!files.includes("report.md")) {
        body.replaceChildren(element("p", { class: "absent" }, "Nobody has validated it."));
        return;
      }
      const text = await api.text(address(model, version, "/report.md"));
      const draw = (file, words) => plot(api, address(model, version, `/${file}`), words);
      body.replaceChildren(markdown(text, draw));
    } catch (error) {
      body.replaceChildren(problemBox(error.problem ?? error));
    }
  };
  box.addEventListener("toggle", read, { once: true });
  return box;
}

const address = (model, version, file) =>
  `v1/models/${encodeURIComponent(model)}/report${file}?version=${encodeURIComponent(version)}`;

/**
 * A plot on a canvas: an image element would ask for it without the key. It is read once it is
 * about to be seen.
 */
function plot(api, path, words) {
  const canvas = element("canvas", { class: "plot", role: "img", "aria-label": words });
  const seen = new IntersectionObserver(
    async ([entry]) => {
      if (!entry.isIntersecting) return;
      seen.disconnect();
      try {
        const image = await createImageBitmap(await api.blob(path));
        Object.assign(canvas, { width: image.width, height: image.height });
        canvas.getContext("2d").drawImage(image, 0, 0);
      } catch (error) {
        canvas.replaceWith(problemBox(error.problem ?? error));
      }
    },
    { rootMargin: "400px" },
  );
  seen.observe(canvas);
  return canvas;
}
