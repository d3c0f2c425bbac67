/** Clothes on a background: what remains of a photo, recoloured, on a canvas of the chosen size; for the screen and files alike. */

import { piecesOf } from "./rle.js";

/**
 * @typedef {{x: number, y: number, width: number, height: number}} Box in pixels of the photo
 * @typedef {{kind: "none" | "photo" | "blur"} | {kind: "color", color: string} | {kind: "picture", picture: ImageBitmap}} Background
 * @typedef {{color: number[], brightness: number}} Tint the new colour of a garment, and the mean brightness of the old
 */

/** @param {number} width @param {number} height @returns {[OffscreenCanvas, OffscreenCanvasRenderingContext2D]} */
export function canvasOf(width, height) {
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width)), Math.max(1, Math.round(height)));
  const context = canvas.getContext("2d");
  if (!context) throw new Error("too large");
  context.imageSmoothingQuality = "high";
  return [canvas, context];
}

/** @param {{bbox: number[]}[]} segments @returns {Box} around them all */
export function boxAround(segments) {
  const [x, y] = [0, 1].map((axis) => Math.min(...segments.map(({ bbox }) => bbox[axis])));
  const [right, bottom] = [0, 1].map((axis) => Math.max(...segments.map(({ bbox }) => bbox[axis] + bbox[axis + 2])));
  return { x, y, width: right - x, height: bottom - y };
}

/** @param {object[]} segments @returns {Box} around them but for their specks, pieces with less than a hundredth of the area; see prediction/cutouts.py */
export function boxOfPieces(segments) {
  const area = segments.reduce((sum, one) => sum + one.area, 0);
  const large = piecesOf(segments).filter((one) => one.area >= area / 100);
  return boxAround(large.length ? large : segments);
}

/** @param {Box} box @param {number} edge @returns {Box} wider by `edge` on each side */
export const grown = ({ x, y, width, height }, edge) => ({ x: x - edge, y: y - edge, width: width + 2 * edge, height: height + 2 * edge });

/**
 * Choose what a cut-out shows.
 * @param {Box} box around the clothes
 * @param {{canvas: string, margin: number}} options canvas is "photo", "crop" or a size as "2000x2000"; margin is a part of the shorter side, 0 to 0.4
 * @param {{width: number, height: number}} photo
 * @returns {{frame: Box, width: number, height: number}} the frame may reach beyond the photo; the size is in pixels of the result
 */
export function frameOf(box, { canvas, margin }, photo) {
  if (canvas === "photo") return { frame: { x: 0, y: 0, width: photo.width, height: photo.height }, width: photo.width, height: photo.height };
  if (canvas === "crop") {
    const frame = grown(box, Math.round(margin * Math.max(box.width, box.height)));
    return { frame, width: frame.width, height: frame.height };
  }
  const [width, height] = canvas.split("x").map(Number);
  const space = 2 * margin * Math.min(width, height);
  const scale = Math.min((width - space) / box.width, (height - space) / box.height);
  const frame = { width: width / scale, height: height / scale };
  return { frame: { x: box.x + (box.width - frame.width) / 2, y: box.y + (box.height - frame.height) / 2, ...frame }, width, height };
}

/** @param {number} red @param {number} green @param {number} blue @returns {number} luma, 0 to 255. Source: ITU-R BT.601. */
export const brightnessOf = (red, green, blue) => 0.299 * red + 0.587 * green + 0.114 * blue;

/** Give garments other colours; light and shadow stay: each pixel differs from the new colour as its brightness did from the mean. */
export function recolour(context, ids, tints) {
  const { width, height } = context.canvas;
  const image = context.getImageData(0, 0, width, height);
  const { data } = image;
  const byId = Array.from({ length: 256 }, (_, id) => tints.get(id));
  for (let at = 0; at < ids.length; at++) {
    const tint = byId[ids[at]];
    if (!tint) continue;
    const shade = brightnessOf(data[4 * at], data[4 * at + 1], data[4 * at + 2]) - tint.brightness;
    for (let channel = 0; channel < 3; channel++) data[4 * at + channel] = tint.color[channel] + shade;
  }
  context.putImageData(image, 0, 0);
}

/**
 * Draw a cut-out on its background.
 * @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context
 * @param {object} parts
 * @param {OffscreenCanvas} parts.cutout
 * @param {Box} parts.cutoutBox what the cut-out shows of the photo
 * @param {Box} parts.within the part of it that is drawn
 * @param {Box} parts.shown what the canvas shows
 * @param {Box} parts.frame what the background fills
 * @param {Background} parts.background
 * @param {CanvasImageSource} parts.photo the whole photo, in any size
 * @param {{width: number, height: number}} parts.size the photo's own
 */
export function compose(context, { cutout, cutoutBox, within, shown, frame, background, photo, size }) {
  const { width, height } = context.canvas;
  const [across, down] = [width / shown.width, height / shown.height];
  const placeOf = (box) => [(box.x - shown.x) * across, (box.y - shown.y) * down, box.width * across, box.height * down];
  const whole = { x: 0, y: 0, ...size };
  context.clearRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  if (background.kind === "color") {
    context.fillStyle = background.color;
    context.fillRect(0, 0, width, height);
  } else if (background.kind === "picture") cover(context, background.picture, placeOf(frame));
  else if (background.kind === "blur") {
    const soft = blurred(photo, size);
    cover(context, soft, placeOf(frame));
    context.drawImage(soft, ...placeOf(whole));
  } else if (background.kind === "photo") context.drawImage(photo, ...placeOf(whole));
  context.save();
  context.beginPath();
  context.rect(...placeOf(within));
  context.clip();
  context.drawImage(cutout, ...placeOf(cutoutBox));
  context.restore();
}

/** Draw a picture so that it fills a place, its middle in the middle. */
function cover(context, picture, [x, y, width, height]) {
  const scale = Math.max(width / picture.width, height / picture.height);
  const [w, h] = [picture.width * scale, picture.height * scale];
  context.drawImage(picture, x + (width - w) / 2, y + (height - h) / 2, w, h);
}

/** Longer side, in pixels, that a photo is reduced to for a blurred background. */
const BLURRED_SIDE = 24;

/** Blur by reducing and enlarging in steps of two: a filter that every browser has. */
function blurred(photo, { width, height }) {
  let scale = 512 / Math.max(width, height);
  const scaled = (picture, factor) => {
    scale *= factor;
    const [canvas, context] = canvasOf(width * scale, height * scale);
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    return canvas;
  };
  let picture = scaled(photo, 1);
  while (scale * Math.max(width, height) > BLURRED_SIDE) picture = scaled(picture, 0.5);
  while (scale * Math.max(width, height) < 400) picture = scaled(picture, 2);
  return picture;
}
