/** The call of the API that gives what the page shows, for curl, Python and JavaScript. */

import { parametersOf } from "./look.js";

/** @param {Record<string, string>} parameters @param {string} ending of the file @returns {Record<string, string>} by language */
function snippetsOf(parameters, ending) {
  const address = `${new URL("v1/segment", document.baseURI)}?${new URLSearchParams(parameters)}`;
  return {
    curl: `curl -F photo=@photo.jpg \\\n  "${address}" \\\n  -o result.${ending}`,
    Python: `import httpx\n\nwith open("photo.jpg", "rb") as photo:\n    answer = httpx.post("${address}",\n        files={"photo": photo}, timeout=60)\nanswer.raise_for_status()\nopen("result.${ending}", "wb").write(answer.content)`,
    JavaScript: `const form = new FormData();\nform.append("photo", file);\nconst answer = await fetch("${address}",\n  { method: "POST", body: form });\nif (!answer.ok) throw new Error((await answer.json()).detail);\nconst result = await answer.blob();`,
  };
}

const WORDS = "The API cuts out all clothes, or one garment with label=; other pictures behind them are the page's alone. If the server has keys, add the header Authorization: Bearer KEY.";

/** @param {HTMLDialogElement} dialog @param {Partial<import("./files.js").Options>} look the present choices @param {string} tab the view */
export function showSnippets(dialog, look, tab) {
  const output = { cutout: "cutout", correct: "json" }[tab] ?? "overlay";
  const ending = { json: "json", overlay: "jpg", cutout: look.format === "jpeg" ? "jpg" : look.format }[output];
  const texts = snippetsOf({ output, ...(output === "cutout" && parametersOf(look)) }, ending);
  const show = () => (dialog.querySelector("#snippet").textContent = texts[dialog.querySelector("[name=language]:checked").value]);
  dialog.onchange = show;
  show();
  dialog.querySelector("#snippet-words").textContent = WORDS;
  dialog.showModal();
}
