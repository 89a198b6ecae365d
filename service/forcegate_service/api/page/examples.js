/**
 * Structures for a first look. The molecules are minima of painn_base 4, so that the first forces
 * that somebody sees are small.
 */

const water = `3
water
O     0.0000   -0.3894    0.0000
H     0.7599    0.1947    0.0000
H    -0.7599    0.1947    0.0000
`;

const ethanol = `9
ethanol
C    -0.9043   -0.1623    0.0027
C     0.4666    0.4863   -0.0140
O     1.4841   -0.3805    0.4684
H    -1.6674    0.5423   -0.3248
H    -1.1494   -0.4975    1.0088
H    -0.9330   -1.0264   -0.6618
H     0.7089    0.8351   -1.0214
H     0.4819    1.3537    0.6434
H     1.5127   -1.1507   -0.1013
`;

const caffeine = `24
caffeine
C    -3.2427   -0.8472   -0.0002
N    -2.1783    0.1393    0.0000
C    -2.2839    1.4808    0.0000
N    -1.1116    2.1031    0.0001
C    -0.2135    1.0911    0.0001
C    -0.8246   -0.1315    0.0000
C    -0.1043   -1.3691    0.0000
O    -0.5902   -2.4838    0.0000
N     1.2835   -1.1497    0.0001
C     2.1643   -2.3175    0.0000
C     1.9440    0.0917    0.0001
O     3.1564    0.1447    0.0000
N     1.1514    1.2188    0.0001
C     1.7586    2.5445    0.0001
H    -3.1623   -1.4760    0.8817
H    -3.1624   -1.4757   -0.8822
H    -4.1982   -0.3335    0.0000
H    -3.2410    1.9744    0.0000
H     2.8005   -2.3009    0.8808
H     1.5445   -3.2047    0.0002
H     2.8002   -2.3011   -0.8811
H     1.4374    3.0891   -0.8835
H     2.8347    2.4241    0.0000
H     1.4375    3.0891    0.8836
`;

const aspirin = `21
aspirin
C    -3.3987    0.3471    0.0059
C    -1.9914    0.3683    0.5103
O    -1.6126    0.0698    1.6036
O    -1.1437    0.8038   -0.4818
C     0.2115    0.6579   -0.2781
C     0.9663    1.8187   -0.2858
C     2.3359    1.7520   -0.1037
C     2.9545    0.5232    0.0785
C     2.1982   -0.6339    0.0644
C     0.8173   -0.5924   -0.1339
C     0.0337   -1.8552   -0.2348
O    -1.0646   -1.9663   -0.7164
O     0.7034   -2.9140    0.2636
H    -3.6297    1.2808   -0.5011
H    -4.0749    0.1806    0.8371
H    -3.4934   -0.4625   -0.7146
H     0.4606    2.7617   -0.4265
H     2.9198    2.6608   -0.1010
H     4.0217    0.4650    0.2292
H     2.6712   -1.5921    0.2093
H     0.1148   -3.6734    0.1757
`;

const alanineDipeptide = `22
alanine dipeptide
C    -2.8292   -1.3530    0.2801
C    -1.6203   -0.7446   -0.3893
O    -1.0867   -1.2485   -1.3681
N    -1.1590    0.3981    0.1699
C     0.0105    1.1066   -0.3377
C    -0.0730    2.5729    0.0293
C     1.3073    0.4697    0.2005
O     1.9757    1.0112    1.0629
N     1.6197   -0.7169   -0.3606
C     2.8051   -1.4539    0.0224
H    -3.6691   -0.6594    0.2652
H    -2.6135   -1.5889    1.3212
H    -3.0977   -2.2589   -0.2501
H    -1.5870    0.7363    1.0126
H    -0.0032    0.9798   -1.4189
H    -0.0637    2.6973    1.1100
H    -0.9804    3.0128   -0.3803
H     0.7882    3.1028   -0.3678
H     0.9465   -1.1319   -0.9867
H     3.6643   -1.1882   -0.5940
H     3.0491   -1.2240    1.0551
H     2.6164   -2.5196   -0.0758
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
  ["glycine, a SMILES", () => "[NH3+]CC(=O)[O-] glycine"],
  ["a bond that breaks", stretchedWater],
  ["dry ice, periodic", dryIce],
];
