/** What was pasted or dropped, as frames: XYZ is read here, everything else by the gateway. */

import { XyzError, frames, readFrame } from "./xyz.js";

/**
 * @typedef {object} Frames
 * @property {number} count
 * @property {(index: number) => import("./xyz.js").Structure} frame from 0
 * @property {string[]} remarks what all of them should be read with
 */

// By the ends of names: what the gateway calls the format.
const ENDINGS = {
  smi: "smi", smiles: "smi", sdf: "sdf", sd: "sdf", mol: "sdf", mol2: "mol2", pdb: "pdb", ent: "pdb",
  cif: "cif", traj: "traj",
};
// What no text can hold.
const BINARY = new Set(["traj"]);
const SMILES = /^[A-Za-z0-9@+\-[\]()=#$:/\\%.*~]+$/;
// Begins with a symbol of those that stand outside brackets, aromatic ones included.
const ORGANIC = /^(\[|Cl|Br|[BCNOPSFIbcnops])/;

/** The format of a file by its name; undefined if that is XYZ, or says nothing. @param {string} name */
export const formatOfName = (name) => ENDINGS[name.split(".").at(-1).toLowerCase()];

/** @param {string} name @returns {boolean} whether the file is to be read as bytes */
export const isBinary = (name) => BINARY.has(formatOfName(name));

/**
 * The format of a text by what stands in it: one that the gateway reads, or undefined for XYZ.
 * @param {string} text
 * @returns {string | undefined}
 */
export function formatOfText(text) {
  if (/^.*V[23]000\s*$/m.test(text)) return "sdf";
  if (/^@<TRIPOS>MOLECULE/m.test(text)) return "mol2";
  if (/^data_/m.test(text) && /^\s*_cell_length_a/m.test(text)) return "cif";
  if (/^(ATOM {2}|HETATM)/m.test(text)) return "pdb";
  const [first = ""] = text.trimStart().split("\n");
  const [word = "", ...rest] = first.trim().split(/[\s,]+/);
  const isRow = rest.length >= 3 && rest.slice(0, 3).every((item) => !Number.isNaN(Number(item)));
  return !isRow && SMILES.test(word) && ORGANIC.test(word) ? "smi" : undefined;
}

/**
 * @param {string | ArrayBuffer} content
 * @param {string} name of the file it came from, or nothing
 * @param {import("./api.js").Api} api
 * @param {AbortSignal} signal
 * @returns {Promise<Frames>}
 */
export async function readFrames(content, name, api, signal) {
  const format = formatOfName(name) ?? (typeof content === "string" ? formatOfText(content) : "traj");
  if (format === undefined) {
    const found = frames(content);
    return { count: found.starts.length, frame: (index) => readFrame(found, index), remarks: [] };
  }
  if (content.length === 0) throw new XyzError("an empty text", "a structure", "paste one");
  const { structures, problems, left_out: left } = await api.structures(content, format, signal);
  const remarks = problems.slice(0, 3).map(({ index, detail }) => `record ${index + 1}: ${detail}`);
  if (problems.length > 3) remarks.push(`${problems.length - 3} more records hold no structure`);
  if (left > 0) remarks.push(`${left.toLocaleString("en")} more records were left out`);
  return { count: structures.length, frame: (index) => asStructure(structures[index]), remarks };
}

const asStructure = ({ atomic_numbers: numbers, label: comment, remark, ...rest }) =>
  ({ numbers, comment, remark, ...rest });
