/**
 * Reads XYZ and extended XYZ: https://github.com/libAtoms/extxyz describes the latter.
 *
 * What is not there is not made up: a structure without a lattice has none, and a charge that the
 * file names is passed on, so that the server can refuse it.
 */

import { numberOf } from "./elements.js";

/**
 * @typedef {object} Structure
 * @property {number[]} numbers atomic numbers
 * @property {number[][]} positions Å
 * @property {number[][] | null} cell rows are lattice vectors, Å
 * @property {boolean[]} pbc
 * @property {number} [charge] as the file names it
 * @property {number} [multiplicity] as the file names it
 * @property {string} comment
 * @property {number[][]} [velocities] Å/fs, of a frame of dynamics
 * @property {string} [remark] what it should be read with
 */

/** A text that cannot be read, in the words of a problem document. */
export class XyzError extends Error {
  /** @param {string} received @param {string} expected @param {string} action */
  constructor(received, expected, action = "correct the text and try again") {
    super(`${received}; expected ${expected}; ${action}`);
    Object.assign(this, { title: "The structure cannot be read", received, expected, action });
  }
}

const COUNT = /^\s*\d+\s*$/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?$/;

/**
 * Where the frames of a text begin. A list of atoms without the two lines above it is one frame.
 * @param {string} text
 * @returns {{lines: string[], starts: number[], bare: boolean}}
 */
export function frames(text) {
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\r|\n/);
  let at = lines.findIndex((line) => line.trim() !== "");
  if (at < 0) throw new XyzError("an empty text", "an XYZ file", "paste one, or choose an example");
  if (!COUNT.test(lines[at])) {
    if (looksLikeAtom(lines[at])) return { lines, starts: [at], bare: true };
    throw new XyzError(
      `“${shortened(lines[at])}” in line ${at + 1}`,
      "the number of atoms, or a line such as “O 0.0 0.0 0.0”",
    );
  }
  const starts = [];
  while (at < lines.length) {
    if (lines[at].trim() === "") {
      at += 1;
      continue;
    }
    if (!COUNT.test(lines[at])) {
      throw new XyzError(
        `“${shortened(lines[at])}” in line ${at + 1}, where frame ${starts.length + 1} would begin`,
        "the number of atoms of that frame, or the end of the text",
        "compare the number of atoms with the lines that follow it",
      );
    }
    starts.push(at);
    at += 2 + Number(lines[at]);
  }
  return { lines, starts, bare: false };
}

/**
 * One frame of a text.
 * @param {ReturnType<typeof frames>} found
 * @param {number} index from 0
 * @returns {Structure}
 */
export function readFrame(found, index) {
  const { lines, starts, bare } = found;
  const start = starts[index];
  if (bare) {
    const rows = [];
    for (let at = start; at < lines.length && lines[at].trim() !== ""; at += 1) rows.push(at);
    return structureOf(rows, lines, "", {});
  }
  const count = Number(lines[start]);
  const comment = lines[start + 1] ?? "";
  const rows = Array.from({ length: count }, (_, k) => start + 2 + k);
  if (rows.some((at) => (lines[at] ?? "").trim() === "")) {
    const given = rows.filter((at) => (lines[at] ?? "").trim() !== "").length;
    throw new XyzError(
      `${given} atoms in frame ${index + 1}`,
      `${count}, as line ${start + 1} says`,
      "correct the number, or add the atoms that are missing",
    );
  }
  return structureOf(rows, lines, comment, keyValues(comment));
}

/** @returns {Structure} */
function structureOf(rows, lines, comment, info) {
  const columns = columnsOf(info.properties);
  const numbers = [];
  const positions = [];
  for (const at of rows) {
    const words = lines[at].trim().split(/\s+/);
    const number = elementOf(words[columns.species], columns.isNumber);
    if (number === undefined) {
      throw new XyzError(
        `“${shortened(words[columns.species] ?? lines[at])}” in line ${at + 1}`,
        "the symbol or atomic number of an element",
      );
    }
    const position = words.slice(columns.position, columns.position + 3);
    const wrong = position.find((word) => !NUMBER.test(word));
    if (position.length < 3 || wrong !== undefined) {
      throw new XyzError(
        wrong === undefined ? `${position.length} coordinates in line ${at + 1}` :
          `“${shortened(wrong)}” in line ${at + 1}`,
        "three coordinates in Å",
      );
    }
    numbers.push(number);
    positions.push(position.map(toNumber));
  }
  const cell = cellOf(info.lattice);
  const structure = { numbers, positions, cell, pbc: pbcOf(info.pbc, cell), comment: comment.trim() };
  for (const name of ["charge", "multiplicity"]) {
    if (info[name] === undefined) continue;
    if (!/^[+-]?\d+(\.0*)?$/.test(info[name])) {
      throw new XyzError(`${name}=${shortened(info[name])}`, "a whole number", `correct ${name}`);
    }
    structure[name] = Number(info[name]);
  }
  return structure;
}

/**
 * The `key=value` pairs of an extended comment, by their keys in lower case.
 * @param {string} comment
 * @returns {Record<string, string>}
 */
export function keyValues(comment) {
  const pairs = {};
  const pair = /([A-Za-z_][\w-]*)\s*=\s*(?:"([^"]*)"|\{([^}]*)\}|(\[[^=]*\])|(\S+))/g;
  for (const [, key, quoted, braced, listed, bare] of comment.matchAll(pair)) {
    pairs[key.toLowerCase()] = quoted ?? braced ?? listed ?? bare;
  }
  return pairs;
}

function columnsOf(properties) {
  const columns = { species: 0, position: 1, isNumber: false };
  if (properties === undefined) return columns;
  const parts = properties.split(":");
  const found = {};
  for (let k = 0, column = 0; k + 2 < parts.length; k += 3) {
    found[parts[k].toLowerCase()] = column;
    column += Number(parts[k + 2]);
  }
  const species = found.species ?? found.symbols ?? found.z ?? found.numbers;
  if (species === undefined || found.pos === undefined) {
    throw new XyzError(`Properties=${shortened(properties)}`, "species and pos among them");
  }
  return { species, position: found.pos, isNumber: (found.species ?? found.symbols) === undefined };
}

function elementOf(word, isNumber) {
  if (word === undefined) return undefined;
  if (!/^\d+$/.test(word)) return isNumber ? undefined : numberOf(word);
  const number = Number(word);
  return number >= 1 && number <= 118 ? number : undefined;
}

function cellOf(lattice) {
  if (lattice === undefined) return null;
  const words = lattice.replace(/[[\],]/g, " ").trim().split(/\s+/);
  if (words.length !== 9 || !words.every((word) => NUMBER.test(word))) {
    throw new XyzError(`Lattice="${shortened(lattice)}"`, "nine numbers, three for each vector, in Å");
  }
  const values = words.map(toNumber);
  return [values.slice(0, 3), values.slice(3, 6), values.slice(6, 9)];
}

function pbcOf(text, cell) {
  // A lattice without a word on periodicity is periodic: so the format has it.
  if (text === undefined) return Array(3).fill(cell !== null);
  const words = text.replace(/[[\],]/g, " ").trim().split(/\s+/);
  const known = { t: true, true: true, 1: true, f: false, false: false, 0: false };
  const values = words.map((word) => known[word.toLowerCase()]);
  if (values.length !== 3 || values.includes(undefined)) {
    throw new XyzError(`pbc="${shortened(text)}"`, "three of T and F");
  }
  return values;
}

const looksLikeAtom = (line) => {
  const [species, ...rest] = line.trim().split(/\s+/);
  return elementOf(species, false) !== undefined && rest.length >= 3 &&
    rest.slice(0, 3).every((word) => NUMBER.test(word));
};
const toNumber = (word) => Number(word.replace(/[dD]/, "e"));
const shortened = (text) => (text.length > 40 ? `${text.trim().slice(0, 40)}…` : text.trim());
