/** The page put together: the photos, the stage and the panels beside it, the downloads and the requests to the server. */

import { BrowserEngine } from "./browser.js";
import { HttpEngine } from "./engine.js";
import { garmentColours, hexOf } from "./colours.js";
import { boxOfPieces, canvasOf, frameOf, grown } from "./compose.js";
import { Correction } from "./correct.js";
import { reachOf } from "./cutouts.js";
import { Downloads } from "./downloads.js";
import { resampleIds } from "./layers.js";
import { listenForLooks, lookOf, showSnippets } from "./look.js";
import { correctedResults, EditableMask } from "./mask.js";
import { capital, classesOf, counted, fileSize, fillAbout, GarmentList, guessOf, percent, showGallery, Strip } from "./panels.js";
import { bitmapOf, listenForPhotos, Photos } from "./photos.js";
import { Stage } from "./stage.js";
import { inWorker } from "./tasks.js";

const find = (id) => document.getElementById(id);
let wasClicked = false; // the dialog for files may be open
addEventListener("click", () => (wasClicked = true));
const isInUse = () => wasClicked || photos.all.length > 0;
const engine = document.documentElement.dataset.engine === "browser" ? new BrowserEngine(showLoading, isInUse) : new HttpEngine();
/** The photo on the stage. @type {import("./photos.js").Photo | null} */
let current = null;
/** Its pixels, while they are decoded. @type {Promise<ImageBitmap | null>} */
let decoded = Promise.resolve(null);
/** Its pixels; null where the browser cannot show it. @type {ImageBitmap | null} */
let bitmap = null;
/** The photo whose garments the list shows. */
let listed = null;
/** Whether the results get the focus when they come. */
let isAwaited = false;
/** Number of calls of `show`: a photo that is decoded slowly must not replace a later one. */
let numShown = 0;
/** The model's classes in the order of their ids. @type {{name: string, display_name: string, color: number[]}[]} */
let classes = [];
/** Names of colours, each with an example in RGB. */
let colourNames = {};
/** Longer side of its input in pixels. */
let networkSize = 512;
/** @type {"cutout" | "overlay" | "compare" | "correct"} */
let tab = "overlay";

const photos = new Photos(engine, { change: photoChanged, keyNeeded: askForKey });
const strip = new Strip(find("strip"), { choose: (id) => show(photos.all.find((one) => one.id === id)), remove });
const stage = new Stage(find("stage"), { point, zoom: (zoom) => (find("zoom").textContent = percent(zoom)), tool: () => correction.tool });
const correction = new Correction(find("correct"), stage, { change: settle, say: announce });
const downloads = new Downloads(engine, photos, { options: () => ({ ...lookOf(), classes, networkSize, opacity: stage.opacity }), say: announce });
const list = new GarmentList(find("garments"), { highlight, toggle, recolour, copy: (hex, name) => downloads.copyText(hex, `${hex}, ${name},`), download: (id) => download({ cutout: segmentOf(id) }) });

const segmentOf = (id) => current.results.segments.find((one) => one.class_id === id);
const shareOf = ({ area }) => area / (current.results.width * current.results.height);
const nameOf = ({ class_id: id }) => classes[id].display_name;

function announce(words) {
  find("status").textContent = words;
}

function addPhotos(files) {
  showNotice();
  const [first] = photos.add(files);
  show(first);
}

/** Show words, or hide the element where there are none. */
function showWords(id, words) {
  find(id).textContent = words || "";
  find(id).hidden = !words;
}

const showNotice = (words) => showWords("notice", words);

function showProblem(problem) {
  if (problem.needsKey) askForKey(problem);
  else showNotice(`${problem.title}. ${problem.message}`);
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
    correction.start(null);
    stage.reset();
    find("results").hidden = true;
  }
  bitmap = null;
  const pixels = await decoded;
  if (number !== numShown) return;
  // Otherwise browser and server orient the photo in different ways, and the classes would not fit the garments.
  const isSame = !photo.results || (pixels?.width === photo.results.width && pixels.height === photo.results.height);
  bitmap = isSame ? pixels : null;
  find("photo").setAttribute("aria-label", `The photo ${photo.name}`);
  find("stage").hidden = !(bitmap || photo.results);
  if (bitmap || photo.results) await stage.showPhoto(bitmap, photo.results ?? bitmap);
  if (number !== numShown) return;
  highlight(null);
  if (photo.results) await showResults(photo, number);
  showPanel();
  if (photo.results && isAwaited && number === numShown) {
    isAwaited = false;
    find("file-name").focus();
  }
}

async function showResults(photo, number) {
  const ids = photo.edit?.ids ?? (await inWorker("ids", photo.results));
  if (number !== numShown) return;
  stage.hidden = photo.hidden;
  stage.showClasses(ids, classes.map((one) => one.color));
  photo.seen = true;
  photo.colours ??= coloursOf();
  showGarments(photo);
  showTab(bitmap ? tab : "overlay");
}

function showGarments(photo) {
  listed = photo;
  const garments = photo.results.segments.map((segment) => ({
    id: segment.class_id,
    name: nameOf(segment),
    color: hexOf(classes[segment.class_id].color),
    share: shareOf(segment),
    guess: guessOf(segment),
    colours: photo.colours.get(segment.class_id)?.colours ?? [],
    tint: photo.tints.has(segment.class_id) ? hexOf(photo.tints.get(segment.class_id).color) : undefined,
  }));
  list.show(garments.sort((one, other) => other.share - one.share), photo.hidden);
  updateAllButton();
}

/** The main colours and the brightness of each garment, from the photo in half the size of the screen. */
function coloursOf() {
  if (!stage.small) return new Map();
  const [canvas, context] = canvasOf(stage.small.width / 2, stage.small.height / 2);
  const { width, height } = canvas;
  context.drawImage(stage.small, 0, 0, width, height);
  const ids = resampleIds(stage.mask, stage.size.width, { x: 0, y: 0, ...stage.size }, width, height);
  return garmentColours(context.getImageData(0, 0, width, height), ids, colourNames);
}

/** Show a view of the photo. @param {"cutout" | "overlay" | "compare" | "correct"} name */
function showTab(name) {
  for (const button of find("tabs").children) {
    const isChosen = button.dataset.tab === name;
    button.setAttribute("aria-selected", String(isChosen));
    button.tabIndex = isChosen ? 0 : -1;
    button.disabled = !bitmap && button.dataset.tab !== "overlay";
  }
  for (const section of find("results").querySelectorAll("[data-for]")) section.hidden = !section.dataset.for.split(" ").includes(name);
  if (name === "cutout") stage.layer = "cutout";
  else if (name !== "compare") stage.layer = "colours";
  stage.compare(name === "compare");
  const { segments, width, height } = current.results;
  const shown = segments.filter((one) => !current.hidden.has(one.class_id));
  const look = { ...lookOf(), pixel: Math.max(width, height) / networkSize, tints: current.tints };
  const whole = { x: 0, y: 0, width, height };
  const box = name === "cutout" && look.canvas !== "photo" && shown.length ? boxOfPieces(shown) : null;
  stage.look = { ...look, within: box ? grown(box, reachOf(look)) : whole };
  stage.setFrame(box ? frameOf(box, look, whole).frame : whole);
  if (name === "correct") current.edit ??= new EditableMask(stage.mask, width, height);
  correction.start(name === "correct" ? current.edit : null);
  stage.redraw();
  find("panel-hint").textContent = hintOf(current);
}

/** Make a corrected mask part of its photo's results; later corrections replace earlier ones. @param {EditableMask} mask */
function settle(mask) {
  const photo = photos.all.find((one) => one.edit === mask);
  if (!photo) return; // it was removed with the brush down
  const settling = (async () => {
    await new Promise((resolve) => setTimeout(resolve, 120)); // several steps in quick succession are one
    if (photo.settling !== settling) return photo.settling;
    const { ids, width, height } = photo.edit;
    const segments = await inWorker("segments", { ids, width, height });
    if (photo.settling !== settling) return photo.settling;
    photo.results = correctedResults(photo.original, segments, classes);
    if (photo !== current) return;
    photo.colours = coloursOf();
    showGarments(photo);
    showPanel();
  })();
  photo.settling = settling;
}

/** Show the current photo's state everywhere but on the canvases. */
function showPanel() {
  strip.show(photos.all, current.id);
  const { results, problem, state, wait, seconds, place, file, name, credit, sent } = current;
  find("scan").hidden = state !== "working" || wait > 0;
  find("stage").classList.toggle("busy", state === "working" || state === "waiting");
  find("file-name").textContent = name;
  const size = results ? `${results.width} × ${results.height} pixels, ` : "";
  const made = results?.corrected ? ", corrected by hand" : seconds ? `, took ${seconds.toFixed(1)} s${place ? ` on the ${place}` : ""}` : "";
  find("file-facts").textContent = `${size}${fileSize(file.size)}${made}`;
  find("sending").hidden = state !== "working" || !(sent < 1);
  find("sending").value = sent ?? 0;
  showWords("credit", credit);
  showWords("notes", results?.notes?.map((note) => `${capital(note)}.`).join(" "));
  const isEmpty = results && !results.segments.length;
  find("results").hidden = !results || (isEmpty && tab !== "correct") || listed !== current;
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

function hintOf({ state, results, problem, sent }) {
  if (state === "waiting") return problem ? "Waiting for an API key." : "Waiting in the queue.";
  if (state === "working") return sent < 1 ? `${engine.sending}, ${percent(sent)}` : "Segmenting…";
  if (state === "failed" || !results.segments.length) return "Choose another photo below, or add one.";
  if (!bitmap) return "This browser cannot show this kind of photo, so its classes are shown on grey. Downloads are made from the photo itself.";
  const isTouch = matchMedia("(hover: none)").matches;
  if (tab === "correct") return isTouch ? "" : "On the photo: arrow keys move, Space selects or lowers the brush; V, B and E choose the tool, [ and ] its size.";
  const next = tab === "compare" ? "Drag the round handle to compare with the photo." : isTouch ? "Pinch to zoom." : "The wheel, + and − zoom.";
  return `${isTouch ? "Tap" : "Point at"} a garment to highlight it. ${next}`;
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
  const parts = segments.map((one) => `${nameOf(one)} ${percent(one.area / (width * height))}`);
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
    correction.start(null);
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

/** @param {number | null} id class under the pointer */
function point(id, event) {
  if (tab === "correct" && correction.mask) return;
  highlight(id);
  const segment = id !== null && segmentOf(id);
  if (segment) stage.showTip(id, event, capital(nameOf(segment)), `${percent(shareOf(segment))} of the photo, ${guessOf(segment).words}`);
}

/** @param {number | null} id class to highlight */
function highlight(id) {
  find("tip").hidden = true;
  list.highlight(id);
  if (stage.highlighted === id) return;
  stage.highlighted = id;
  stage.update();
}

function toggle(id) {
  if (!current.hidden.delete(id)) current.hidden.add(id);
  classesSwitched();
}

function classesSwitched() {
  list.mark(current.hidden);
  updateAllButton();
  if (tab === "cutout") showTab(tab); // another frame
  else stage.update();
}

function updateAllButton() {
  find("all").textContent = current.hidden.size ? "Show all" : "Hide all";
}

/** Show a garment in another colour; its own main colour undoes it. */
function recolour(id, hex) {
  const { colours, brightness } = current.colours.get(id);
  if (hex === colours[0].hex) current.tints.delete(id);
  else current.tints.set(id, { color: [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)), brightness });
  chooseTab("cutout");
}

const download = (what) => downloads.download(current, what);

function askForKey(problem) {
  find("key-form").hidden = false;
  if (problem.kind === "key-wrong") find("key-words").textContent = "The server does not know this key. Check it, or ask its operator for another.";
  find("key").focus();
}

/** Load the description of the model; photos are sent when the classes and their colours are known. */
async function loadModel(isAgain = false) {
  try {
    const card = await engine.model();
    ({ classes, image_size: networkSize, color_names: colourNames } = card);
    fillAbout(find("about"), card);
    photos.bodyParts = classes.filter((one) => one.is_body_part).map((one) => one.id);
    const { known, unknown } = classesOf(card);
    correction.setClasses(known.map((one) => ({ id: one.id, name: one.display_name, color: hexOf(one.color) })));
    showWords("never", unknown.length && `This model never finds ${unknown.map((one) => one.display_name).join(", ")}: its training data did not show any.`);
    find("about-name").textContent = `Model: ${card.name.replace(/\.(onnx|ckpt)$/, "")}`;
    find("about-dot").classList.add("alive");
    if (isAgain) showNotice(); // only what the tries before have shown
    photos.unlock();
  } catch (error) {
    showProblem(error);
    if (!error.needsKey) setTimeout(loadModel, 1000 * Math.max(2, error.retryAfter ?? 0), true);
  }
}

/** @param {number} part of a static site's model that is loaded, 0 to 1 */
function showLoading(part) {
  find("loading").textContent = part < 1 ? `Loading the model, ${percent(part)}` : `The model is loaded.${navigator.serviceWorker?.controller ? " This page also works offline." : ""}`;
}

async function openSample({ path, credit }) {
  try {
    const file = await engine.sample(path);
    isAwaited = true;
    addPhotos([Object.assign(file, { credit })]);
  } catch (error) {
    showProblem(error);
  }
}

function chooseTab(name) {
  tab = name;
  showTab(name);
  if (listed) showGarments(listed);
}

function listen() {
  listenForPhotos(addPhotos, showNotice);
  showGallery(find("gallery"), openSample);
  find("host").textContent = location.host || "this server";
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
  find("tabs").addEventListener("click", ({ target }) => target.dataset.tab && chooseTab(target.dataset.tab));
  find("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const names = [...find("tabs").children].filter((one) => !one.disabled);
    const next = step && names[(names.indexOf(event.target) + step + names.length) % names.length];
    next?.focus();
    next?.click();
  });
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => stage.view.zoomTo(Number(button.dataset.zoom) && stage.view.zoom * Number(button.dataset.zoom)));
  }
  listenForLooks(() => showTab(tab), showNotice);
  find("again").addEventListener("click", () => photos.retry(current));
  find("downloads").addEventListener("click", ({ target }) => {
    const button = target.closest("[data-download]");
    if (button) download(button.dataset.download);
  });
  find("copy").addEventListener("click", () => downloads.copyClothes(current));
  find("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    engine.key = find("key").value.trim();
    find("key").value = "";
    find("key-form").hidden = true;
    loadModel();
  });
  find("about-open").addEventListener("click", () => find("about").showModal());
  find("api-open").addEventListener("click", () => showSnippets(find("api"), lookOf(), tab));
  find("snippet-copy").addEventListener("click", () => downloads.copyText(find("snippet").textContent, "The call"));
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", ({ target }) => (target === dialog || target.closest("[data-close]")) && dialog.close());
  }
  addEventListener("keydown", (event) => event.key === "Escape" && highlight(null));
}

listen();
loadModel();
