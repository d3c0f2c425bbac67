/** The page put together: photos come in, the stage and the list show one of them, the server is asked. */

import { classesOf, fillAbout } from "./about.js";
import { Api } from "./api.js";
import { garmentColours, hexOf } from "./colours.js";
import { GarmentList } from "./panels.js";
import { listenForPhotos } from "./inputs.js";
import { make, save } from "./download.js";
import { bitmapOf, Photos } from "./photos.js";
import { Strip } from "./strip.js";
import { Stage } from "./stage.js";
import { capital, counted, fileSize, percent, stemOf } from "./words.js";
import { zipOf } from "./zip.js";

const find = (id) => document.getElementById(id);
const api = new Api();
/** The photo that is looked at. @type {import("./photos.js").Photo | null} */
let current = null;
/** Its pixels, being decoded. @type {Promise<ImageBitmap | null>} */
let decoded = Promise.resolve(null);
/** Its pixels; null where the browser cannot show it. @type {ImageBitmap | null} */
let bitmap = null;
/** The photo whose garments the list shows. */
let listed = null;
let isKeeping = false;
/** Counts what was asked to be shown, so that a slow photo never replaces a later one. */
let turn = 0;
/** RGB of every class id. @type {number[][]} */
let colors = [];

const photos = new Photos(api, { change: photoChanged, locked: askForKey });
const strip = new Strip(find("strip"), { choose: (id) => look(photos.all.find((one) => one.id === id)), remove });
const stage = new Stage(find("stage"), (id, event) => {
  light(id);
  placeTip(id, event);
});
const list = new GarmentList(find("garments"), { light, toggle, keep: (id) => keep({ cutout: segmentOf(id) }) });

const segmentOf = (id) => current.results.segments.find((one) => one.class_id === id);
const shareOf = ({ area }) => area / (current.results.width * current.results.height);
const say = (words) => (find("status").textContent = words);

function take(files) {
  find("notice").hidden = true;
  const [first] = photos.add(files);
  look(first);
}

function complain(words) {
  find("notice").textContent = words;
  find("notice").hidden = false;
}

/** Show a photo on the stage, in whatever state it is. @param {import("./photos.js").Photo} photo */
async function look(photo) {
  const mine = ++turn;
  const isNew = photo !== current;
  current = photo;
  find("welcome").hidden = true;
  find("work").hidden = false;
  showPanel();
  if (isNew) {
    decoded.then((old) => old?.close());
    decoded = bitmapOf(photo.file);
    stage.forget();
    find("results").hidden = true;
  }
  bitmap = null;
  const pixels = await decoded;
  if (mine !== turn) return;
  bitmap = isAlike(pixels, photo.results) ? pixels : null;
  find("photo").setAttribute("aria-label", `The photo ${photo.name}`);
  find("stage").hidden = !(bitmap || photo.results);
  if (bitmap || photo.results) stage.showPhoto(bitmap, photo.results ?? bitmap);
  light(null);
  if (photo.results) showResults(photo);
  showPanel();
}

/** A browser that turns a photo otherwise than the server would lay the classes beside the garments. */
function isAlike(pixels, results) {
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
  markAll();
}

/** The garments' own colours, of the picture on the screen. */
function coloursOf() {
  const { width, height } = stage.photo;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(stage.photo, 0, 0);
  return garmentColours(pen.getImageData(0, 0, width, height).data, stage.ids);
}

/** Bring all but the canvases to the current photo's state. */
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
    find("message-words").textContent = wait ? `It is asked again in ${wait} s.` : problem.message;
  } else if (isEmpty) {
    find("message-title").textContent = "No garments found";
    find("message-words").textContent = "Try a photo in which a person is larger, upright and well lit.";
  }
}

function hintOf({ state, results, problem }) {
  if (state === "waiting") return problem ? "Waiting for a key." : "Waiting for its turn.";
  if (state === "working") return "Segmenting…";
  if (state === "failed" || !results.segments.length) return "Choose another photo below, or add one.";
  if (!bitmap) return "This browser cannot show this kind of photo, so its classes lie on grey. Everything you keep is made from the photo itself.";
  const pointing = matchMedia("(hover: none)").matches ? "Tap" : "Point at";
  return `${pointing} a garment to light it up. Drag the round handle to compare with the photo.`;
}

function photoChanged(photo) {
  if (photo.state === "done") say(spoken(photo));
  else if (photo.state === "failed") say(`${photo.name}: ${photo.problem.title}. ${photo.problem.message}`);
  else if (photo.state === "working" && !photo.wait && !photo.thumbnail) say(`${photo.name} is being segmented.`);
  if (photo === current && photo.state === "done" && !photo.seen) look(photo);
  else if (current) showPanel();
}

function spoken({ name, results }) {
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
    turn++;
    decoded.then((old) => old?.close());
    decoded = Promise.resolve(null);
    current = bitmap = null;
    find("work").hidden = true;
    find("welcome").hidden = false;
    document.querySelector(".welcome [data-choose]").focus();
    return;
  }
  if (current.id === id) look(next);
  else showPanel();
  strip.focus(next.id);
}

/** @param {number | null} id class to light up */
function light(id) {
  find("tip").hidden = true;
  list.light(id);
  if (stage.lit === id) return;
  stage.lit = id;
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
  markAll();
  stage.update();
}

function markAll() {
  find("all").textContent = current.hidden.size ? "Show all" : "Hide all";
}

async function keep(what) {
  if (isKeeping) return;
  isKeeping = true;
  const buttons = find("results").querySelectorAll("[data-keep], .garment .icon");
  const photo = current;
  find("keep-trouble").hidden = true;
  for (const button of buttons) button.setAttribute("aria-disabled", "true");
  // A picture of its own: another photo may be looked at meanwhile.
  const pixels = bitmap && (await bitmapOf(photo.file));
  try {
    const how = { api, bitmap: pixels, tight: find("tight").checked, opacity: stage.opacity, colors };
    const made = what === "cutouts" ? await allCutouts(photo, how) : await make(photo, how, what);
    save(made.blob, made.name);
    say(`${made.name} is downloaded.`);
  } catch (error) {
    find("keep-trouble").textContent = error.title ? `${error.title}. ${error.message}` : "This browser has no room to draw a photo of this size. The mask and the results can still be kept.";
    find("keep-trouble").hidden = false;
  }
  pixels?.close();
  isKeeping = false;
  for (const button of buttons) button.removeAttribute("aria-disabled");
}

async function allCutouts(photo, how) {
  const files = [];
  for (const cutout of photo.results.segments) files.push(await make(photo, how, { cutout }));
  return { blob: await zipOf(files), name: `${stemOf(photo.file.name)}_cutouts.zip` };
}

function askForKey(problem) {
  find("key-form").hidden = false;
  if (problem.kind === "key-wrong") find("key-words").textContent = "The server does not know this key. Check it, or ask its operator for another.";
  find("key").focus();
}

/** Learn the classes and their colours; everything else waits for them. */
async function meet() {
  try {
    const card = await api.model();
    colors = card.classes.map((one) => one.color);
    fillAbout(find("about"), card);
    const never = classesOf(card).unknown.map((one) => one.name);
    find("never").textContent = `This model never finds ${never.join(", ")}: it was not shown any.`;
    find("never").hidden = !never.length;
    find("about-name").textContent = `Model: ${card.name.replace(/\.(onnx|ckpt)$/, "")}`;
    find("about-dot").classList.add("alive");
    find("notice").hidden = true;
    photos.unlock();
  } catch (error) {
    if (["key-missing", "key-wrong"].includes(error.kind)) return askForKey(error);
    complain(`${error.title}. ${error.message}`);
    setTimeout(meet, 1000 * Math.max(2, error.retryAfter ?? 0));
  }
}

listenForPhotos(take, complain);
find("host").textContent = location.host || "this server";
find("sample").addEventListener("click", async () => {
  find("sample").disabled = true;
  try {
    take([await api.sample()]);
  } catch (error) {
    if (["key-missing", "key-wrong"].includes(error.kind)) askForKey(error);
    else complain(`${error.title}. ${error.message}`);
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
find("again").addEventListener("click", () => photos.again(current));
find("downloads").addEventListener("click", ({ target }) => {
  const button = target.closest("[data-keep]");
  if (button) keep(button.dataset.keep);
});
find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.key = find("key").value.trim();
  find("key").value = "";
  find("key-form").hidden = true;
  meet();
});
find("about-open").addEventListener("click", () => find("about").showModal());
find("about-close").addEventListener("click", () => find("about").close());
find("about").addEventListener("click", ({ target }) => target === find("about") && find("about").close());
addEventListener("keydown", (event) => event.key === "Escape" && light(null));
meet();
