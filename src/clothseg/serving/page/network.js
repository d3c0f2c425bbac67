/** The network of a static site, in a worker: onnxruntime-web loads the model, and a photo becomes class ids, scores and an index PNG. */

import { maskPng } from "./encoding.js";
import { segmentsOf } from "./rle.js";
import { classMask, letterbox, networkInput, planesOf, scoresOf, sureness } from "./transforms.js";

/** More threads than this gain next to nothing. */
const MAX_THREADS = 8;
/** Share of the processor's logits by which a graphics card's may differ on average; those of an emulated one differ by 2e-6. */
const MAX_DIFFERENCE = 0.01;
/** onnxruntime-web, its session, and the model's description. @type {{ort: object, session: object, card: object}} */
let network;

/** Load onnxruntime-web and the model. @param {{kind: "wasm" | "webgpu"}} input what computes: processor or graphics card */
export async function load({ card, base, kind }, tell) {
  const { model, [kind]: runtime } = card.browser;
  const total = model.bytes + runtime.bytes;
  let done = 0;
  const get = (file) => bytesOf(file, base, (bytes) => tell({ done: (done += bytes), total }));
  const [ort, wasm, onnx] = await Promise.all([import(new URL(runtime.script, base)), get(runtime), get(model)]);
  Object.assign(ort.env.wasm, { wasmBinary: wasm, numThreads: crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MAX_THREADS) : 1 });
  const create = (provider) => ort.InferenceSession.create(new Uint8Array(onnx), { executionProviders: [provider], logSeverityLevel: 3 });
  network = { ort, card, session: await create(kind) };
  if (kind === "webgpu") await check(await create("wasm"));
}

/** Refuse a graphics card that gives other logits than the processor, as faulty drivers do. */
async function check(processor) {
  const [width, height] = [64, 64];
  const image = Uint8Array.from({ length: 3 * width * height }, (_, at) => (7 * at) % 256);
  const { data: right } = await run(processor, image, width, height);
  const { data: found } = await run(network.session, image, width, height);
  const sum = (size) => right.reduce((total, value, at) => total + Math.abs(size(value, at)), 0);
  if (!(sum((value, at) => value - found[at]) <= MAX_DIFFERENCE * sum((value) => value))) throw new Error("The graphics card gives other results.");
  await processor.release();
}

/** @returns {Promise<{data: Float32Array, dims: number[]}>} logits of an image */
async function run(session, image, width, height) {
  const { output } = network.card.browser;
  const { [output]: logits } = await session.run({ image: new network.ort.Tensor("uint8", image, [1, height, width, 3]) }, [output]);
  return logits;
}

/** @returns {Promise<ArrayBuffer>} a file of the site, unpacked; `receive` gets the number of bytes of each part */
async function bytesOf({ path, packed }, base, receive) {
  const answer = await fetch(new URL(path, base));
  if (!answer.ok) throw new Error(`${path} is missing from the site (${answer.status}).`);
  const counting = new TransformStream({ transform: (part, stream) => (receive(part.length), stream.enqueue(part)) });
  const stream = answer.body.pipeThrough(counting);
  return new Response(packed ? stream.pipeThrough(new DecompressionStream("gzip")) : stream).arrayBuffer();
}

/**
 * @param {{bitmap: ImageBitmap, file: string}} input the photo, upright, and its name
 * @returns {Promise<{results: object, mask: Blob, seconds: number}>} as the server's: see `HttpEngine.segment`
 */
export async function segment({ bitmap, file }) {
  const start = performance.now();
  const { card, session } = network;
  const { identity, ids, fill, usual_score: usual, unsure } = card.browser;
  const { width, height } = bitmap;
  const box = letterbox(width, height, card.image_size);
  const logits = await run(session, networkInput(pixelsOf(bitmap), box, fill), box.inputWidth, box.inputHeight);
  const planes = planesOf(logits, box, ids);
  const mask = classMask(planes, width, height);
  const scores = scoresOf(planes, mask, width, height);
  const segments = segmentsOf(mask, width, height).map(({ class_id: id, ...rest }) => {
    return { class_id: id, label: card.classes[id].name, ...rest, score: Math.round(1e4 * Math.min(1, scores.get(id))) / 1e4 };
  });
  const results = { version: 1, file, width, height, model: identity, segments };
  const sure = sureness(planes);
  if (sure < usual) results.notes = [unsure.replace("{score:.2f}", sure.toFixed(2))];
  const png = await maskPng(mask, width, height, card.classes.map((one) => one.color));
  return { results, mask: png, seconds: (performance.now() - start) / 1000 };
}

/** @returns {ImageData} on white, as from the server, where the photo is transparent */
function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
