/** The ways a photo gets onto the page: chosen, photographed, dropped, pasted. */

/**
 * @param {(files: File[]) => void} take
 * @param {(words: string) => void} refuse told what to do where nothing useful came
 */
export function listenForPhotos(take, refuse) {
  for (const [selector, id] of [["[data-choose]", "chooser"], ["[data-photograph]", "camera"]]) {
    const input = document.getElementById(id);
    for (const button of document.querySelectorAll(selector)) button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = ""; // so that the same photo can be chosen again
      if (files.length) take(files);
    });
  }
  listenForDrops(take, refuse);
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
    else if (!event.target.closest?.("input")) refuse("There is no picture on the clipboard. Copy the picture itself, then paste again.");
  });
}

function listenForDrops(take, refuse) {
  const curtain = document.getElementById("curtain");
  let depth = 0; // dragenter and dragleave come for every element that is crossed
  const cover = (change) => {
    depth = Math.max(0, depth + change);
    curtain.hidden = depth === 0;
  };
  addEventListener("dragenter", (event) => {
    event.preventDefault();
    cover(1);
  });
  addEventListener("dragleave", () => cover(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    cover(-depth);
    const files = [...event.dataTransfer.files];
    if (files.length) take(files);
    else refuse("That was no file. Drop a photo from a folder, or choose one.");
  });
}
