/**
 * What a drawing needs to know of the elements.
 *
 * Radii are covalent radii in Å after Cordero et al. 2008 (doi:10.1039/b801115j).
 */

/** Symbols by atomic number; the first is no element. */
export const SYMBOLS = (
  "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se " +
  "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy " +
  "Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf " +
  "Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
).split(" ");

const NUMBERS = new Map(SYMBOLS.map((symbol, number) => [symbol, number]));

const RADII = [
  0.2, 0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66, 0.57, 0.58, 1.66, 1.41, 1.21, 1.11, 1.07,
  1.05, 1.02, 1.06, 2.03, 1.76, 1.7, 1.6, 1.53, 1.39, 1.39, 1.32, 1.26, 1.24, 1.32, 1.22, 1.22, 1.2,
  1.19, 1.2, 1.2, 1.16, 2.2, 1.95, 1.9, 1.75, 1.64, 1.54, 1.47, 1.46, 1.42, 1.39, 1.45, 1.44, 1.42,
  1.39, 1.39, 1.38, 1.39, 1.4,
];
const OTHER_RADIUS = 1.6;

const COLOURS = new Map([
  [1, "#f4f4f2"], [5, "#f2b6a0"], [6, "#5c6470"], [7, "#3f6fe0"], [8, "#e2453c"], [9, "#7ccf5f"],
  [14, "#d9bd92"], [15, "#f08a24"], [16, "#e8c52c"], [17, "#35b552"], [26, "#d9702f"],
  [35, "#a3402f"], [53, "#8a3fb0"],
]);
const OTHER_COLOUR = "#c46fa6";

/**
 * The atomic number of a symbol, in whatever case it was written.
 * @param {string} text
 * @returns {number | undefined}
 */
export function numberOf(text) {
  const symbol = text.charAt(0).toUpperCase() + text.slice(1).toLowerCase();
  const number = NUMBERS.get(symbol);
  return number === 0 ? undefined : number;
}

/** @param {number} number @returns {string} */
export const symbolOf = (number) => SYMBOLS[number] ?? `element ${number}`;

/** @param {number} number @returns {number} covalent radius, Å */
export const radiusOf = (number) => RADII[number] ?? OTHER_RADIUS;

/** @param {number} number @returns {string} colour as #rrggbb */
export const colourOf = (number) => COLOURS.get(number) ?? OTHER_COLOUR;

/**
 * A composition in Hill's order: carbon, hydrogen, then the rest by the alphabet.
 * @param {number[]} numbers
 * @returns {{symbol: string, count: number}[]}
 */
export function composition(numbers) {
  const counts = new Map();
  for (const number of numbers) counts.set(symbolOf(number), (counts.get(symbolOf(number)) ?? 0) + 1);
  const first = counts.has("C") ? ["C", "H"] : [];
  const rank = (symbol) => (first.includes(symbol) ? first.indexOf(symbol) : 2);
  return [...counts]
    .map(([symbol, count]) => ({ symbol, count }))
    .sort((a, b) => rank(a.symbol) - rank(b.symbol) || a.symbol.localeCompare(b.symbol));
}
