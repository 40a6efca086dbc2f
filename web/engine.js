"use strict";
// Counting as `cellcount count` does with CellNet's ONNX file on a CPU: needs pixels.js, likeness.js and onnxruntime-web.
//
// A port of cellcount/counting.py, cellcount/tiling.py and cellcount/methods/cellnet/inference.py. Use:
//
//     const engine = await cellcount.Engine.load(ort, model);        // model: ArrayBuffer of the ONNX file
//     const counted = await engine.count(image, { cellWidth: "auto" }); // image: {data, height, width}, see decode.js
//     const { points, scores, count, interval } = counted.at();         // at the weights' own threshold
//     counted.at(0.4);                                                  // at another one, without the network
//     counted.corrected({ added: 3, removed: 1 });                      // after corrections by hand
//     counted.doubts();                                                 // what to look at first

(function (root) {
  const cellcount = (root.cellcount = root.cellcount || {});
  const { CellcountError, pixels, looks } = cellcount;
  const fround = Math.fround;

  const FORMAT = "cellcount-cellnet-onnx-1";
  const TILE = 3072, OVERLAP = 128; // px; a larger image is counted in tiles
  const LARGE = 2 ** 26; // px; with more, masks and maps would not fit into memory
  const SLACK = 3; // px; two tiles may place the same cell this far apart, and one of the two points is dropped
  const KEPT = 0.05; // height of the lowest peaks that are kept, so that another threshold needs no network
  const NEAR = 0.5; // share of the threshold by which a score must differ from it for its peak to be certain
  const CLOSE = 0.7; // of the median distance of nearest neighbours; nearer points are crowded
  const CROWDED = 0.1; // weight of a crowded point

  // ---- the description in an ONNX file

  /** What `cellcount export` wrote about a model: the entry "cellcount" of its metadata, which ONNX Runtime hides. */
  function metadata(model) {
    const bytes = new Uint8Array(model), text = new TextDecoder();
    const unreadable = "the weights are not an ONNX file of CellNet, or truncated; create the file again.";
    function varint(from) {
      let value = 0, power = 1, byte;
      do {
        if (from.at >= from.end) throw new CellcountError(unreadable);
        byte = bytes[from.at++];
        value += (byte & 127) * power;
        power *= 128;
      } while (byte & 128);
      return value;
    }
    /** The fields of a message of Protocol Buffers that have a length: [number, start, end] each. */
    function* fields(start, end) {
      const from = { at: start, end };
      while (from.at < end) {
        const key = varint(from), kind = key & 7;
        if (kind === 2) {
          const length = varint(from);
          if (from.at + length > end) throw new CellcountError(unreadable);
          yield [key >>> 3, from.at, from.at + length];
          from.at += length;
        } else if (kind === 0) varint(from);
        else if (kind === 1 || kind === 5) from.at += kind === 1 ? 8 : 4;
        else throw new CellcountError(unreadable);
      }
    }
    let found = {};
    for (const [field, start, end] of fields(0, bytes.length)) {
      if (field !== 14) continue; // metadata_props of a ModelProto
      const entry = {};
      for (const [part, first, last] of fields(start, end)) entry[part] = text.decode(bytes.subarray(first, last));
      if (entry[1] === "cellcount") found = JSON.parse(entry[2]); // key and value of a StringStringEntryProto
    }
    if (found.format !== FORMAT) throw new CellcountError(unreadable);
    return found;
  }

  /** Ends of the interval of a count by a rule (see cellcount.metrics.intervals.IntervalRule). */
  function intervalOf(rule, count) {
    let { low, high } = rule;
    if (rule.single) {
      const middle = Math.sqrt(low * high);
      const factor = Math.exp(Math.hypot(Math.log(high / low) / 2, Math.sqrt(rule.single / (count + 1))));
      [low, high] = [middle / factor, middle * factor];
    }
    return [Math.max(0, low * (count + 1) - 1), Math.max(0, high * (count + 1) - 1)];
  }

  /**
   * {count, interval} after corrections by hand: numbers of cells `added` and of counted ones `removed`.
   *
   * rule : that of the intervals, or null if there is none. The interval is that of an uncorrected count of this size. It
   * was measured on counts without corrections, which have more errors: after a thorough correction it is too wide, and
   * what the person saw is the better guide. Its lower end is not below the number of cells that were added.
   */
  function corrected(count, rule, { added = 0, removed = 0 } = {}) {
    const now = count + added - removed;
    if (!rule) return { count: now, interval: null };
    const [low, high] = intervalOf(rule, now);
    return { count: now, interval: [Math.max(low, added), Math.max(high, added)] };
  }

  // ---- tiles

  /** Pieces [start, end] of equal length, rounded to 32 px, none longer than `longest`. */
  function cuts(side, longest) {
    const n = Math.ceil(side / longest), found = [];
    const length = Math.min(Math.floor(longest / 32) * 32, Math.ceil(Math.ceil(side / n) / 32) * 32);
    for (let start = 0; start < side; start += length) found.push([start, Math.min(start + length, side)]);
    return found;
  }

  /** The tiles of an image: {window, core}, both [y0, y1, x0, x1] px. The cores cover the image once. */
  function tiles([height, width]) {
    if (Math.max(height, width) <= TILE && height * width <= LARGE) {
      return [{ window: [0, height, 0, width], core: [0, height, 0, width] }];
    }
    const found = [];
    for (const [y0, y1] of cuts(height, TILE - 2 * OVERLAP)) {
      for (const [x0, x1] of cuts(width, TILE - 2 * OVERLAP)) {
        const window = [y0 - OVERLAP, y1 + OVERLAP, x0 - OVERLAP, x1 + OVERLAP];
        const ends = [height, height, width, width];
        found.push({ window: window.map((end, i) => Math.max(0, Math.min(end, ends[i]))), core: [y0, y1, x0, x1] });
      }
    }
    return found;
  }

  function within(y, x, core, margin = 0) {
    return y >= core[0] - 0.5 - margin && x >= core[2] - 0.5 - margin && y < core[1] - 0.5 + margin && x < core[3] - 0.5 + margin;
  }

  /** The peaks of all tiles that are at least `threshold` high, without those that two tiles found: [y, x, score]. */
  function assembled(parts, threshold) {
    const least = fround(threshold), found = [];
    let border = []; // points that later tiles may find again
    for (const { core, points, scores, heights } of parts) {
      border = border.filter(([y]) => y >= core[0] - 0.5 - 2 * SLACK);
      const before = border;
      border = border.slice();
      for (let i = 0; i < scores.length; i++) {
        const y = points[2 * i], x = points[2 * i + 1];
        if (!(heights[i] >= least)) continue;
        if (parts.length > 1) {
          const again = before.some(([v, u]) => (v - y) ** 2 + (u - x) ** 2 < SLACK ** 2);
          if (again || !within(y, x, core, SLACK)) continue;
          if (!within(y, x, core, -2 * SLACK)) border.push([y, x]);
        }
        found.push([y, x, scores[i]]);
      }
    }
    return found;
  }

  // ---- the network

  class Engine {
    /** Loads a model (ArrayBuffer of an ONNX file) with onnxruntime-web. */
    static async load(ort, model, options = {}) {
      const about = metadata(model);
      const session = await ort.InferenceSession.create(new Uint8Array(model), {
        executionProviders: ["wasm"], graphOptimizationLevel: "all", ...options,
      });
      return new Engine(ort, session, about);
    }

    constructor(ort, session, about) {
      Object.assign(this, { ort, session, about, settings: about.settings, counting: about.counting });
      if (this.counting.count !== "peaks") {
        throw new CellcountError("These weights count by density, which the page cannot: use `cellcount count`.");
      }
    }

    /** The heatmap {data, height, width} of an image, whose brightness and contrast may be those of a larger one. */
    async heat(image, exposure) {
      const { Tensor } = this.ort, { height, width } = image;
      const feeds = {
        image: new Tensor("float32", image.data, [1, 1, height, width]),
        exposure: new Tensor("float32", Float32Array.from(exposure), [2]),
      };
      const { heat } = await this.session.run(feeds, ["heat"]);
      return { data: heat.data, height: heat.dims[2], width: heat.dims[3] };
    }

    /**
     * Counts an image {data, height, width}, Float32Array in [0, 1].
     *
     * cellWidth : px, "auto" or null, which leaves the image as it is; pixelSize : um or null;
     * progress : function of a share from 0 to 1. Resolves to a `Counted`.
     */
    async count(image, { cellWidth = "auto", pixelSize = null, progress = () => {} } = {}) {
      for (const [name, number, other] of [["cell_width", cellWidth, "auto"], ["pixel_size_um", pixelSize, null]]) {
        const real = typeof number === "number" && number > 0 && number < Infinity;
        if (real || number === null || (other && number === other)) continue;
        throw new CellcountError(`${name}=${JSON.stringify(number)} must be positive, and finite${other ? ", or auto" : ""}.`);
      }
      const started = performance.now(), view = new pixels.View(image);
      const exposure = pixels.brightnessAndContrast(view.sample);
      let tried = 0;
      const heat = (part) => {
        progress(Math.min(0.3, 0.03 + 0.05 * tried++)); // some five sizes are tried
        return this.heat(part, exposure);
      };
      const seen = await looks.look(view, heat, this.settings, this.counting, { cellWidth, pixelSize });
      const shape = view.shape(seen.scale), places = tiles(shape), parts = [];
      const whole = shape[0] * shape[1] <= LARGE ? view.window(seen.scale, 0, shape[0], 0, shape[1]) : null;
      for (const [i, { window, core }] of places.entries()) {
        progress(0.3 + (0.7 * i) / places.length);
        const part = whole ? cut(whole, window) : view.window(seen.scale, ...window);
        parts.push({ core, ...this._points(await this.heat(part, exposure), part, window) });
      }
      progress(1);
      view.release();
      return new Counted(this, view, seen, parts, (performance.now() - started) / 1000);
    }

    /** The peaks of the heatmap of a window, px of the whole view; none on the network's padding. */
    _points(heat, { height, width }, window) {
      const { factor, peak_distance: distance, threshold } = this.settings;
      const found = pixels.peaks(heat, Math.min(KEPT, threshold / 2), distance), kept = [];
      for (let i = 0; i < found.points.length; i++) found.points[i] = fround(found.points[i] + 0.5) * factor - 0.5;
      for (let i = 0; i < found.scores.length; i++) {
        const y = found.points[2 * i], x = found.points[2 * i + 1];
        if (y > -0.5 && x > -0.5 && y < height - 0.5 && x < width - 0.5) kept.push(i);
      }
      return {
        points: Float32Array.from({ length: 2 * kept.length }, (_, i) => found.points[2 * kept[i >> 1] + (i % 2)] + window[2 * (i % 2)]),
        scores: Float32Array.from(kept, (i) => found.scores[i]),
        heights: Float32Array.from(kept, (i) => found.heights[i]),
      };
    }
  }

  /** Rows y0 to y1 and columns x0 to x1 of an image. */
  function cut(image, [y0, y1, x0, x1]) {
    const height = y1 - y0, width = x1 - x0;
    if (height === image.height && width === image.width) return image;
    const data = new Float32Array(height * width);
    for (let y = 0; y < height; y++) {
      const start = (y + y0) * image.width + x0;
      data.set(image.data.subarray(start, start + width), y * width);
    }
    return { data, height, width };
  }

  /**
   * The count of one image.
   *
   * scale : by which the image was resampled; cellWidth : px or null; warnings : how it is unlike the training images;
   * padding : share of constant area, or 0; seconds; threshold : that of the weights.
   */
  class Counted {
    constructor(engine, view, seen, parts, seconds) {
      Object.assign(this, { engine, view, parts, seconds, scale: seen.scale, cellWidth: seen.cellWidth });
      this.warnings = seen.warnings;
      this.threshold = engine.settings.threshold;
      this.padding = view.padding ? view.padding.reduce((sum, one) => sum + one, 0) / view.padding.length : 0;
      // An interval holds for images like the training images.
      this.rule = seen.warnings.length || !seen.told ? null : engine.counting.interval;
    }

    /**
     * {points (Float32Array y, x, y, x, ... px of the image), scores, count, interval}, the highest score first; without
     * an interval for another threshold than the weights' own.
     */
    at(threshold = this.threshold) {
      if (!(threshold > 0)) throw new CellcountError(`threshold=${threshold} must be positive.`);
      const found = assembled(this.parts, threshold);
      const points = Float32Array.from({ length: 2 * found.length }, (_, i) => found[i >> 1][i % 2]);
      this.view.back(points, this.scale);
      const kept = found.map((_, i) => i).filter((i) => !this.view.hides(points[2 * i], points[2 * i + 1]));
      const own = threshold === this.threshold && this.rule;
      return {
        points: Float32Array.from({ length: 2 * kept.length }, (_, i) => points[2 * kept[i >> 1] + (i % 2)]),
        scores: Float32Array.from(kept, (i) => found[i][2]),
        count: kept.length,
        interval: own ? intervalOf(own, kept.length) : null,
      };
    }

    /**
     * Count and interval after corrections by hand: numbers of cells `added` and of counted ones `removed`.
     *
     * See the function `corrected`.
     */
    corrected({ added = 0, removed = 0, threshold = this.threshold } = {}) {
      const { count, interval } = this.at(threshold);
      return corrected(count, interval && this.rule, { added, removed });
    }

    /**
     * Peaks to look at, the most doubtful first: {y, x, score, counted, doubt} each, those without doubt left out.
     *
     * The doubt is what cellcount.metrics.doubt adds up over a crop, here peak by peak: 0.5 for a peak at the threshold,
     * counted or not, less for others, down to 0 at half the threshold and at one and a half times it; and 0.1 for a
     * counted point whose nearest neighbour is closer than 0.7 of the median distance of neighbours. Turned views, which
     * Python leaves out, too, unless it is asked for them, are not counted.
     */
    doubts(threshold = this.threshold) {
      const counted = this.at(threshold), all = this.at(threshold / 2), n = counted.scores.length;
      const apart = neighbours(counted.points), key = (points, i) => `${points[2 * i]} ${points[2 * i + 1]}`;
      const usual = n > 1 ? CLOSE * middleOf(apart) : 0, close = new Set(), own = new Set();
      for (let i = 0; i < n; i++) {
        own.add(key(counted.points, i));
        if (n > 1 && apart[i] < usual) close.add(key(counted.points, i));
      }
      const found = [];
      for (let i = 0; i < all.scores.length; i++) {
        const score = all.scores[i], name = key(all.points, i);
        const near = Math.max(0, 0.5 * (1 - Math.abs(score / threshold - 1) / NEAR));
        const doubt = near + (close.has(name) ? CROWDED : 0);
        if (doubt > 0) found.push({ y: all.points[2 * i], x: all.points[2 * i + 1], score, counted: own.has(name), doubt });
      }
      return found.sort((a, b) => b.doubt - a.doubt);
    }
  }

  function middleOf(values) {
    const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  /** Distance of each point (y, x, y, x, ...) to its nearest neighbour, px; Infinity for a single one. */
  function neighbours(points) {
    const n = points.length / 2, order = Array.from({ length: n }, (_, i) => i);
    order.sort((a, b) => points[2 * a] - points[2 * b]);
    const found = new Float64Array(n).fill(Infinity);
    for (let k = 0; k < n; k++) {
      const i = order[k];
      for (const step of [-1, 1]) {
        for (let other = k + step; other >= 0 && other < n; other += step) {
          const j = order[other], down = points[2 * j] - points[2 * i];
          if (Math.abs(down) >= found[i]) break; // all further ones are farther, too
          found[i] = Math.min(found[i], Math.hypot(down, points[2 * j + 1] - points[2 * i + 1]));
        }
      }
    }
    return found;
  }

  Object.assign(cellcount, { Engine, Counted, metadata, intervalOf, corrected });
})(typeof self !== "undefined" ? self : globalThis);
