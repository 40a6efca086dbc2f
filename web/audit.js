"use strict";
// A total over many windows from the few that a person has counted, however wrong the predictions are.
//
// A port of cellcount/metrics/audit.py, which explains the estimators, and of the windows of cellcount/results/audit.py.
// The draw is as random as Python's, with other random numbers: the same seed draws other windows.

(function (root) {
  const cellcount = (root.cellcount = root.cellcount || {});
  const { CellcountError, roundEven } = cellcount;

  const STRATA = 4, EACH = 5; // at most so many strata of windows with predicted cells, one for so many drawn windows
  const ESTIMATORS = ["ratio", "difference", "mean"];
  const CELLS = 40; // predicted in a window on average
  const SMALLEST = 64, LARGEST = 448; // px, of the sides of windows
  const SHARE = 4; // times as many windows as are drawn

  const sum = (values) => values.reduce((total, one) => total + one, 0);

  function require(condition, message) {
    if (!condition) throw new CellcountError(message);
  }

  // ---- windows

  /** Boxes [y0, x0, y1, x1] that cover an image once, row by row: of equal sides, to a px, at most `longest`. */
  function cut(height, width, longest) {
    const [rows, columns] = [height, width].map((side) => {
      const n = Math.ceil(side / longest);
      return Array.from({ length: n + 1 }, (_, i) => (i === n ? side : roundEven(i * (side / n))));
    });
    const found = [];
    for (let r = 0; r + 1 < rows.length; r++) {
      for (let c = 0; c + 1 < columns.length; c++) found.push([rows[r], columns[c], rows[r + 1], columns[c + 1]]);
    }
    return found;
  }

  /**
   * All windows of some images, the population of an audit: {side, windows: [{image, box, predicted}]}.
   *
   * images : [{height, width, points (y, x, y, x, ... px)}]; windows : how many will be drawn; side : px, or null for
   * 40 predicted cells in a window on average, or fewer if that made less than four times as many as are drawn.
   */
  function population(images, windows = 20, side = null) {
    const area = sum(images.map((one) => one.height * one.width)), cells = sum(images.map((one) => one.points.length / 2));
    const fitting = Math.min(Math.sqrt((area * CELLS) / Math.max(cells, 1)), Math.sqrt(area / SHARE / windows), LARGEST);
    const longest = side || Math.max(SMALLEST, roundEven(fitting / 16) * 16), found = [];
    images.forEach(({ height, width, points }, image) => {
      const boxes = cut(height, width, longest), numbers = new Array(boxes.length).fill(0);
      const rows = [...new Set(boxes.map((box) => box[0]))], columns = [...new Set(boxes.map((box) => box[1]))];
      const place = (starts, at) => Math.max(0, starts.filter((start) => start - 0.5 <= at).length - 1);
      for (let i = 0; i < points.length; i += 2) numbers[place(rows, points[i]) * columns.length + place(columns, points[i + 1])]++;
      boxes.forEach((box, k) => found.push({ image, box, predicted: numbers[k] }));
    });
    return { side: longest, windows: found };
  }

  /** Random numbers in [0, 1) from a seed: mulberry32, whose state is one number. */
  function randomNumbers(seed) {
    let state = (seed >>> 0) ^ 0x9e3779b9;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  /** The numbers 0 to n - 1 in a random order, each order as probable as any other (Fisher and Yates). */
  function permutation(n, random) {
    const found = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [found[i], found[j]] = [found[j], found[i]];
    }
    return found;
  }

  /**
   * Strata of windows, and the random order in which they are drawn: {strata, order}, arrays of whole numbers.
   *
   * predicted : cells in each window; windows : how many are drawn first; `shuffled` replaces the random order in tests.
   */
  function draw(predicted, windows, seed = 0, shuffled = null) {
    const n = predicted.length;
    require(n, "There is no window to draw.");
    require(predicted.every((one) => one >= 0 && Number.isFinite(one)), "Predicted counts are numbers from 0 on.");
    require(windows > 0, `windows=${windows}: give a positive number.`);
    const varied = predicted.some((one) => one !== predicted[0]);
    const parts = varied ? Math.min(STRATA, Math.max(1, Math.floor(windows / EACH))) : 1;
    const apart = predicted.map((one) => one === 0 && parts > 1), empty = apart.filter(Boolean).length;
    const order = Array.from({ length: n }, (_, i) => i).sort((a, b) => predicted[a] - predicted[b]);
    const rising = order.slice(empty), size = rising.map((i) => Math.sqrt(predicted[i] + 1)), all = sum(size);
    const raw = new Array(n).fill(0);
    let before = 0;
    rising.forEach((i, k) => {
      before += size[k];
      raw[i] = 1 + Math.trunc(Math.min(((before - size[k] / 2) / all) * parts, parts - 1));
    });
    const names = [...new Set(raw)].sort((a, b) => a - b), strata = raw.map((one) => names.indexOf(one));
    const random = shuffled || permutation(n, randomNumbers(seed)), seen = names.map(() => 0), turn = new Array(n);
    for (const i of random) turn[i] = seen[strata[i]]++;
    const slowness = Math.min(1, names.length * (empty / n));
    for (let i = 0; i < n; i++) if (apart[i] && turn[i] > 1) turn[i] = 1 + (turn[i] - 1) / slowness;
    const drawn = Array.from({ length: n }, (_, i) => i).sort((a, b) => turn[a] - turn[b] || strata[a] - strata[b] || a - b);
    return { strata, order: drawn };
  }

  // ---- the estimate

  /** Natural logarithm of the gamma function, to some 15 digits (Lanczos). */
  function logGamma(x) {
    const terms = [
      0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
      12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
    ];
    if (x < 0.5) return Math.log(Math.PI / Math.abs(Math.sin(Math.PI * x))) - logGamma(1 - x);
    const y = x - 1, t = y + 7.5;
    const series = terms.reduce((total, term, i) => total + (i ? term / (y + i) : term), 0);
    return 0.5 * Math.log(2 * Math.PI) + (y + 0.5) * Math.log(t) - t + Math.log(series);
  }

  /** The regularised incomplete beta function, by its continued fraction (Lentz). */
  function incompleteBeta(a, b, x) {
    if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
    if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(b, a, 1 - x);
    const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
    const safe = (value) => (Math.abs(value) < 1e-300 ? 1e-300 : value);
    let c = 1, d = 1 / safe(1 - ((a + b) * x) / (a + 1)), value = d;
    for (let m = 1; m < 10000; m++) {
      const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
      d = 1 / safe(1 + even * d);
      c = safe(1 + even / c);
      value *= d * c;
      const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
      d = 1 / safe(1 + odd * d);
      c = safe(1 + odd / c);
      value *= d * c;
      if (Math.abs(d * c - 1) < 1e-16) break;
    }
    return front * value;
  }

  /** The quantile of Student's t distribution, for a share above one half. */
  function studentQuantile(freedom, share) {
    const upper = (t) => incompleteBeta(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2; // the share above t
    let low = 0, high = 1;
    while (upper(high) > 1 - share && high < 1e12) high *= 2;
    for (let i = 0; i < 200 && high - low > 1e-15 * high; i++) {
      const middle = (low + high) / 2;
      if (upper(middle) > 1 - share) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  /** The largest number of windows of which the draw has none, with a probability of at least `tail`. */
  function missed(everything, taken, tail) {
    const costs = everything.flatMap((size, h) =>
      Array.from({ length: size - taken[h] }, (_, i) => -Math.log1p(-taken[h] / (size - i))),
    );
    let total = 0;
    return costs.sort((a, b) => a - b).filter((cost) => (total += cost) <= -Math.log(tail)).length;
  }

  /**
   * The total over all windows, from the counts of those that were drawn, with a design-based interval.
   *
   * predicted, strata : of each window; drawn : the first windows of the order of `draw`; counted : by a person, in each
   * of these; level : of the interval; estimator : "ratio", "difference" or "mean". Returns {total, low, high, level,
   * windows, population, counted, predicted, estimator, unseen, heaviest}, as AuditEstimate of Python.
   */
  function estimate(predicted, strata, drawn, counted, { level = 0.9, estimator = "ratio" } = {}) {
    require(ESTIMATORS.includes(estimator), `estimator='${estimator}' is unknown; use one of ${ESTIMATORS.join(", ")}.`);
    require(level > 0 && level < 1, `level=${level}: give a number between 0 and 1, such as 0.9.`);
    const single = drawn.length === counted.length && new Set(drawn).size === drawn.length;
    require(single, "Give one count for each drawn window, each once.");
    const number = (values) => {
      const found = new Array(Math.max(...strata) + 1).fill(0);
      for (const one of values) found[one]++;
      return found;
    };
    const everything = number(strata), own = drawn.map((i) => strata[i]), taken = number(own);
    const few = taken.findIndex((one, h) => one < Math.min(2, everything[h]));
    require(
      few < 0,
      `${drawn.length} windows are too few: stratum ${few + 1} of ${everything.length} has ${taken[few]} of them, and the ` +
        "variance needs two. Count more windows.",
    );
    const weights = own.map((h) => everything[h] / taken[h]), whole = sum(predicted), shown = drawn.map((i) => predicted[i]);
    const total = (cells, found) => {
      if (estimator === "mean") return cells;
      const slope = estimator === "ratio" && found > 0 ? cells / found : 1;
      return cells + slope * (whole - found);
    };
    const weighted = (values) => sum(values.map((one, i) => weights[i] * one));
    const without = (values) => { // the weighted sum without each window, the others of its stratum having its weight
      const sums = everything.map(() => 0), all = weighted(values);
      values.forEach((one, i) => (sums[own[i]] += one));
      return values.map((one, i) => {
        const h = own[i];
        return all - (everything[h] / Math.max(taken[h] - 1, 1)) * (one - sums[h] / taken[h]);
      });
    };
    const point = total(weighted(counted), weighted(shown)), byStratum = everything.map(() => 0);
    const cells = without(counted), found = without(shown);
    const parts = own.map((h, i) => {
      const open = ((1 - taken[h] / everything[h]) * (taken[h] - 1)) / taken[h];
      const part = open * (total(cells[i], found[i]) - point) ** 2;
      byStratum[h] += part;
      return part;
    });
    let variance = sum(parts), half;
    const least = missed(everything, taken, (1 - level) / 2);
    if (variance > 1e-12 * Math.max(1, point) ** 2) {
      const open = sum(taken.map((one, h) => (one < everything[h] ? one - 1 : 0)));
      const most = Math.max(1, open - (estimator === "ratio" ? 1 : 0));
      const freedom = variance ** 2 / sum(byStratum.map((one, h) => one ** 2 / Math.max(taken[h] - 1, 1)));
      half = studentQuantile(Math.min(Math.max(freedom, 1), most), (1 + level) / 2) * Math.sqrt(variance);
    } else {
      variance = 0;
      half = least;
    }
    const marked = sum(counted), census = drawn.length === predicted.length;
    return {
      total: Math.max(point, marked), low: Math.max(point - half, marked), high: Math.max(point + half, marked), level,
      windows: drawn.length, population: predicted.length, counted: marked, predicted: whole,
      estimator: census ? "census" : estimator, unseen: least / predicted.length,
      heaviest: variance ? Math.max(...parts) / variance : 0,
    };
  }

  /** About how many windows give an interval of +- `precision` of the total, if further ones are like these. */
  function windowsFor({ total, low, high, windows, population: all }, precision) {
    const half = (high - low) / 2 / Math.max(total, 1);
    const share = half ? (1 / windows - 1 / all) * (precision / half) ** 2 : Infinity;
    return Math.min(all, Math.ceil(1 / (share + 1 / all)));
  }

  cellcount.audit = { cut, population, draw, estimate, windowsFor, studentQuantile };
})(typeof self !== "undefined" ? self : globalThis);
