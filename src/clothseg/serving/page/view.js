/** The part of the photo that the stage shows: zoomed and moved with wheel, pinch, drag and keys. */

const STEP = 1.25;

export class View {
  /** How many times larger than when the whole frame is shown. */
  zoom = 1;
  /** What is shown at zoom 1, in pixels of the photo. @type {import("./compose.js").Box} */
  frame = { x: 0, y: 0, width: 1, height: 1 };
  #middle = { x: 0.5, y: 0.5 };
  #pointers = new Map();
  #pinch = null;
  #max = 8;

  /**
   * @param {HTMLElement} root takes the pointers and keys
   * @param {{change: () => void, tool: () => {down: Function, move: Function, up: Function, cancel: Function} | null}} on
   *   `tool` returns what one pressed pointer works with instead of moving the photo
   */
  constructor(root, on) {
    this.root = root;
    this.on = on;
    root.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    root.addEventListener("pointerdown", (event) => this.#down(event));
    root.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) root.addEventListener(name, (event) => this.#up(event));
    root.addEventListener("keydown", (event) => this.#key(event));
    root.addEventListener("dblclick", (event) => !this.on.tool() && this.zoomTo(this.zoom > 1 ? 1 : 3, this.placeOf(event)));
  }

  /** Show a whole frame. @param {import("./compose.js").Box} frame @param {number} width of the canvas */
  reset(frame, width) {
    this.frame = frame;
    this.#max = Math.max(4, (8 * frame.width) / width);
    this.zoomTo(1);
  }

  /** @returns {import("./compose.js").Box} the part that is shown */
  get part() {
    const [width, height] = [this.frame.width / this.zoom, this.frame.height / this.zoom];
    return { x: this.frame.x + this.#middle.x * this.frame.width - width / 2, y: this.frame.y + this.#middle.y * this.frame.height - height / 2, width, height };
  }

  /**
   * @param {number} zoom
   * @param {{x: number, y: number}} [place] what stays where it is, as parts of the stage
   */
  zoomTo(zoom, place = { x: 0.5, y: 0.5 }) {
    const before = this.zoom;
    this.zoom = Math.min(this.#max, Math.max(1, zoom));
    const gain = 1 / before - 1 / this.zoom;
    this.#show(this.#middle.x + (place.x - 0.5) * gain, this.#middle.y + (place.y - 0.5) * gain);
  }

  /** @param {number} across @param {number} down parts of the stage */
  moveBy(across, down) {
    this.#show(this.#middle.x + across / this.zoom, this.#middle.y + down / this.zoom);
  }

  #show(x, y) {
    const half = 0.5 / this.zoom;
    const within = (value) => Math.min(1 - half, Math.max(half, value));
    this.#middle = { x: within(x), y: within(y) };
    this.root.classList.toggle("zoomed", this.zoom > 1);
    this.on.change();
  }

  /** @param {{x: number, y: number}} place as parts of the stage @returns {{x: number, y: number}} in pixels of the photo */
  inPhoto(place) {
    const { x, y, width, height } = this.part;
    return { x: x + place.x * width, y: y + place.y * height };
  }

  /** @returns {{x: number, y: number}} the place of a pointer, as parts of the stage */
  placeOf({ clientX, clientY }) {
    const box = this.root.getBoundingClientRect();
    return { x: (clientX - box.left) / box.width, y: (clientY - box.top) / box.height };
  }

  #wheel(event) {
    if (this.zoom === 1 && event.deltaY > 0 && !event.ctrlKey) return; // the page scrolls
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    // A pinch on a touchpad comes as a wheel with Ctrl, in small steps.
    this.zoomTo(this.zoom * Math.exp((-event.deltaY * lines * (event.ctrlKey ? 6 : 1)) / 500), this.placeOf(event));
  }

  #down(event) {
    if (event.target.matches("input") || event.button > 1) return;
    this.#pointers.set(event.pointerId, event);
    const tool = this.on.tool();
    if (this.#pointers.size === 2) {
      tool?.cancel();
      this.#pinch = this.#fingers();
    } else if (tool && event.button === 0) tool.down(event);
    else if (this.zoom === 1) return;
    this.root.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    const tool = this.on.tool();
    if (tool && this.#pointers.size < 2 && (!before || before.button === 0)) tool.move(event);
    if (!before) return;
    this.#pointers.set(event.pointerId, event);
    if (this.#pointers.size === 2) {
      const [old, now] = [this.#pinch, this.#fingers()];
      this.#pinch = now;
      this.moveBy(old.x - now.x, old.y - now.y);
      this.zoomTo((this.zoom * now.distance) / old.distance, now);
    } else if (this.zoom > 1 && !(tool && event.buttons & 1)) {
      const [old, now] = [this.placeOf(before), this.placeOf(event)];
      this.moveBy(old.x - now.x, old.y - now.y);
    }
  }

  #fingers() {
    const [one, other] = [...this.#pointers.values()].map((event) => this.placeOf(event));
    return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, distance: Math.hypot(one.x - other.x, one.y - other.y) || 0.01 };
  }

  #up(event) {
    if (this.#pointers.delete(event.pointerId) && this.#pointers.size === 0) {
      if (!this.#pinch) this.on.tool()?.up(event);
      this.#pinch = null;
    }
  }

  #key(event) {
    if (event.defaultPrevented || event.target !== this.root || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
    if (event.key === "+" || event.key === "=") this.zoomTo(this.zoom * STEP);
    else if (event.key === "-") this.zoomTo(this.zoom / STEP);
    else if (event.key === "0") this.zoomTo(1);
    else if (move && this.zoom > 1 && !this.on.tool()) this.moveBy(...move);
    else return;
    event.preventDefault();
  }
}
