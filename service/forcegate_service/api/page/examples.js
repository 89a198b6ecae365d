/**
 * Structures for a first look: MMFF94 geometries, which no student takes for its own minimum, so
 * that there are forces to see.
 */

const water = `3
water
O    0.000  -0.398   0.000
H    0.763   0.199   0.000
H   -0.763   0.199   0.000
`;

const ethanol = `9
ethanol
C   -0.890  -0.159   0.006
C    0.468   0.511  -0.006
O    1.459  -0.393   0.461
H   -1.668   0.529  -0.335
H   -1.140  -0.504   1.015
H   -0.892  -1.042  -0.641
H    0.737   0.835  -1.016
H    0.469   1.387   0.649
H    1.457  -1.163  -0.133
`;

const caffeine = `24
caffeine
C   -3.225  -0.842   0.000
N   -2.156   0.125   0.000
C   -2.298   1.487   0.000
N   -1.129   2.098   0.000
C   -0.218   1.085   0.000
C   -0.816  -0.138   0.000
C   -0.091  -1.360   0.000
O   -0.640  -2.458   0.000
N    1.294  -1.168   0.000
C    2.147  -2.340   0.000
C    1.950   0.081   0.000
O    3.183   0.149   0.000
N    1.149   1.223   0.000
C    1.746   2.546   0.000
H   -3.138  -1.456   0.899
H   -3.138  -1.456  -0.900
H   -4.186  -0.322   0.000
H   -3.262   1.979   0.000
H    2.787  -2.314   0.888
H    1.579  -3.274   0.000
H    2.786  -2.314  -0.888
H    1.419   3.085  -0.894
H    2.838   2.500   0.000
H    1.419   3.085   0.894
`;

const aspirin = `21
aspirin
C   -3.415   0.482   0.041
C   -1.977   0.508   0.467
O   -1.600   0.485   1.632
O   -1.174   0.587  -0.665
C    0.189   0.525  -0.362
C    0.882   1.739  -0.324
C    2.249   1.745  -0.056
C    2.921   0.543   0.162
C    2.229  -0.671   0.106
C    0.852  -0.696  -0.165
C    0.116  -1.984  -0.255
O   -1.052  -2.143  -0.560
O    0.892  -3.044   0.042
H   -3.672   1.423  -0.452
H   -4.051   0.360   0.922
H   -3.588  -0.364  -0.629
H    0.358   2.675  -0.495
H    2.791   2.687  -0.014
H    3.988   0.548   0.375
H    2.779  -1.595   0.272
H    0.283  -3.808  -0.040
`;

const alanineDipeptide = `22
alanine dipeptide
C   -2.757  -1.398   0.236
C   -1.589  -0.751  -0.455
O   -1.046  -1.248  -1.438
N   -1.154   0.412   0.132
C    0.007   1.146  -0.377
C   -0.115   2.621  -0.017
C    1.327   0.544   0.163
O    2.187   1.210   0.734
N    1.486  -0.799  -0.117
C    2.717  -1.489   0.168
H   -3.276  -0.690   0.889
H   -2.399  -2.240   0.833
H   -3.468  -1.753  -0.516
H   -1.416   0.580   1.095
H    0.032   1.050  -1.470
H   -0.130   2.766   1.070
H   -1.041   3.045  -0.421
H    0.726   3.195  -0.419
H    0.837  -1.213  -0.787
H    3.445  -1.238  -0.608
H    3.105  -1.186   1.143
H    2.523  -2.564   0.160
`;

/** Solid carbon dioxide, space group Pa-3: the molecules lie along the body diagonals. */
function dryIce() {
  const [side, along] = [5.624, 0.1185];
  const centers = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]];
  const directions = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]];
  const row = (symbol, place) =>
    `${symbol} ${place.map((value) => (side * value).toFixed(4)).join(" ")}`;
  const rows = centers.flatMap((center, k) => {
    const at = (sign) => center.map((value, i) => value + sign * along * directions[k][i] + 0.25);
    return [row("C", at(0)), row("O", at(1)), row("O", at(-1))];
  });
  const lattice = `Lattice="${side} 0 0 0 ${side} 0 0 0 ${side}"`;
  return [`12`, `${lattice} Properties=species:S:1:pos:R:3 pbc="T T T"`, ...rows, ""].join("\n");
}

/** One O–H bond of water from 0.8 to 1.6 Å, in nine frames. */
function stretchedWater() {
  const angle = (104.5 * Math.PI) / 180;
  return Array.from({ length: 9 }, (_, k) => {
    const length = 0.8 + 0.1 * k;
    const moved = [length * Math.cos(angle), length * Math.sin(angle)];
    const place = moved.map((value) => value.toFixed(4)).join(" ");
    return `3\nO–H ${length.toFixed(1)} Å\nO 0 0 0\nH 0.96 0 0\nH ${place} 0\n`;
  }).join("");
}

/** @type {[string, () => string][]} names and texts */
export const EXAMPLES = [
  ["water", () => water],
  ["ethanol", () => ethanol],
  ["caffeine", () => caffeine],
  ["aspirin", () => aspirin],
  ["alanine dipeptide", () => alanineDipeptide],
  ["a bond that breaks", stretchedWater],
  ["dry ice, periodic", dryIce],
];
