/** The worker: decodes and encodes masks, draws the files of a download at the photo's own size, and runs the network of a static site. */

import { cutOut } from "./cutouts.js";
import { archiveOf, fileOf } from "./files.js";
import { classIds, segmentsOf } from "./rle.js";

const TASKS = {
  ids: (results) => {
    const ids = classIds(results);
    return [ids, [ids.buffer]];
  },
  segments: ({ ids, width, height }) => [segmentsOf(ids, width, height)],
  clothes: ({ picture, ids, wanted, look }) => {
    const { clothes } = cutOut(picture, ids, wanted, { x: 0, y: 0, width: picture.width, height: picture.height }, look);
    const bitmap = clothes.transferToImageBitmap();
    return [bitmap, [bitmap]];
  },
  file: async ({ photo, options, what }) => [await fileOf(photo, options, what)],
  load: async (input, tell) => [await (await import("./network.js")).load(input, tell)],
  segment: async (input) => [await (await import("./network.js")).segment(input)],
  archive: async ({ photos, options }, tell) => [await archiveOf(photos, options, tell)],
};

addEventListener("message", async ({ data: { number, name, input } }) => {
  try {
    const [result, transfer] = await TASKS[name](input, (progress) => postMessage({ number, progress }));
    postMessage({ number, result }, transfer ?? []);
  } catch (error) {
    postMessage({ number, error: String(error.message ?? error) });
  }
});
