/** The call of the API that gives what the page shows, for curl, Python and JavaScript. */

/** @param {import("./files.js").Options & {tab: string}} look @returns {Record<string, string>} parameters of /v1/segment */
function parametersOf({ tab }) {
  return tab === "cutout" ? { output: "cutout", label: "upperbody" } : { output: tab === "correct" ? "json" : "overlay" };
}

/** @param {Record<string, string>} parameters @param {string} ending of the file @returns {Record<string, string>} by language */
function snippetsOf(parameters, ending) {
  const address = `${new URL("v1/segment", document.baseURI)}?${new URLSearchParams(parameters)}`;
  return {
    curl: `curl -F photo=@photo.jpg \\\n  "${address}" \\\n  -o result.${ending}`,
    Python: `import httpx\n\nwith open("photo.jpg", "rb") as photo:\n    answer = httpx.post("${address}",\n        files={"photo": photo}, timeout=60)\nanswer.raise_for_status()\nopen("result.${ending}", "wb").write(answer.content)`,
    JavaScript: `const form = new FormData();\nform.append("photo", file);\nconst answer = await fetch("${address}",\n  { method: "POST", body: form });\nif (!answer.ok) throw new Error((await answer.json()).detail);\nconst result = await answer.blob();`,
  };
}

/** @param {HTMLDialogElement} dialog @param {import("./files.js").Options & {tab: string}} look the present choices */
export function showSnippets(dialog, look) {
  const parameters = parametersOf(look);
  const ending = { json: "json", overlay: "jpg" }[parameters.output] ?? "png";
  const texts = snippetsOf(parameters, ending);
  const show = () => (dialog.querySelector("#snippet").textContent = texts[dialog.querySelector("[name=language]:checked").value]);
  dialog.onchange = show;
  show();
  dialog.querySelector("#snippet-words").textContent = "If the server has keys, add the header Authorization: Bearer KEY.";
  dialog.showModal();
}
