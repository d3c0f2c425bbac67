/** Files for labelling tools, as `clothseg predict --formats coco label-studio` writes them; corrected masks say so. */

import { hexOf } from "./colours.js";
import { classIds } from "./rle.js";

/**
 * @param {object[]} all results, version 1; `corrected` where masks were corrected by hand
 * @param {{name: string, color: number[]}[]} classes in the order of their ids
 * @returns {{name: string, blob: Blob}[]}
 */
export function labellingFiles(all, classes) {
  return Object.entries({
    "coco_images.json": JSON.stringify(cocoImages(all, classes)),
    "coco_results.json": JSON.stringify(cocoResults(all)),
    "label_studio_tasks.json": JSON.stringify(all.map(task)),
    "label_studio_interface.xml": labelInterface(classes),
  }).map(([name, text]) => ({ name, blob: new Blob([text, "\n"], { type: name.endsWith("xml") ? "text/xml" : "application/json" }) }));
}

/** Source: cocodataset.org, "Results Format", instance segmentation. */
function cocoImages(all, classes) {
  return {
    info: { description: "Clothes found by clothseg" },
    licenses: [],
    images: all.map(({ file, width, height, corrected }, place) => ({ id: place + 1, file_name: file, width, height, ...(corrected && { corrected }) })),
    categories: classes.slice(1).map(({ name }, place) => ({ id: place + 1, name, supercategory: "clothing" })),
    annotations: [],
  };
}

function cocoResults(all) {
  return all.flatMap(({ segments }, place) =>
    segments.map(({ class_id, rle, score, corrected }) => ({ image_id: place + 1, category_id: class_id, segmentation: rle, score, ...(corrected && { corrected }) })),
  );
}

/** One photo of Label Studio. Source: labelstud.io/guide/predictions. */
function task(results) {
  const scores = results.segments.map(({ score }) => score);
  const version = `${results.model.name ?? "clothseg"} ${(results.model.sha256 ?? "").slice(0, 12)}`.trim();
  const file = results.file.split("/").map((part) => encodeURIComponent(part).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`));
  return {
    data: { image: `/data/local-files/?d=${file.join("/")}` },
    predictions: [
      {
        model_version: results.corrected ? `${version}, corrected by hand` : version,
        score: scores.length ? Math.round((1e4 * scores.reduce((sum, one) => sum + one)) / scores.length) / 1e4 : 0,
        result: results.segments.map((segment) => stroke(results, segment)),
      },
    ],
  };
}

function stroke(results, segment) {
  const inside = classIds({ ...results, segments: [segment] });
  return {
    id: `clothseg-${segment.class_id}`,
    type: "brushlabels",
    from_name: "clothes",
    to_name: "image",
    original_width: results.width,
    original_height: results.height,
    image_rotation: 0,
    score: segment.score,
    value: { format: "rle", rle: packStroke(inside), brushlabels: [segment.label] },
  };
}

/** Bits of a run's length. Source: rle-pack of thi.ng/umbrella, whose packing Label Studio uses. */
const LENGTH_BITS = [3, 4, 8, 16];

/** @param {Uint8Array} inside not 0 where the stroke is @returns {number[]} bytes; see `pack` in prediction/label_studio.py */
function packStroke(inside) {
  const bytes = [];
  let [current, free] = [0, 8];
  const write = (value, bits) => {
    for (let left = bits; left > 0; ) {
      const count = Math.min(left, free);
      left -= count;
      free -= count;
      current |= (Math.floor(value / 2 ** left) % 2 ** count) << free;
      if (free === 0) {
        bytes.push(current);
        [current, free] = [0, 8];
      }
    }
  };
  write(4 * inside.length, 32);
  write(7, 5);
  for (const bits of LENGTH_BITS) write(bits - 1, 4);
  for (let start = 0, end = 0; start < inside.length; start = end) {
    const isInside = inside[start] > 0;
    while (end < inside.length && inside[end] > 0 === isInside) end++;
    for (let left = 4 * (end - start); left > 0; ) {
      const length = Math.min(left, 2 ** 16);
      const kind = LENGTH_BITS.findIndex((bits) => length <= 2 ** bits);
      write(4 | kind, 3);
      write(length - 1, LENGTH_BITS[kind]);
      write(isInside ? 255 : 0, 8);
      left -= length;
    }
  }
  if (free < 8) bytes.push(current);
  return bytes;
}

/** Source: labelstud.io/tags/brushlabels. */
function labelInterface(classes) {
  const quoted = (text) => `"${text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")}"`;
  const labels = classes.slice(1).map(({ name, color }) => `    <Label value=${quoted(name)} background="${hexOf(color)}"/>\n`);
  return `<View>\n  <Image name="image" value="$image" zoom="true"/>\n  <BrushLabels name="clothes" toName="image">\n${labels.join("")}  </BrushLabels>\n</View>`;
}
