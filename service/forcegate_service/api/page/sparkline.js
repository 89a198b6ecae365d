/** Small curves of the last minutes. */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 200;
const HEIGHT = 36;

/**
 * @param {import("./traffic.js").Series[]} curves that share an axis from zero; the first is filled
 * @param {number} end time at the right edge, s
 * @param {number} length of time that is shown, s
 * @returns {SVGElement}
 */
export function sparkline(curves, end, length) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("class", "spark");
  // The figure beside it says what it shows.
  picture.setAttribute("aria-hidden", "true");
  const known = curves.flatMap((curve) => curve.map(({ value }) => value ?? 0));
  const top = known.reduce((largest, value) => Math.max(largest, value), 0) || 1;
  const x = (time) => WIDTH * (1 - (end - time) / length);
  const y = (value) => HEIGHT - 2 - ((HEIGHT - 5) * value) / top;
  curves.forEach((curve, k) => {
    for (const piece of pieces(curve)) {
      const points = piece.map(({ time, value }) => `${x(time).toFixed(1)} ${y(value).toFixed(1)}`);
      const way = `M${points.join("L")}`;
      const [first, last] = [x(piece[0].time), x(piece.at(-1).time)].map((at) => at.toFixed(1));
      if (k === 0) add(picture, `${way}L${last} ${HEIGHT}L${first} ${HEIGHT}Z`, "area");
      add(picture, way, `curve curve-${k}`);
    }
  });
  return picture;
}

/** Stretches of a curve without gaps: what was not measured is not drawn. */
function pieces(curve) {
  const found = [];
  let open = null;
  for (const point of curve) {
    if (point.value === null) open = null;
    else if (open === null) found.push((open = [point]));
    else open.push(point);
  }
  return found.filter((piece) => piece.length > 1);
}

function add(picture, way, name) {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", way);
  path.setAttribute("class", name);
  path.setAttribute("vector-effect", "non-scaling-stroke");
  picture.append(path);
}
