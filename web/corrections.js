"use strict";
// The points of one image as a person corrects them: found, added, removed; undo and redo.

(function (root) {
  const cellcount = (root.cellcount = root.cellcount || {});
  const SAME = 3; // px; two points that are nearer are one cell

  const key = (mark) => `${mark.y} ${mark.x}`;
  const near = (a, b, distance) => (a.y - b.y) ** 2 + (a.x - b.x) ** 2 < distance ** 2;

  /** Marks are {y, x, score}, px of the image from the centre of its first pixel; score: null of what a person added. */
  class Corrections {
    constructor() {
      Object.assign(this, { found: [], added: [], removed: new Map(), covered: new Set(), seen: new Set(), done: [], undone: [] });
    }

    /** Takes what was found (y, x, y, x, ...), perhaps at another threshold; what a person did stays. */
    set(points, scores) {
      this.found = Array.from(scores, (score, i) => ({ y: points[2 * i], x: points[2 * i + 1], score, gone: false }));
      if (this.removed.size) for (const mark of this.found) mark.gone = this.removed.has(key(mark));
      this._cover();
    }

    /** A cell that a person added, and that was found later at another threshold, counts once. */
    _cover() {
      this.covered = new Set();
      for (const one of this.added) {
        const same = this.found.find((mark) => near(mark, one, SAME) && !mark.gone && !this.covered.has(mark));
        if (same) this.covered.add(same);
      }
    }

    /** The found points that count, and those that were removed. */
    get kept() {
      return this.found.filter((mark) => !mark.gone && !this.covered.has(mark));
    }

    get left() {
      return this.found.filter((mark) => mark.gone);
    }

    /** All points that count. */
    get live() {
      return [...this.kept, ...this.added];
    }

    /** {found, added, removed}: numbers for cellcount.corrected of engine.js. */
    get numbers() {
      const removed = this.left.length;
      return { found: this.found.length - this.covered.size, added: this.added.length, removed };
    }

    get changed() {
      return this.added.length > 0 || this.removed.size > 0;
    }

    /** The point that counts nearest to a place, no farther than `distance` px, or null. */
    nearest(place, distance) {
      let found = null, least = distance ** 2;
      for (const mark of this.live) {
        const apart = (mark.y - place.y) ** 2 + (mark.x - place.x) ** 2;
        if (apart <= least) [found, least] = [mark, apart];
      }
      return found;
    }

    /** Adds a point; false if there is one already. */
    add({ y, x, score = null }) {
      const mark = { y, x, score };
      if (this.live.some((other) => near(other, mark, SAME))) return false;
      // What was removed here before is what the person wants back.
      const back = this.left.find((other) => near(other, mark, SAME));
      this._do(back ? { kind: "back", mark: back } : { kind: "add", mark });
      return true;
    }

    remove(mark) {
      this._do({ kind: this.added.includes(mark) ? "drop" : "remove", mark });
    }

    _do(step) {
      this._apply(step, true);
      this.done.push(step);
      this.undone = [];
    }

    _apply({ kind, mark }, forward) {
      if ((kind === "add") === forward && (kind === "add" || kind === "drop")) this.added.push(mark);
      else if (kind === "add" || kind === "drop") this.added.splice(this.added.indexOf(mark), 1);
      else {
        const gone = (kind === "remove") === forward;
        if (gone) this.removed.set(key(mark), mark);
        else this.removed.delete(key(mark));
        // The mark of this place: another object since the threshold was changed.
        for (const one of this.found) if (one.y === mark.y && one.x === mark.x) one.gone = gone;
      }
      this._cover();
    }

    /** Takes the last step back: its mark, or null if there is none. */
    undo() {
      const step = this.done.pop();
      if (!step) return null;
      this._apply(step, false);
      this.undone.push(step);
      return step.mark;
    }

    redo() {
      const step = this.undone.pop();
      if (!step) return null;
      this._apply(step, true);
      this.done.push(step);
      return step.mark;
    }

    /** Whether a doubtful place still waits for a person. */
    open(doubt) {
      if (this.seen.has(key(doubt)) || this.removed.has(key(doubt))) return false;
      return doubt.counted || !this.added.some((mark) => near(mark, doubt, SAME));
    }

    note(doubt) {
      this.seen.add(key(doubt));
    }
  }

  cellcount.Corrections = Corrections;
})(self);
