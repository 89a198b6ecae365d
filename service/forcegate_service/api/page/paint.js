/** Paints the things of a scene on a canvas. */

/**
 * @typedef {{background: string, ink: string, arrow: string, edge: string}} Palette
 */

const SPRITE = 128;
/** @type {Map<string, HTMLCanvasElement>} */
const sprites = new Map();

/**
 * @param {CanvasRenderingContext2D} context
 * @param {ReturnType<import("./scene.js").things>} things from the back to the front
 * @param {Palette} palette
 * @param {{nearest: number, farthest: number}} depth Å, between which things fade
 * @param {number | null} marked index of the atom that is pointed at
 */
export function paint(context, things, palette, depth, marked) {
  const range = Math.max(1e-6, depth.nearest - depth.farthest);
  for (const thing of things) {
    const fade = 0.55 * Math.min(1, Math.max(0, (depth.nearest - thing.z) / range));
    if (thing.kind === "ball") ball(context, thing, palette, fade, thing.index === marked);
    else if (thing.kind === "stick") stick(context, thing, palette, fade);
    else if (thing.kind === "arrow") arrow(context, thing, palette, 0.6 * fade);
    else edge(context, thing, palette, fade);
  }
}

function ball(context, { x, y, radius, colour, label }, palette, fade, isMarked) {
  context.drawImage(sprite(colour), x - radius, y - radius, 2 * radius, 2 * radius);
  context.globalAlpha = fade;
  context.fillStyle = palette.background;
  disc(context, x, y, radius);
  context.globalAlpha = 1;
  if (isMarked) {
    context.strokeStyle = palette.arrow;
    context.lineWidth = 2.5;
    context.beginPath();
    context.arc(x, y, radius + 3, 0, 2 * Math.PI);
    context.stroke();
  }
  if (label !== null) write(context, label, x, y, Math.max(10, Math.min(15, 0.72 * radius)), palette);
}

/** A ball with its light, painted once for each colour. */
function sprite(colour) {
  const known = sprites.get(colour);
  if (known !== undefined) return known;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SPRITE;
  const context = canvas.getContext("2d");
  const half = SPRITE / 2;
  const light = context.createRadialGradient(0.68 * half, 0.6 * half, 0.05 * half, half, half, half);
  light.addColorStop(0, mixed(colour, "#ffffff", 0.75));
  light.addColorStop(0.3, mixed(colour, "#ffffff", 0.22));
  light.addColorStop(0.72, colour);
  light.addColorStop(1, mixed(colour, "#000000", 0.45));
  context.fillStyle = light;
  disc(context, half, half, half - 0.5);
  sprites.set(colour, canvas);
  return canvas;
}

function stick(context, { from, to, width, colour }, palette, fade) {
  const shades = [
    [1, mixed(colour, "#000000", 0.35)],
    [0.72, colour],
    [0.28, mixed(colour, "#ffffff", 0.35)],
  ];
  context.lineCap = "butt";
  for (const [share, shade] of shades) {
    context.strokeStyle = mixed(shade, palette.background, fade);
    context.lineWidth = share * width;
    line(context, from, to);
  }
}

/** Twice: first wider in the colour of the ground, so that it stands out from a bond along it. */
function arrow(context, thing, palette, fade) {
  shape(context, thing, palette.background, 1.5);
  shape(context, thing, mixed(palette.arrow, palette.background, fade), 0);
}

function shape(context, { from, to, scale }, colour, halo) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy);
  const width = Math.max(2, 0.08 * scale);
  context.strokeStyle = context.fillStyle = colour;
  // Head-on there is no shaft to see: a point, as in drawings of vectors.
  if (length < width) {
    disc(context, to.x, to.y, 1.2 * width + halo);
    return;
  }
  const head = Math.min(3.6 * width, 0.7 * length);
  const [ux, uy] = [dx / length, dy / length];
  const neck = { x: to.x - 0.9 * head * ux, y: to.y - 0.9 * head * uy };
  context.lineCap = "round";
  context.lineJoin = "round";
  context.lineWidth = width + 2 * halo;
  line(context, from, neck);
  context.beginPath();
  context.moveTo(to.x, to.y);
  for (const side of [1, -1]) {
    const out = 0.48 * head * side;
    context.lineTo(to.x - head * ux - out * uy, to.y - head * uy + out * ux);
  }
  context.closePath();
  context.fill();
  if (halo > 0) {
    context.lineWidth = 2 * halo;
    context.stroke();
  }
}

function edge(context, { from, to }, palette, fade) {
  context.strokeStyle = mixed(palette.edge, palette.background, fade);
  context.lineCap = "round";
  context.lineWidth = 1.4;
  line(context, from, to);
}

/** The arrow that says how long an arrow of so much is, in the lower left corner. */
export function legend(context, palette, height, pixels, text) {
  const y = height - 18;
  arrow(context, { from: { x: 16, y }, to: { x: 16 + pixels, y }, scale: 30 }, palette, 0);
  context.fillStyle = palette.ink;
  context.font = "13px system-ui, sans-serif";
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(text, 26 + pixels, y);
}

function write(context, text, x, y, size, palette) {
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 3;
  context.strokeStyle = palette.background;
  context.strokeText(text, x, y);
  context.fillStyle = palette.ink;
  context.fillText(text, x, y);
}

function line(context, from, to) {
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x, to.y);
  context.stroke();
}

function disc(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

/** @param {string} colour #rrggbb @param {string} other #rrggbb @param {number} share of `other` */
function mixed(colour, other, share) {
  const parts = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  const second = parts(other);
  const values = parts(colour).map((value, k) => Math.round(value + share * (second[k] - value)));
  return `#${values.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}
