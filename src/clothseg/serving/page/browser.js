/** The engine of a static site: the network runs in this browser, and photos stay in it. */

import { HttpEngine, Problem } from "./engine.js";
import { bitmapOf } from "./photos.js";
import { newWorker } from "./tasks.js";

/** A WebAssembly module with one instruction of SIMD. Source: WebAssembly specification, v128.const. */
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 22, 1, 20, 0, 253, 12, ...Array(16).fill(0), 11);

/** The site has the answers of /v1/model and /v1/sample as files. */
export class BrowserEngine extends HttpEngine {
  sending = "Loading the model";
  #card = null;
  #inWorker = newWorker();
  #loading = null;
  #part = 0;
  #listeners = new Set();
  /** What computes: the processor or the graphics card. @type {"wasm" | "webgpu"} */
  #kind = "wasm";
  #isInUse;

  /**
   * @param {(part: number) => void} onLoad called with the part of model and runtime that is there, 0 to 1
   * @param {() => boolean} isInUse whether a photo was or may be being chosen, which loading the page again would lose
   */
  constructor(onLoad, isInUse) {
    super();
    this.#isInUse = isInUse;
    this.#listeners.add(onLoad);
  }

  /** Load the model's description; the model itself follows. */
  async model() {
    if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD)) {
      throw new Problem("no-simd", "This browser cannot run the network", "It lacks WebAssembly with SIMD. Update it, or use a current Chrome, Edge, Firefox or Safari.");
    }
    await startServiceWorker(this.#isInUse);
    this.#card = await super.model();
    if (await hasGraphicsCard()) this.#kind = "webgpu";
    this.#load().catch(() => {}); // the photo says so
    return this.#card;
  }

  async segment(file, signal, onPart) {
    await this.#loaded(signal, onPart);
    const bitmap = await bitmapOf(file);
    if (!bitmap) throw unreadable(file);
    signal.throwIfAborted();
    try {
      const found = await this.#inWorker("segment", { bitmap, file: file.name }, { transfer: [bitmap] });
      return { ...found, place: this.#kind === "wasm" ? "processor" : "graphics card" };
    } catch (error) {
      this.#useProcessor(error);
      return this.segment(file, signal, onPart);
    }
  }

  /** The server would draw a photo that this browser cannot show; here nothing is sent. */
  async draw(file) {
    throw unreadable(file);
  }

  /** Wait for the model, unless the photo is removed meanwhile. */
  async #loaded(signal, onPart) {
    onPart(this.#part);
    this.#listeners.add(onPart);
    const removed = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    try {
      await Promise.race([this.#load(), removed]);
    } catch (error) {
      if (signal.aborted) throw error;
      throw new Problem("not-loaded", "The model could not be loaded", `${error.message} Check the connection, then try again.`);
    } finally {
      this.#listeners.delete(onPart);
    }
  }

  #load() {
    const onProgress = ({ done, total }) => this.#tell(Math.min(done / total, 0.99));
    this.#loading ??= this.#inWorker("load", { card: this.#card, base: document.baseURI, kind: this.#kind }, { onProgress }).then(
      () => this.#tell(1),
      (error) => {
        this.#loading = null;
        this.#useProcessor(error);
        return this.#load();
      },
    );
    return this.#loading;
  }

  /** After an error of the graphics card, start again without it; throw all others. */
  #useProcessor(error) {
    if (this.#kind === "wasm") throw error;
    console.info(`The network runs on the processor. ${error.message}`);
    this.#kind = "wasm";
    this.#inWorker.end();
    this.#inWorker = newWorker();
    this.#loading = null;
  }

  #tell(part) {
    this.#part = part;
    for (const listener of this.#listeners) listener(part);
  }
}

/** Whether there is a graphics card to compute on, which `?engine=wasm` forbids; an emulated one, which is slower than the processor, only with `?engine=webgpu`. */
async function hasGraphicsCard() {
  const engine = new URLSearchParams(location.search).get("engine");
  if (engine === "wasm" || !("Suspending" in WebAssembly)) return false; // without that, onnxruntime-web cannot wait for the card
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  return Boolean(adapter) && (engine === "webgpu" || !adapter.info.isFallbackAdapter);
}

const unreadable = ({ name }) => new Problem("unreadable-photo", "The photo cannot be read", `This browser cannot read ${name}. Choose a JPEG, PNG or WebP.`);

/** Make the site work offline and with threads: once it is in place, the page is loaded again, unless it is in use already. Without it, all else works. */
async function startServiceWorker(isInUse) {
  try {
    await navigator.serviceWorker.register("service-worker.js");
    await navigator.serviceWorker.ready;
    if (crossOriginIsolated || isInUse() || sessionStorage.getItem("reloaded")) return;
    sessionStorage.setItem("reloaded", "yes");
    document.body.inert = true; // a photo that is chosen from now on would be lost
    location.reload();
    await new Promise(() => {});
  } catch (error) {
    console.info(`No offline use: ${error}`);
  }
}
