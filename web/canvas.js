"use strict";
// An image with marks: zoom, pan, pointer and keys. What a click does is the page's business.
//
//     const viewer = new cellcount.Viewer(place, { act, key });
//     act(what, {y, x}, reach): what is "add" or "remove"; y, x px of the image; reach: px of the image, for the nearest
//     key(name): a key that the viewer does not use; returns whether it was used
//
// Two canvases: the image below, which changes when the view does; the marks above, which change with each click.

(function (root) {
  const cellcount = (root.cellcount = root.cellcount || {});
  const CLICK = 6, REACH = 24; // screen px: a pointer that moved farther drags; how far a removing click may be off
  const LONG = 550; // ms, of a long press
  const MOST = 24; // screen px for one of the image
  const SMALL = 2000; // px; of a larger image, a smaller copy is drawn when the whole is seen
  const MARKS = { // kind: [colour, shape]
    found: ["#F0A818", "ring"], added: ["#56B4E9", "plus"], removed: ["#FFFFFF", "cross"],
  };

  function shape(context, kind, r) {
    context.beginPath();
    if (kind === "ring") context.arc(0, 0, r, 0, 2 * Math.PI);
    else {
      const [a, b] = kind === "cross" ? [r * 0.7, r * 0.7] : [r * 1.15, 0];
      context.moveTo(-a, -b), context.lineTo(a, b);
      context.moveTo(-b, a), context.lineTo(b, -a);
    }
    context.stroke();
  }

  class Viewer {
    constructor(place, { act, key }) {
      Object.assign(this, { place, act, key, picture: null, marks: {}, radius: 6.5, scale: 1, left: 0, top: 0 });
      Object.assign(this, { cursor: null, doubtful: false, core: null, layers: { image: true, found: true, added: true, removed: true } });
      Object.assign(this, { mode: "add", pointers: new Map(), space: false, sprites: new Map(), stale: new Set(), turn: 0 });
      [this.below, this.above] = place.querySelectorAll("canvas");
      new ResizeObserver(() => this._resize()).observe(place);
      const { above } = this;
      above.addEventListener("pointerdown", (event) => this._down(event));
      above.addEventListener("pointermove", (event) => this._move(event));
      for (const name of ["pointerup", "pointercancel"]) above.addEventListener(name, (event) => this._up(event));
      above.addEventListener("contextmenu", (event) => event.preventDefault());
      above.addEventListener("wheel", (event) => this._wheel(event), { passive: false });
      above.addEventListener("keydown", (event) => this._key(event));
      above.addEventListener("keyup", (event) => event.key === " " && this._hold(false));
      for (const name of ["focus", "blur"]) above.addEventListener(name, () => (this._hold(false), this.redraw("marks")));
    }

    /** Shows an image {bitmap, height, width}; `bitmap` is drawn over the whole size, whatever its own. */
    async show(picture) {
      if (this.small) this.small.close();
      const mine = (this.turn += 1), { bitmap, width, height } = picture;
      Object.assign(this, { picture, small: null, cursor: null, doubtful: false, core: null, box: null });
      this.fit();
      if (Math.max(width, height) <= SMALL) return;
      const resizeWidth = Math.round(width / 4), resizeHeight = Math.round(height / 4);
      const small = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "medium" }).catch(() => null);
      if (mine === this.turn) this.small = small;
      else if (small) small.close();
      this.redraw("image");
    }

    clear() {
      this.picture = null;
      this.redraw("image", "marks");
    }

    /** marks: {found, added, removed}, lists of {y, x}; radius: px of the image. */
    setMarks(marks, radius) {
      Object.assign(this, { marks, radius });
      this.redraw("marks");
    }

    // ---- the view

    get size() {
      return { width: this.place.clientWidth, height: this.place.clientHeight };
    }

    get least() {
      const { width, height } = this.size;
      return Math.min(width / this.picture.width, height / this.picture.height);
    }

    fit(box = null) {
      if (!this.picture) return;
      const { width, height } = this.size, [y0, x0, y1, x1] = box || [0, 0, this.picture.height, this.picture.width];
      this.scale = Math.min(MOST, width / (x1 - x0), height / (y1 - y0));
      this.left = width / 2 - ((x0 + x1) / 2) * this.scale;
      this.top = height / 2 - ((y0 + y1) / 2) * this.scale;
      this._clamp();
    }

    _clamp() {
      const { width, height } = this.size;
      const held = (start, length, room) => (length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, start)));
      if (!this.core) {
        this.left = held(this.left, this.picture.width * this.scale, width);
        this.top = held(this.top, this.picture.height * this.scale, height);
      }
      this.redraw("image", "marks");
    }

    /** Zooms by a factor; the point at (x, y) of the screen stays. */
    zoom(factor, x = this.size.width / 2, y = this.size.height / 2) {
      if (!this.picture) return;
      const scale = Math.min(MOST, Math.max(Math.min(this.least, 1), this.scale * factor)), times = scale / this.scale;
      this.left = x - (x - this.left) * times;
      this.top = y - (y - this.top) * times;
      this.scale = scale;
      this._clamp();
    }

    pan(x, y) {
      if (!this.picture) return;
      this.left += x;
      this.top += y;
      this._clamp();
    }

    /** Brings a place into view; zooms in to at least `scale`. */
    reach({ y, x }, scale = 0) {
      if (scale > this.scale) this.zoom(Math.min(scale, MOST) / this.scale);
      const at = this.screen({ y, x }), { width, height } = this.size, room = Math.min(60, width / 4, height / 4);
      const inside = at.x > room && at.y > room && at.x < width - room && at.y < height - room;
      if (!inside || scale) this.pan(width / 2 - at.x, height / 2 - at.y);
    }

    screen({ y, x }) {
      return { x: this.left + (x + 0.5) * this.scale, y: this.top + (y + 0.5) * this.scale };
    }

    spot(x, y) {
      return { y: (y - this.top) / this.scale - 0.5, x: (x - this.left) / this.scale - 0.5 };
    }

    /** How far a point may be from a click that removes it, px of the image. */
    get grasp() {
      return Math.max(this.radius * 2, REACH / this.scale);
    }

    holds({ y, x }) {
      const { height, width } = this.picture;
      return y >= -0.5 && x >= -0.5 && y < height - 0.5 && x < width - 0.5;
    }

    // ---- pointer

    _down(event) {
      if (!this.picture) return;
      this.above.focus({ preventScroll: true });
      const { offsetX: x, offsetY: y, pointerId, button, pointerType } = event;
      event.preventDefault();
      try {
        this.above.setPointerCapture(pointerId);
      } catch (error) {
        // a pointer that has gone, or one of a script
      }
      const remove = button === 2 || (button === 0 && event.ctrlKey) || this.mode === "remove";
      const one = { x, y, startX: x, startY: y, remove, drag: button === 1 || this.space, still: button === 0 || button === 2 };
      if (this.mode === "move" && button === 0) one.drag = true;
      if (pointerType === "touch" && !one.drag) {
        one.timer = setTimeout(() => {
          if (this.pointers.size !== 1 || !one.still) return;
          one.still = false;
          this._act("remove", one);
        }, LONG);
      }
      this.pointers.set(pointerId, one);
      if (this.pointers.size > 1) for (const other of this.pointers.values()) other.still = false;
    }

    _move(event) {
      const one = this.pointers.get(event.pointerId);
      if (!one) return;
      const { offsetX: x, offsetY: y } = event;
      if (this.pointers.size === 2) this._pinch(event.pointerId, x, y);
      else if (one.drag || Math.hypot(x - one.startX, y - one.startY) > CLICK) {
        if (!one.drag) [one.drag, one.x, one.y] = [true, one.startX, one.startY];
        one.still = false;
        this.place.classList.add("dragged");
        this.pan(x - one.x, y - one.y);
      }
      Object.assign(one, { x, y });
    }

    _pinch(id, x, y) {
      const one = this.pointers.get(id), other = [...this.pointers].find(([key]) => key !== id)[1];
      const before = Math.hypot(one.x - other.x, one.y - other.y), now = Math.hypot(x - other.x, y - other.y);
      this.pan((x - one.x) / 2, (y - one.y) / 2);
      if (before > 0) this.zoom(now / before, (x + other.x) / 2, (y + other.y) / 2);
    }

    _up(event) {
      const one = this.pointers.get(event.pointerId);
      if (!one) return;
      clearTimeout(one.timer);
      this.pointers.delete(event.pointerId);
      if (!this.pointers.size) this.place.classList.remove("dragged");
      if (event.type === "pointerup" && one.still && !one.drag) this._act(one.remove ? "remove" : "add", one);
    }

    _act(what, { x, y }) {
      const at = this.spot(x, y);
      this.cursor = null;
      this.doubtful = false;
      if (what === "remove" || this.holds(at)) this.act(what, at, this.grasp);
      this.redraw("marks");
    }

    _wheel(event) {
      if (!this.picture) return;
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 33 : 1;
      this.zoom(Math.exp(-Math.max(-240, Math.min(240, event.deltaY * lines)) / 400), event.offsetX, event.offsetY);
    }

    // ---- keys

    _hold(held) {
      this.space = held;
      this.place.classList.toggle("held", held);
    }

    _key(event) {
      if (!this.picture || event.altKey) return;
      const name = event.key, step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[name];
      let used = true;
      if (step && event.shiftKey) this.pan(-60 * step[1], -60 * step[0]);
      else if (step) this._step(step, event.ctrlKey || event.metaKey ? 1 : 10 / this.scale);
      else if (event.ctrlKey || event.metaKey) used = false; // undo is the page's, copying the browser's
      else if (name === "+" || name === "=") this.zoom(1.3, ...this._middle());
      else if (name === "-") this.zoom(1 / 1.3, ...this._middle());
      else if (name === "0") this.fit(this.box || null);
      else if (name === " ") this._hold(true);
      else if (this.key(name)) used = true; // N, P; Enter and Delete on a doubtful cell
      else if (name === "Enter" && this.cursor) this.act("add", this.cursor, 0);
      else if ((name === "Delete" || name === "Backspace") && this.cursor) this.act("remove", this.cursor, this.grasp);
      else used = false;
      if (used) event.preventDefault();
    }

    /** Where keys zoom: at the crosshair. */
    _middle() {
      if (!this.cursor) return [];
      const { x, y } = this.screen(this.cursor);
      return [x, y];
    }

    _step([down, right], length) {
      const { width, height } = this.size, start = this.cursor || this.spot(width / 2, height / 2);
      const held = (value, side) => Math.min(side - 1, Math.max(0, value));
      const y = held(start.y + (this.cursor ? down * length : 0), this.picture.height);
      this.cursor = { y, x: held(start.x + (this.cursor ? right * length : 0), this.picture.width) };
      this.doubtful = false;
      this.reach(this.cursor);
      this.redraw("marks");
    }

    /** Puts the crosshair on a doubtful cell. */
    point(place, scale) {
      Object.assign(this, { cursor: { y: place.y, x: place.x }, doubtful: true });
      this.reach(place, scale);
      this.redraw("marks");
    }

    // ---- drawing

    _resize() {
      const ratio = root.devicePixelRatio || 1, { width, height } = this.size;
      const fitted = this.picture && Math.abs(this.scale / this.before - 1) < 0.001;
      for (const canvas of [this.below, this.above]) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
      }
      if (!this.picture || !width || !height) return;
      if (fitted || this.core) this.fit(this.box || null);
      else this._clamp();
      this.before = this.least;
      this._draw(); // at once, or the picture is gone for one frame
    }

    redraw(...which) {
      if (!this.stale.size) requestAnimationFrame(() => this._draw());
      for (const one of which) this.stale.add(one);
    }

    _draw() {
      const { stale } = this;
      this.stale = new Set();
      if (this.picture) this.before = this.least;
      if (stale.has("image")) this._drawImage();
      if (stale.has("marks")) this._drawMarks();
    }

    _context(canvas) {
      const ratio = root.devicePixelRatio || 1, context = canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      return context;
    }

    _drawImage() {
      const context = this._context(this.below), { picture, scale, left, top, core } = this;
      if (!picture || !this.layers.image) return;
      context.imageSmoothingEnabled = scale < 4;
      const { width, height } = picture, source = this.small && scale < 0.4 ? this.small : picture.bitmap;
      context.drawImage(source, left, top, width * scale, height * scale);
      if (!core) return;
      const [y0, x0, y1, x1] = core, room = this.size;
      context.fillStyle = "rgb(0 0 0 / 62%)";
      context.beginPath();
      context.rect(0, 0, room.width, room.height);
      context.rect(left + x0 * scale, top + y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale);
      context.fill("evenodd");
      context.strokeStyle = "#FFFFFF";
      context.strokeRect(left + x0 * scale - 0.5, top + y0 * scale - 0.5, (x1 - x0) * scale + 1, (y1 - y0) * scale + 1);
    }

    /** A mark, drawn once and copied to its places: 2,000 copies take less time than 2,000 rings. */
    _sprite(kind, r) {
      const ratio = root.devicePixelRatio || 1, name = `${kind} ${r} ${ratio}`;
      if (this.sprites.has(name)) return this.sprites.get(name);
      if (this.sprites.size > 60) this.sprites.clear();
      const [colour, form] = MARKS[kind], half = Math.ceil((r * 1.2 + 3) * ratio);
      const sprite = Object.assign(document.createElement("canvas"), { width: 2 * half, height: 2 * half });
      const context = sprite.getContext("2d");
      context.translate(half, half);
      context.scale(ratio, ratio);
      context.globalAlpha = kind === "removed" ? 0.65 : 1;
      for (const [style, wide] of [["rgb(0 0 0 / 70%)", 3.4], [colour, 1.8]]) { // a dark rim, to be seen on any ground
        context.strokeStyle = style;
        context.lineWidth = wide;
        shape(context, form, r);
      }
      this.sprites.set(name, sprite);
      return sprite;
    }

    _drawMarks() {
      const context = this._context(this.above), { picture, scale } = this;
      if (!picture) return;
      const ratio = root.devicePixelRatio || 1, { width, height } = this.size;
      const r = Math.round(Math.min(36, Math.max(2.5, this.radius * scale)) * 2) / 2;
      context.setTransform(1, 0, 0, 1, 0, 0);
      for (const kind of ["removed", "found", "added"]) {
        if (!this.layers[kind] || !this.marks[kind]) continue;
        const sprite = this._sprite(kind, r), half = sprite.width / 2;
        for (const mark of this.marks[kind]) {
          const { x, y } = this.screen(mark);
          if (x < -r || y < -r || x > width + r || y > height + r) continue;
          context.drawImage(sprite, Math.round(x * ratio - half), Math.round(y * ratio - half));
        }
      }
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      if (this.cursor && (this.doubtful || document.activeElement === this.above)) this._drawCursor(context, r);
    }

    _drawCursor(context, r) {
      const { x, y } = this.screen(this.cursor), gap = Math.max(r + 5, 10), end = gap + 14;
      for (const [style, wide] of [["#000000", 4.5], [this.doubtful ? "#F0E442" : "#FFFFFF", 2]]) {
        Object.assign(context, { strokeStyle: style, lineWidth: wide });
        context.beginPath();
        for (const [a, b] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          context.moveTo(x + a * (this.doubtful ? gap : 3), y + b * (this.doubtful ? gap : 3));
          context.lineTo(x + a * end, y + b * end);
        }
        context.stroke();
      }
    }

    /** Shows a window of an audit: its core bright, around it a dark margin; null shows the whole image. */
    window(core, margin = 32) {
      this.core = core;
      const { height, width } = this.picture, ends = [height, width, height, width];
      this.box = core && core.map((edge, i) => Math.min(ends[i], Math.max(0, edge + (i < 2 ? -margin : margin))));
      this.cursor = null;
      this.doubtful = false;
      this.fit(this.box);
    }
  }

  cellcount.Viewer = Viewer;
})(self);
