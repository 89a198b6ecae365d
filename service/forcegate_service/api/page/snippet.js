/** The same question from elsewhere: what somebody copies into a script or a terminal. */

import { asBody } from "./api.js";
import { element } from "./dom.js";
import { symbolOf } from "./elements.js";

// Longer ones are no snippets.
const MOST_ATOMS = 200;

/**
 * @param {{model: string, version: string}} which
 * @param {import("./xyz.js").Structure} structure
 * @param {boolean} withKey whether the gateway asks for one
 * @returns {HTMLElement}
 */
export function snippetBox(which, structure, withKey) {
  const url = new URL(".", location.href).href.replace(/\/$/, "");
  const box = element("details", { class: "snippets" });
  box.append(element("summary", {}, "Use this from ASE, curl or a terminal"));
  if (structure.numbers.length > MOST_ATOMS) {
    const words = `More than ${MOST_ATOMS} atoms are not written out here: forcegate predict FILE`;
    box.append(element("p", { class: "hint" }, `${words} --url ${url} --model ${which.model}`));
    return box;
  }
  if (withKey) {
    box.append(element("p", { class: "hint" }, "Set FORCEGATE_API_KEY to your key before."));
  }
  const rounded = {
    ...structure,
    positions: structure.positions.map((p) => p.map((value) => Number(value.toFixed(6)))),
  };
  const kinds = [["Python, with ASE", python], ["curl", http], ["command line", shell]];
  for (const [title, write] of kinds) box.append(block(title, write(url, which, rounded, withKey)));
  return box;
}

function block(title, text) {
  const copy = element("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    // Not there where a page came unencrypted from another machine.
    await navigator.clipboard?.writeText(text);
    copy.textContent = navigator.clipboard ? "Copied" : "Select and copy";
  });
  return element(
    "div",
    { class: "snippet" },
    element("div", { class: "row" }, element("b", {}, title), copy),
    element("pre", { tabindex: "0", role: "region", "aria-label": title }, text),
  );
}

function python(url, { model, version }, structure) {
  const { numbers, positions, cell, pbc, charge } = structure;
  const lines = [
    "from ase import Atoms",
    "from forcegate_client import RemoteCalculator",
    "",
    "atoms = Atoms(",
    `    numbers=${JSON.stringify(numbers)},`,
    "    positions=[",
    ...positions.map((p) => `        ${JSON.stringify(p)},`),
    "    ],",
  ];
  if (cell !== null) {
    const axes = pbc.map((value) => (value ? "True" : "False")).join(", ");
    lines.push(`    cell=${JSON.stringify(cell)},`, `    pbc=[${axes}],`);
  }
  lines.push(")");
  if (charge) lines.push(`atoms.info["charge"] = ${charge}`);
  lines.push(
    `atoms.calc = RemoteCalculator("${url}", model="${model}", version="${version}")`,
    'print(atoms.get_potential_energy(), "eV")',
    'print(atoms.get_forces(), "eV/Å")',
  );
  return `${lines.join("\n")}\n`;
}

function http(url, which, structure, withKey) {
  const body = { ...which, properties: ["energy", "forces"], structures: [asBody(structure)] };
  const key = withKey ? ' -H "Authorization: Bearer $FORCEGATE_API_KEY"' : "";
  const head = `curl -s ${url}/v1/predict -H 'Content-Type: application/json'${key}`;
  return `${head} -d '${JSON.stringify(body)}'\n`;
}

function shell(url, { model, version }, { numbers, positions, cell, pbc, charge }) {
  const words = ["Properties=species:S:1:pos:R:3"];
  if (cell !== null) {
    const axes = pbc.map((value) => (value ? "T" : "F")).join(" ");
    words.unshift(`Lattice="${cell.flat().join(" ")}"`, `pbc="${axes}"`);
  }
  if (charge) words.push(`charge=${charge}`);
  const rows = numbers.map((number, k) => `${symbolOf(number)} ${positions[k].join(" ")}`);
  const xyz = [numbers.length, words.join(" "), ...rows].join("\n");
  const command = `forcegate predict structure.xyz --url ${url} --model ${model} --version ${version}`;
  return `cat > structure.xyz <<'XYZ'\n${xyz}\nXYZ\n${command}\n`;
}
