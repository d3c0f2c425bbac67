/** The engine behind the page, which segments photos: the server, by HTTP; and errors in a form that can be shown. */

/** A request that failed. */
export class Problem extends Error {
  /**
   * @param {string} kind the last part of the problem's type, or "unreachable", "cut-off"
   * @param {string} title what happened, for people
   * @param {string} detail the value, and what to do
   * @param {number} [retryAfter] seconds after which the request may be repeated
   */
  constructor(kind, title, detail, retryAfter) {
    super(detail);
    this.kind = kind;
    this.title = title;
    this.retryAfter = retryAfter;
  }

  get needsKey() {
    return ["key-missing", "key-wrong"].includes(this.kind);
  }
}

/** @param {string} path below the page's own address, so that the page also works behind a prefix */
const address = (path) => new URL(path, document.baseURI);

/** The server, by HTTP. */
export class HttpEngine {
  /** Kept in memory only. */
  key = "";
  /** What a photo waits for before it is segmented. */
  sending = "Sending";

  /** @returns {Promise<object>} the model's description: see ModelCard in openapi.json */
  async model() {
    return (await this.#fetch("v1/model")).json();
  }

  /** @param {string} path of a sample photo @returns {Promise<File>} */
  async sample(path) {
    const blob = await (await this.#fetch(path)).blob();
    return new File([blob], `${path.split("/").pop().replace(/\.jpg$/, "")}.jpg`, { type: "image/jpeg" });
  }

  /**
   * @param {File} file a photo
   * @param {AbortSignal} signal
   * @param {(part: number) => void} onSent called with the part of the upload that is done, 0 to 1
   * @returns {Promise<{results: object, mask: Blob, seconds: number}>} the version-1 results, the index PNG, and the
   *   server's computing time
   */
  async segment(file, signal, onSent) {
    const answer = await this.#send(file, { include: "mask" }, { signal, onSent });
    const { mask, ...results } = await answer.json();
    const timing = answer.headers.get("Server-Timing") ?? "";
    const seconds = [...timing.matchAll(/(decode|predict|encode);dur=([\d.]+)/g)].reduce((sum, one) => sum + +one[2], 0) / 1000;
    return { results, mask: blobOf(mask), seconds };
  }

  /**
   * Get a picture that the server draws, for photos that this browser cannot show.
   * @param {File} file
   * @param {Record<string, string>} parameters such as {output: "cutout", label: "head"}
   * @returns {Promise<Blob>}
   */
  async draw(file, parameters) {
    return (await this.#send(file, parameters)).blob();
  }

  async #send(file, parameters, { signal, onSent } = {}) {
    const form = new FormData();
    form.append("photo", file, file.name);
    try {
      return await this.#post(`v1/segment?${new URLSearchParams(parameters)}`, form, signal, onSent);
    } catch (error) {
      const isAlive = () => fetch(address("healthz"), { cache: "no-store" }).then(({ ok }) => ok, () => false);
      if (error.kind !== "unreachable" || !(await isAlive())) throw error;
      const size = `${(file.size / 1e6).toFixed(1)} MB`;
      throw new Problem("cut-off", "The server ended the upload", `The photo has ${size}, which may be too large. Try a smaller one.`);
    }
  }

  /** Upload by XMLHttpRequest: unlike fetch, it says how far it is. @returns {Promise<Response>} */
  async #post(path, body, signal, onSent) {
    const request = new XMLHttpRequest();
    request.open("POST", address(path));
    request.responseType = "blob";
    for (const [name, value] of Object.entries(this.#headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", ({ loaded, total }) => onSent?.(loaded / total));
    signal?.addEventListener("abort", () => request.abort());
    await new Promise((resolve, reject) => {
      request.addEventListener("load", resolve);
      request.addEventListener("abort", () => reject(new DOMException("The photo was removed", "AbortError")));
      request.addEventListener("error", () => reject(unreachable()));
      request.send(body);
    });
    const headers = ["Content-Type", "Retry-After", "Server-Timing"].map((name) => [name, request.getResponseHeader(name)]);
    const answer = new Response(request.response, { status: request.status, headers: headers.filter(([, value]) => value !== null) });
    if (!answer.ok) throw await problemOf(answer);
    return answer;
  }

  get #headers() {
    return { Accept: "application/json, */*;q=0.5", ...(this.key && { Authorization: `Bearer ${this.key}` }) };
  }

  async #fetch(path) {
    const answer = await fetch(address(path), { headers: this.#headers }).catch(() => {
      throw unreachable();
    });
    if (!answer.ok) throw await problemOf(answer);
    return answer;
  }
}

const unreachable = () =>
  new Problem("unreachable", "The server does not answer", "It may have been stopped, or the network is down. Check that it runs, then try again.");

/** @param {Response} answer @returns {Promise<Problem>} */
async function problemOf(answer) {
  const retryAfter = Number(answer.headers.get("Retry-After")) || undefined;
  const problem = await answer.json().catch(() => ({}));
  const kind = String(problem.type ?? "").split(":").pop() || `status-${answer.status}`;
  const detail = problem.detail ?? "A proxy between this page and the server sent this answer.";
  return new Problem(kind, problem.title ?? `The server answered ${answer.status}`, /[.?!]$/.test(detail) ? detail : `${detail}.`, retryAfter);
}

/** @param {string} dataAddress data:image/png;base64,... (fetch may not read those here) @returns {Blob} */
function blobOf(dataAddress) {
  const text = atob(dataAddress.slice(dataAddress.indexOf(",") + 1));
  return new Blob([Uint8Array.from(text, (one) => one.charCodeAt(0))], { type: "image/png" });
}
