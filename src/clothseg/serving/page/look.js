/** The choices of how clothes are cut out (background, canvas, margin, file, edges), and the call of the API that gives the same. */

import { bitmapOf } from "./photos.js";

const find = (id) => document.getElementById(id);
/** The picture behind the clothes. @type {ImageBitmap | null} */
let backdrop = null;

/** @returns {import("./compose.js").Background} */
function backgroundOf() {
  const kind = document.querySelector("[name=background]:checked").value;
  find("background-color").hidden = kind !== "color";
  if (kind === "picture" && !backdrop) return { kind: "none" };
  return { kind, color: find("background-color").value, picture: kind === "picture" ? backdrop : undefined };
}

/** @returns {Partial<import("./files.js").Options>} the present choices */
export function lookOf() {
  const [canvas, format, edges] = ["canvas", "format", "edges"].map((id) => find(id).value);
  return { background: backgroundOf(), canvas, margin: Number(find("margin").value) / 100, format, edges };
}

/** @param {() => void} change called after each choice @param {(words: string) => void} refuse where a picture cannot be shown */
export function listenForLooks(change, refuse) {
  for (const id of ["background", "background-color", "canvas", "margin", "format", "edges"]) find(id).addEventListener("input", change);
  find("background").addEventListener("click", ({ target }) => target.value === "picture" && find("backdrop").click());
  find("backdrop").addEventListener("change", async () => {
    const [file] = find("backdrop").files;
    find("backdrop").value = "";
    const picture = file && (await bitmapOf(file));
    if (file && !picture) refuse("This browser cannot show that picture. Choose a JPEG, PNG or WebP.");
    backdrop = picture ?? backdrop;
    change();
  });
}

/**
 * @param {Partial<import("./files.js").Options>} look
 * @returns {Record<string, string>} the same as parameters of the API; pictures and the photo itself as background are the page's alone
 */
export function parametersOf({ background, canvas, margin, format, edges }) {
  const behind = { color: background.color, blur: "blur" }[background.kind];
  return {
    ...(behind && { background: behind }),
    ...(canvas === "crop" && { tight: "true" }),
    ...(canvas.includes("x") && { canvas, margin: `${100 * margin}%` }),
    ...(format !== "png" && { format }),
    ...(edges !== "soft" && { edges }),
  };
}

/** The call of the API that gives what the page shows. @param {Record<string, string>} parameters @param {string} ending of the file @returns {Record<string, string>} by language */
function snippetsOf(parameters, ending) {
  const address = `${new URL("v1/segment", document.baseURI)}?${new URLSearchParams(parameters)}`;
  return {
    curl: `curl -F photo=@photo.jpg \\\n  "${address}" \\\n  -o result.${ending}`,
    Python: `import httpx\n\nwith open("photo.jpg", "rb") as photo:\n    answer = httpx.post("${address}",\n        files={"photo": photo}, timeout=60)\nanswer.raise_for_status()\nopen("result.${ending}", "wb").write(answer.content)`,
    JavaScript: `const form = new FormData();\nform.append("photo", file);\nconst answer = await fetch("${address}",\n  { method: "POST", body: form });\nif (!answer.ok) throw new Error((await answer.json()).detail);\nconst result = await answer.blob();`,
  };
}

/** @param {HTMLDialogElement} dialog @param {Partial<import("./files.js").Options>} look the present choices @param {string} tab the view */
export function showSnippets(dialog, look, tab) {
  const output = { cutout: "cutout", correct: "json" }[tab] ?? "overlay";
  const ending = { json: "json", overlay: "jpg", cutout: look.format === "jpeg" ? "jpg" : look.format }[output];
  const texts = snippetsOf({ output, ...(output === "cutout" && parametersOf(look)) }, ending);
  const show = () => (dialog.querySelector("#snippet").textContent = texts[dialog.querySelector("[name=language]:checked").value]);
  dialog.onchange = show;
  show();
  dialog.showModal();
}
