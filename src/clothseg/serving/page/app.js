/** The page put together: the photos, the stage and the panels beside it, the downloads and the requests to the server. */

import { Api } from "./api.js";
import { fileOf, save } from "./download.js";
import { capital, classesOf, counted, fileSize, fillAbout, GarmentList, garmentColours, hexOf, percent, Strip } from "./panels.js";
import { bitmapOf, listenForPhotos, Photos } from "./photos.js";
import { Stage } from "./stage.js";

const find = (id) => document.getElementById(id);
const api = new Api();
/** The photo on the stage. @type {import("./photos.js").Photo | null} */
let current = null;
/** Its pixels, while they are decoded. @type {Promise<ImageBitmap | null>} */
let decoded = Promise.resolve(null);
/** Its pixels; null where the browser cannot show it. @type {ImageBitmap | null} */
let bitmap = null;
/** The photo whose garments the list shows. */
let listed = null;
let isDownloading = false;
/** Number of calls of `show`: a photo that is decoded slowly must not replace a later one. */
let numShown = 0;
/** RGB of every class id. @type {number[][]} */
let colors = [];

const photos = new Photos(api, { change: photoChanged, keyNeeded: askForKey });
const strip = new Strip(find("strip"), { choose: (id) => show(photos.all.find((one) => one.id === id)), remove });
const stage = new Stage(find("stage"), (id, event) => {
  highlight(id);
  placeTip(id, event);
});
const list = new GarmentList(find("garments"), { highlight, toggle, download: (id) => download({ cutout: segmentOf(id) }) });

const segmentOf = (id) => current.results.segments.find((one) => one.class_id === id);
const shareOf = ({ area }) => area / (current.results.width * current.results.height);
const announce = (words) => (find("status").textContent = words);

function addPhotos(files) {
  find("notice").hidden = true;
  const [first] = photos.add(files);
  show(first);
}

function showNotice(words) {
  find("notice").textContent = words;
  find("notice").hidden = false;
}

/** Show a photo on the stage, in whatever state it is. @param {import("./photos.js").Photo} photo */
async function show(photo) {
  const number = ++numShown;
  const isNew = photo !== current;
  current = photo;
  find("welcome").hidden = true;
  find("work").hidden = false;
  showPanel();
  if (isNew) {
    decoded.then((old) => old?.close());
    decoded = bitmapOf(photo.file);
    stage.reset();
    find("results").hidden = true;
  }
  bitmap = null;
  const pixels = await decoded;
  if (number !== numShown) return;
  bitmap = hasSameSize(pixels, photo.results) ? pixels : null;
  find("photo").setAttribute("aria-label", `The photo ${photo.name}`);
  find("stage").hidden = !(bitmap || photo.results);
  if (bitmap || photo.results) stage.showPhoto(bitmap, photo.results ?? bitmap);
  highlight(null);
  if (photo.results) showResults(photo);
  showPanel();
}

/** Whether browser and server orient the photo in the same way; otherwise the classes would not fit the garments. */
function hasSameSize(pixels, results) {
  return pixels && (!results || (pixels.width === results.width && pixels.height === results.height));
}

function showResults(photo) {
  listed = photo;
  stage.showClasses(photo.results, colors, { hidden: photo.hidden, reveal: !photo.seen });
  photo.seen = true;
  photo.colours ??= bitmap ? coloursOf() : new Map();
  const garments = photo.results.segments.map((segment) => ({
    id: segment.class_id,
    name: segment.label,
    color: hexOf(colors[segment.class_id]),
    share: shareOf(segment),
    score: segment.score,
    colours: photo.colours.get(segment.class_id) ?? [],
  }));
  list.show(garments.sort((one, other) => other.share - one.share), photo.hidden);
  updateAllButton();
}

/** The main colours of each garment, from the picture on the screen. */
function coloursOf() {
  const { width, height } = stage.photo;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(stage.photo, 0, 0);
  return garmentColours(context.getImageData(0, 0, width, height).data, stage.ids);
}

/** Show the current photo's state everywhere but on the canvases. */
function showPanel() {
  strip.show(photos.all, current.id);
  const { results, problem, state, wait, seconds, file, name } = current;
  find("scan").hidden = state !== "working" || wait > 0;
  find("stage").classList.toggle("busy", state === "working" || state === "waiting");
  find("file-name").textContent = name;
  const size = results ? `${results.width} × ${results.height} pixels, ` : "";
  find("file-facts").textContent = `${size}${fileSize(file.size)}${seconds ? `, took ${seconds.toFixed(1)} s` : ""}`;
  const isEmpty = results && !results.segments.length;
  find("results").hidden = !results || isEmpty || listed !== current;
  find("panel-hint").textContent = hintOf(current);
  const failed = state === "failed";
  find("message").hidden = !failed && !isEmpty && !wait;
  find("again").hidden = !failed || ["no-photo", "unreadable-photo", "too-many-pixels", "too-many-bytes"].includes(problem.kind);
  if (failed || wait) {
    find("message-title").textContent = problem.title;
    find("message-words").textContent = wait ? `The photo is sent again in ${wait} s.` : problem.message;
  } else if (isEmpty) {
    find("message-title").textContent = "No garments found";
    find("message-words").textContent = "Try a photo in which a person is larger, upright and well lit.";
  }
}

function hintOf({ state, results, problem }) {
  if (state === "waiting") return problem ? "Waiting for an API key." : "Waiting in the queue.";
  if (state === "working") return "Segmenting…";
  if (state === "failed" || !results.segments.length) return "Choose another photo below, or add one.";
  if (!bitmap) return "This browser cannot show this kind of photo, so its classes are shown on grey. Downloads are made from the photo itself.";
  const pointing = matchMedia("(hover: none)").matches ? "Tap" : "Point at";
  return `${pointing} a garment to highlight it. Drag the round handle to compare with the photo.`;
}

function photoChanged(photo) {
  if (photo.state === "done") announce(announcementOf(photo));
  else if (photo.state === "failed") announce(`${photo.name}: ${photo.problem.title}. ${photo.problem.message}`);
  else if (photo.state === "working" && !photo.wait && !photo.thumbnail) announce(`${photo.name} is being segmented.`);
  if (photo === current && photo.state === "done" && !photo.seen) show(photo);
  else if (current) showPanel();
}

function announcementOf({ name, results }) {
  const { segments, width, height } = results;
  if (!segments.length) return `${name}: no garments found.`;
  const parts = segments.map(({ label, area }) => `${label} ${percent(area / (width * height))}`);
  return `${name}: ${counted(segments.length, "garment")} found: ${parts.join(", ")}.`;
}

function remove(id) {
  const place = photos.all.findIndex((one) => one.id === id);
  photos.remove(id);
  const next = photos.all[Math.min(place, photos.all.length - 1)];
  if (!next) {
    numShown++;
    decoded.then((old) => old?.close());
    decoded = Promise.resolve(null);
    current = bitmap = null;
    find("work").hidden = true;
    find("welcome").hidden = false;
    document.querySelector(".welcome [data-choose]").focus();
    return;
  }
  if (current.id === id) show(next);
  else showPanel();
  strip.focus(next.id);
}

/** @param {number | null} id class to highlight */
function highlight(id) {
  find("tip").hidden = true;
  list.highlight(id);
  if (stage.highlighted === id) return;
  stage.highlighted = id;
  stage.update();
}

function placeTip(id, event) {
  const tip = find("tip");
  if (id === null) return;
  const segment = segmentOf(id);
  const words = document.createElement("strong");
  words.textContent = capital(segment.label);
  tip.replaceChildren(words, `${percent(shareOf(segment))} of the photo, ${percent(segment.score)} sure`);
  tip.hidden = false;
  const box = find("stage").getBoundingClientRect();
  const half = tip.offsetWidth / 2;
  const left = Math.min(Math.max(event.clientX - box.left, half), box.width - half);
  const above = event.clientY - box.top > tip.offsetHeight + 28;
  tip.style.setProperty("left", `${left}px`);
  tip.style.setProperty("top", `${event.clientY - box.top + (above ? -16 : 26)}px`);
  tip.classList.toggle("below", !above);
}

function toggle(id) {
  if (!current.hidden.delete(id)) current.hidden.add(id);
  classesSwitched();
}

function classesSwitched() {
  list.mark(current.hidden);
  updateAllButton();
  stage.update();
}

function updateAllButton() {
  find("all").textContent = current.hidden.size ? "Show all" : "Hide all";
}

async function download(what) {
  if (isDownloading) return;
  isDownloading = true;
  const buttons = find("results").querySelectorAll("[data-download], .garment .icon");
  const photo = current;
  find("download-error").hidden = true;
  for (const button of buttons) button.setAttribute("aria-disabled", "true");
  // Decoded again: the user may choose another photo meanwhile.
  const pixels = bitmap && (await bitmapOf(photo.file));
  try {
    const options = { api, bitmap: pixels, tight: find("tight").checked, opacity: stage.opacity, colors };
    const file = await fileOf(photo, options, what);
    save(file.blob, file.name);
    announce(`${file.name} is downloaded.`);
  } catch (error) {
    find("download-error").textContent = error.title ? `${error.title}. ${error.message}` : "This browser cannot draw a photo of this size. The mask and the results can still be downloaded.";
    find("download-error").hidden = false;
  }
  pixels?.close();
  isDownloading = false;
  for (const button of buttons) button.removeAttribute("aria-disabled");
}

function askForKey(problem) {
  find("key-form").hidden = false;
  if (problem.kind === "key-wrong") find("key-words").textContent = "The server does not know this key. Check it, or ask its operator for another.";
  find("key").focus();
}

/** Load the description of the model; photos are sent when the classes and their colours are known. */
async function loadModel() {
  try {
    const card = await api.model();
    colors = card.classes.map((one) => one.color);
    fillAbout(find("about"), card);
    const never = classesOf(card).unknown.map((one) => one.name);
    find("never").textContent = `This model never finds ${never.join(", ")}: its training data did not show any.`;
    find("never").hidden = !never.length;
    find("about-name").textContent = `Model: ${card.name.replace(/\.(onnx|ckpt)$/, "")}`;
    find("about-dot").classList.add("alive");
    find("notice").hidden = true;
    photos.unlock();
  } catch (error) {
    if (["key-missing", "key-wrong"].includes(error.kind)) return askForKey(error);
    showNotice(`${error.title}. ${error.message}`);
    setTimeout(loadModel, 1000 * Math.max(2, error.retryAfter ?? 0));
  }
}

listenForPhotos(addPhotos, showNotice);
find("host").textContent = location.host || "this server";
find("sample").addEventListener("click", async () => {
  find("sample").disabled = true;
  try {
    addPhotos([await api.sample()]);
  } catch (error) {
    if (["key-missing", "key-wrong"].includes(error.kind)) askForKey(error);
    else showNotice(`${error.title}. ${error.message}`);
  }
  find("sample").disabled = false;
});
find("opacity").addEventListener("input", ({ target }) => {
  stage.opacity = target.value / 100;
  find("opacity-value").textContent = `${target.value}%`;
  stage.update();
});
find("all").addEventListener("click", () => {
  const ids = current.hidden.size ? [] : current.results.segments.map((one) => one.class_id);
  current.hidden.clear();
  for (const id of ids) current.hidden.add(id);
  classesSwitched();
});
find("again").addEventListener("click", () => photos.retry(current));
find("downloads").addEventListener("click", ({ target }) => {
  const button = target.closest("[data-download]");
  if (button) download(button.dataset.download);
});
find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.key = find("key").value.trim();
  find("key").value = "";
  find("key-form").hidden = true;
  loadModel();
});
find("about-open").addEventListener("click", () => find("about").showModal());
find("about-close").addEventListener("click", () => find("about").close());
find("about").addEventListener("click", ({ target }) => target === find("about") && find("about").close());
addEventListener("keydown", (event) => event.key === "Escape" && highlight(null));
loadModel();
