"use strict";
// The audit in the page: random windows, one after the other, which a person corrects; and the total that follows.
//
// The windows' predicted counts are those at the start, and do not change: the draw rests on them. The numbers that the
// person makes of them are read from the points whenever they are asked for, so that a window can be corrected again.

(function (root) {
  const cellcount = (root.cellcount = root.cellcount || {});
  const { fixed } = cellcount.looks;
  const FIRST = 5, PRECISION = 0.05; // windows before the first estimate; of the interval that is aimed at
  const HEAVY = 0.5; // of the variance from one window, which is told

  const inside = ({ y, x }, [y0, x0, y1, x1]) => y >= y0 - 0.5 && x >= x0 - 0.5 && y < y1 - 0.5 && x < x1 - 0.5;

  class Audit {
    /** images: as in page.js, all counted; windows: how many are planned. */
    constructor(images, windows, seed) {
      const flat = ({ corrections: { live } }) => Float32Array.from({ length: 2 * live.length }, (_, i) => live[i >> 1][i % 2 ? "x" : "y"]);
      const shapes = images.map((one) => ({ height: one.height, width: one.width, points: flat(one) }));
      const { side, windows: all } = cellcount.audit.population(shapes, windows);
      Object.assign(this, { images, seed, side, all, at: 0, done: 0, planned: Math.min(windows, all.length) });
      this.predicted = all.map((one) => one.predicted);
      Object.assign(this, cellcount.audit.draw(this.predicted, windows, seed));
    }

    /** {image, box, predicted} of the window at a place of the draw. */
    window(place = this.at) {
      const { image, box, predicted } = this.all[this.order[place]];
      return { image: this.images[image], box, predicted };
    }

    counted(place) {
      const { image, box } = this.window(place);
      return image.corrections.live.filter((mark) => inside(mark, box)).length;
    }

    holds(mark) {
      return inside(mark, this.window().box);
    }

    /** Takes the shown window as corrected, and goes on; false if there is none left. */
    next() {
      this.done = Math.max(this.done, this.at + 1);
      if (this.done === this.all.length && this.at + 1 === this.done) return false;
      this.at++;
      return true;
    }

    /** The number of windows with which an estimate is possible: two of each stratum. */
    get least() {
      const everything = new Map(), taken = new Map();
      for (const one of this.strata) everything.set(one, (everything.get(one) || 0) + 1);
      let open = everything.size, n = 0;
      while (open && n < this.order.length) {
        const stratum = this.strata[this.order[n++]], number = (taken.get(stratum) || 0) + 1;
        taken.set(stratum, number);
        if (number === Math.min(2, everything.get(stratum))) open--;
      }
      return Math.max(n, Math.min(FIRST, this.all.length));
    }

    /** The estimate from the windows that are done, or null while they are too few. */
    get estimate() {
      if (this.done < this.least) return null;
      const drawn = this.order.slice(0, this.done), counted = drawn.map((_, place) => this.counted(place));
      return cellcount.audit.estimate(this.predicted, this.strata, drawn, counted, { level: 0.9 });
    }

    /** {total, interval, notes} as texts. */
    get told() {
      const one = this.estimate, whole = (value) => Number(fixed(value)).toLocaleString("en-US");
      if (!one) {
        const left = this.least - this.done;
        return { total: "", interval: "", notes: [`The total is estimated in ${left} more window${left === 1 ? "" : "s"}.`] };
      }
      const half = (one.high - one.low) / 2 / Math.max(one.total, 1), census = one.windows === one.population, notes = [];
      const ends = `90 % interval ${whole(one.low)} to ${whole(one.high)} (± ${fixed(half * 100, 1)} %)`;
      const interval = census ? "all windows were counted" : ends;
      const more = cellcount.audit.windowsFor(one, PRECISION) - one.windows;
      if (!census && half > PRECISION) notes.push(`About ${more} more window${more === 1 ? "" : "s"} for ± ${PRECISION * 100} %.`);
      if (one.heaviest > HEAVY && half > PRECISION) notes.push("One window makes up most of the uncertainty: count it once more.");
      if (!census && !one.heaviest) {
        notes.push("So far the windows differ in nothing from what was found: rare errors elsewhere are not in the interval.");
      }
      const unseen = `less than ${fixed(one.unseen * 100)} % of the windows`;
      if (!census) notes.push(`An error limited to ${unseen} may have been missed by the draw.`);
      return { total: whole(one.total), interval, notes };
    }

    /** Whether windows were corrected since the table was saved; page.js keeps it as `saved`. */
    get unsaved() {
      return this.done > 0 && this.table() !== this.saved;
    }

    /** The drawn windows as the table of `cellcount audit estimate` (audit-result.csv). */
    table() {
      const rows = [["window", "image", "y0", "x0", "y1", "x1", "stratum", "probability", "predicted", "counted"]];
      const size = (stratum, among) => among.filter((one) => this.strata[one] === stratum).length;
      const drawn = this.order.slice(0, this.done), every = this.order;
      drawn.forEach((index, place) => {
        const { image, box, predicted } = this.window(place), stratum = this.strata[index];
        const chance = size(stratum, drawn) / size(stratum, every);
        rows.push([`window-${String(place + 1).padStart(3, "0")}`, image.name, ...box, stratum, chance, predicted, this.counted(place)]);
      });
      return cellcount.exports.table(rows);
    }
  }

  cellcount.Audit = Audit;
})(self);
