"use strict";
// What counting does with arrays of pixels: quantiles, resampling, padding, peaks of a map.
//
// A port of cellcount/io/views.py and cellcount/methods/pixels.py, which say why each step is as it is. An image is
// {data, height, width}, data a Float32Array, row by row; a mask is a Uint8Array. Coordinates are (y, x) px from the
// centre of the top-left pixel. NumPy computes in single precision where its arrays have it: so does Math.fround here.

(function (root) {
  const cellcount = (root.cellcount = root.cellcount || {});
  const fround = Math.fround;

  const BLOCK = 8; // px; the smallest constant square that may be padding
  const LEAST = 4096; // px; smaller constant areas are saturated cells
  const CONTENT = 48; // px; an image has a square of this side that is no padding
  const COLOURS = 4; // values that padding has, at most
  const AREAS = 16; // areas of each, at most
  const STEP = 0.02; // beside padding, values differ by more
  const PARTS = 9; // of each side, whose contrast is compared
  const RIM = 4; // px beside padding, where JPEG mixes its value with those of the image
  const SIDE = 2; // px of the source on each side of a window, for the bicubic filter, times the reduction

  /** An error that a user can meet, as DataError and ParameterError of Python: its message is shown as it is. */
  class CellcountError extends Error {}

  /** Rounds half to even, as Python does. */
  function roundEven(value) {
    const low = Math.floor(value), part = value - low;
    return part < 0.5 || (part === 0.5 && low % 2 === 0) ? low : low + 1;
  }

  // ---- quantiles

  /** The values of these ranks (from 0, rising) among float32 values, by histograms of their bits instead of sorting. */
  function ranked(values, ranks) {
    if (values.length < 1e5) {
      const sorted = Float32Array.from(values).sort();
      return ranks.map((rank) => sorted[rank]);
    }
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    // Bits rise with the value if the sign bit is turned, and all bits of negative values are.
    const upper = new Uint32Array(65536), n = bits.length;
    for (let i = 0; i < n; i++) {
      const b = bits[i];
      upper[(b & 0x80000000 ? ~b >>> 16 : (b | 0x80000000) >>> 16)]++;
    }
    const lower = new Map();
    const places = ranks.map((rank) => {
      let bin = 0, before = 0;
      while (before + upper[bin] <= rank) before += upper[bin++];
      if (!lower.has(bin)) lower.set(bin, new Uint32Array(65536));
      return { bin, rest: rank - before };
    });
    const wanted = new Array(65536);
    for (const [bin, counts] of lower) wanted[bin] = counts;
    for (let i = 0; i < n; i++) {
      const b = bits[i], key = b & 0x80000000 ? ~b : b | 0x80000000;
      const counts = wanted[key >>> 16];
      if (counts !== undefined) counts[key & 65535]++;
    }
    const one = new Uint32Array(1), value = new Float32Array(one.buffer);
    return places.map(({ bin, rest }) => {
      const counts = lower.get(bin);
      let low = 0, before = 0;
      while (before + counts[low] <= rest) before += counts[low++];
      const key = ((bin << 16) | low) >>> 0;
      one[0] = key & 0x80000000 ? key & 0x7fffffff : ~key;
      return value[0];
    });
  }

  /** Percentiles (0 to 100) of a Float32Array, interpolated linearly, as numpy.percentile does. */
  function percentiles(values, percents) {
    const places = percents.map((percent) => (values.length - 1) * (percent / 100));
    const ranks = places.flatMap((at) => [Math.floor(at), Math.min(Math.floor(at) + 1, values.length - 1)]);
    const found = ranked(values, ranks);
    return places.map((at, i) => {
      const a = found[2 * i], b = found[2 * i + 1], share = at - Math.floor(at), apart = fround(b - a);
      return share >= 0.5 ? b - apart * (1 - share) : a + apart * share;
    });
  }

  /** The median of a Float32Array. */
  function median(values) {
    const half = values.length >> 1;
    const [a, b] = ranked(values, [values.length % 2 ? half : half - 1, half]);
    return fround(fround(a + b) / 2);
  }

  /** Every `step`-th row and column of an image, as a Float32Array. */
  function strided(image, step, top = 0, left = 0, bottom = image.height, right = image.width) {
    if (step === 1 && !top && !left && bottom === image.height && right === image.width) return image.data;
    const rows = Math.ceil((bottom - top) / step), columns = Math.ceil((right - left) / step);
    const found = new Float32Array(rows * columns);
    for (let y = top, k = 0; y < bottom; y += step) {
      const row = y * image.width;
      for (let x = left; x < right; x += step) found[k++] = image.data[row + x];
    }
    return found;
  }

  /** [median, half the range from the 16th to the 84th percentile] of an image; 1 instead of 0 for the latter. */
  function brightnessAndContrast(image) {
    const step = Math.max(1, Math.trunc(Math.sqrt(image.data.length / 1e6))); // a million pixels are enough
    const [low, middle, high] = percentiles(strided(image, step), [16, 50, 84]);
    return [middle, (high - low) / 2 || 1];
  }

  /** Standard deviation of values. */
  function deviation(values) {
    let sum = 0, squares = 0;
    for (let i = 0; i < values.length; i++) sum += values[i];
    const mean = sum / values.length;
    for (let i = 0; i < values.length; i++) squares += (values[i] - mean) ** 2;
    return Math.sqrt(squares / values.length);
  }

  // ---- resampling

  function bicubic(x) {
    x = Math.abs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
  }

  /** Pillow's coefficients for one axis: `first` source px of each px, how many, and their weights (`most` each). */
  function coefficients(side, start, end, length) {
    start = fround(start); // Pillow's boxes are in single precision
    const scale = fround(fround(end) - start) / length, wide = Math.max(scale, 1);
    const support = 2 * wide, most = Math.ceil(support) * 2 + 1;
    const first = new Int32Array(length), number = new Int32Array(length), weights = new Float64Array(length * most);
    for (let i = 0; i < length; i++) {
      const centre = start + (i + 0.5) * scale;
      const low = Math.max(0, Math.trunc(centre - support + 0.5));
      const high = Math.min(side, Math.trunc(centre + support + 0.5));
      let sum = 0;
      for (let k = 0; k < high - low; k++) sum += weights[i * most + k] = bicubic((k + low - centre + 0.5) * (1 / wide));
      for (let k = 0; sum && k < high - low; k++) weights[i * most + k] /= sum;
      first[i] = low;
      number[i] = high - low;
    }
    return { first, number, weights, most };
  }

  /** An image resampled to height x width px from its box [y0, x0, y1, x1], px, as Pillow's bicubic resize does. */
  function resized(image, height, width, box = [0, 0, image.height, image.width]) {
    const across = coefficients(image.width, box[1], box[3], width);
    const down = coefficients(image.height, box[0], box[2], height);
    const from = down.first[0], rows = down.first[height - 1] + down.number[height - 1] - from;
    const between = new Float32Array(rows * width), data = new Float32Array(height * width), row = new Float64Array(width);
    for (let y = 0; y < rows; y++) {
      const start = (y + from) * image.width;
      for (let x = 0; x < width; x++) {
        let sum = 0;
        const first = start + across.first[x], n = across.number[x], k0 = x * across.most;
        for (let k = 0; k < n; k++) sum += image.data[first + k] * across.weights[k0 + k];
        between[y * width + x] = sum;
      }
    }
    for (let y = 0; y < height; y++) {
      row.fill(0);
      for (let k = 0; k < down.number[y]; k++) {
        const weight = down.weights[y * down.most + k], start = (down.first[y] - from + k) * width;
        for (let x = 0; x < width; x++) row[x] += between[start + x] * weight;
      }
      data.set(row, y * width);
    }
    return { data, height, width };
  }

  // ---- padding

  /** A mask, widened by `reach` px to all sides, corners included. */
  function dilated(mask, height, width, reach) {
    const wide = new Uint8Array(mask.length), found = new Uint8Array(mask.length);
    for (let y = 0; y < height; y++) {
      const row = y * width;
      for (let x = 0, last = -1e9, next = -1; x < width; x++) {
        // `next` is the farthest px looked at; the nearest set one on either side decides.
        while (next < Math.min(width - 1, x + reach)) if (mask[row + ++next]) last = next;
        if (last >= x - reach) wide[row + x] = 1;
      }
    }
    const last = new Int32Array(width).fill(-1e9);
    for (let y = 0, next = -1; y < height; y++) {
      while (next < Math.min(height - 1, y + reach)) {
        next++;
        for (let x = 0; x < width; x++) if (wide[next * width + x]) last[x] = next;
      }
      for (let x = 0; x < width; x++) if (last[x] >= y - reach) found[y * width + x] = 1;
    }
    return found;
  }

  /** Connected areas of a mask, corners included, in the order of their first px: an array of arrays of indices. */
  function areasOf(mask, height, width) {
    const left = Uint8Array.from(mask), areas = [];
    for (let start = 0; start < left.length; start++) {
      if (!left[start]) continue;
      const area = [start];
      left[start] = 0;
      for (let i = 0; i < area.length; i++) {
        const y = Math.floor(area[i] / width), x = area[i] - y * width;
        for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
          for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
            const at = v * width + u;
            if (left[at]) (left[at] = 0), area.push(at);
          }
        }
      }
      areas.push(area);
    }
    return areas;
  }

  /** The constant areas of an image in [0, 1], of any form, as a mask; null if there is none. */
  function padding(image) {
    const { data, height, width } = image;
    const rows = Math.floor(height / BLOCK), columns = Math.floor(width / BLOCK);
    const flat = new Uint8Array(rows * columns), counts = new Map();
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        const corner = r * BLOCK * width + c * BLOCK, value = data[corner], end = corner + (BLOCK - 1) * width;
        if (data[corner + BLOCK - 1] !== value || data[end] !== value || data[end + BLOCK - 1] !== value) continue;
        let same = true;
        for (let y = corner; same && y <= end; y += width) {
          for (let x = 0; x < BLOCK; x++) if (data[y + x] !== value) same = false;
        }
        if (!same) continue;
        flat[r * columns + c] = 1;
        counts.set(value, (counts.get(value) || 0) + 1);
      }
    }
    let total = 0;
    for (const number of counts.values()) total += number;
    if (total * BLOCK ** 2 < LEAST) return null;
    const large = [...counts].filter(([, number]) => number * BLOCK ** 2 >= LEAST).map(([value]) => value);
    if (large.length > COLOURS) return null; // strong compression, or a drawing
    const found = new Uint8Array(height * width);
    let any = false;
    for (const value of large.sort((a, b) => a - b)) {
      const own = flat.map((one, i) => one & (data[Math.floor(i / columns) * BLOCK * width + (i % columns) * BLOCK] === value));
      const areas = areasOf(own, rows, columns).filter((area) => area.length * BLOCK ** 2 >= LEAST);
      for (const area of areas.slice(0, AREAS)) {
        const mask = new Uint8Array(rows * columns);
        for (const at of area) mask[at] = 1;
        const near = dilated(mask, rows, columns, 1), inside = new Uint8Array(height * width);
        for (let y = 0; y < height; y++) {
          const r = Math.min(Math.floor(y / BLOCK), rows - 1) * columns;
          for (let x = 0; x < width; x++) {
            if (near[r + Math.min(x >> 3, columns - 1)] && data[y * width + x] === value) inside[y * width + x] = 1;
          }
        }
        const around = dilated(inside, height, width, 2), apart = [];
        for (let i = 0; i < around.length; i++) if (around[i] && !inside[i]) apart.push(Math.abs(fround(data[i] - value)));
        if (apart.length && median(Float32Array.from(apart)) >= fround(STEP)) {
          any = true;
          for (let i = 0; i < inside.length; i++) found[i] |= inside[i];
        }
      }
    }
    // Else it is the ground of small objects.
    return any && dilated(found, height, width, CONTENT / 2).includes(0) ? found : null;
  }

  /** Index of the nearest px outside of a mask, for each px in it; other px have their own. At least one is outside. */
  function nearestOutside(mask, height, width) {
    const row = new Int32Array(height * width).fill(-1), found = new Int32Array(height * width);
    for (let x = 0; x < width; x++) {
      for (let y = 0, last = -1; y < height; y++) row[y * width + x] = last = mask[y * width + x] ? last : y;
      for (let y = height - 1, next = -1; y >= 0; y--) {
        const i = y * width + x;
        if (!mask[i]) next = y;
        else if (next >= 0 && (row[i] < 0 || next - y < y - row[i])) row[i] = next;
      }
    }
    const hull = new Int32Array(width), from = new Float64Array(width + 1);
    for (let y = 0; y < height; y++) { // lower envelope of parabolas (Felzenszwalb and Huttenlocher 2012)
      const start = y * width;
      let last = -1;
      const height2 = (x) => (row[start + x] - y) ** 2;
      for (let x = 0; x < width; x++) {
        if (row[start + x] < 0) continue;
        let cut = -Infinity;
        while (last >= 0) {
          const other = hull[last];
          cut = (height2(x) + x * x - height2(other) - other * other) / (2 * (x - other));
          if (cut > from[last]) break;
          last--;
        }
        hull[++last] = x;
        from[last] = last ? cut : -Infinity;
      }
      from[last + 1] = Infinity;
      for (let x = 0, k = 0; x < width; x++) {
        while (from[k + 1] < x) k++;
        found[start + x] = row[start + hull[k]] * width + hull[k];
      }
    }
    return found;
  }

  // ---- views

  /** Centre [y, x], px, of the part of an image, a third of its sides, with the highest contrast. */
  function busiestOf(image) {
    const ends = [image.height, image.width].map((side) => {
      const n = Math.min(side, PARTS);
      return Array.from({ length: n + 1 }, (_, i) => (i === n ? side : Math.trunc(i * (side / n))));
    });
    const [rows, columns] = ends, h = rows.length - 1, w = columns.length - 1;
    const some = [];
    for (let r = 0; r < h; r++) {
      for (let c = 0; c < w; c++) some.push(deviation(strided(image, 2, rows[r], columns[c], rows[r + 1], columns[c + 1])));
    }
    const tall = Math.ceil(h / 3), wide = Math.ceil(w / 3);
    let best = -1, at = [0, 0];
    for (let r = 0; r + tall <= h; r++) {
      for (let c = 0; c + wide <= w; c++) {
        let sum = 0;
        for (let v = r; v < r + tall; v++) for (let u = c; u < c + wide; u++) sum += some[v * w + u];
        if (sum > best * (1 + 1e-6)) (best = sum), (at = [(rows[r] + rows[r + tall]) / 2, (columns[c] + columns[c + wide]) / 2]);
      }
    }
    return at;
  }

  /** An image as the network sees it: without padding, and at any scale; see cellcount.io.views.View. */
  class View {
    constructor(image) {
      const { data, height, width } = image;
      this.image = image;
      this.padding = padding(image);
      this.sample = this.shown = image;
      this.middle = [(height - 1) / 2, (width - 1) / 2];
      if (this.padding) {
        let top = height, bottom = 0, left = width, right = 0, n = 0;
        const kept = new Float32Array(data.length);
        for (let i = 0; i < data.length; i++) {
          if (this.padding[i]) continue;
          const y = Math.floor(i / width), x = i - y * width;
          (top = Math.min(top, y)), (bottom = Math.max(bottom, y)), (left = Math.min(left, x)), (right = Math.max(right, x));
          kept[n++] = data[i];
        }
        this.middle = [(top + bottom) / 2, (left + right) / 2];
        const rows = Math.max(1, Math.trunc(Math.sqrt(n))), columns = Math.floor(n / rows);
        this.sample = { data: kept.slice(0, rows * columns), height: rows, width: columns };
        this.value = median(this.sample.data);
        this.near = dilated(this.padding, height, width, RIM);
        this.shown = { data: data.map((one, i) => (this.near[i] ? this.value : one)), height, width };
      }
    }

    /** Centre [y, x], px of the image, of the part with the highest contrast. */
    get busiest() {
      return (this._busiest = this._busiest || busiestOf(this.shown));
    }

    /** [height, width], px, after resampling by a scale. */
    shape(scale) {
      return [this.image.height, this.image.width].map((side) => Math.max(1, roundEven(side * scale)));
    }

    /** Rows y0 to y1 and columns x0 to x1 of the image resampled by a scale. */
    window(scale, y0, y1, x0, x1) {
      if (scale === 1) return this._source(y0, y1, x0, x1);
      const own = [this.image.height, this.image.width], shape = this.shape(scale);
      const steps = own.map((side, i) => side / shape[i]);
      const box = [y0 * steps[0], x0 * steps[1], y1 * steps[0], x1 * steps[1]];
      const margin = Math.ceil(SIDE * Math.max(1, ...steps)) + 1;
      const top = Math.max(0, Math.trunc(box[0]) - margin), left = Math.max(0, Math.trunc(box[1]) - margin);
      const bottom = Math.min(Math.ceil(box[2]) + margin, own[0]), right = Math.min(Math.ceil(box[3]) + margin, own[1]);
      const pixels = this._source(top, bottom, left, right);
      return resized(pixels, y1 - y0, x1 - x0, [box[0] - top, box[1] - left, box[2] - top, box[3] - left]);
    }

    /** A window of the image, the image mirrored into its padding. */
    _source(y0, y1, x0, x1) {
      const { image } = this, height = y1 - y0, width = x1 - x0;
      if (!this.padding && height === image.height && width === image.width) return image;
      const cut = (from, into) => {
        for (let y = 0; y < height; y++) {
          const start = (y + y0) * image.width + x0;
          into.set(from.subarray(start, start + width), y * width);
        }
        return into;
      };
      const data = cut(image.data, new Float32Array(height * width));
      if (!this.padding) return { data, height, width };
      const hidden = cut(this.near, new Uint8Array(height * width));
      if (!hidden.includes(0)) return { data: data.fill(this.value), height, width };
      if (!hidden.includes(1)) return { data, height, width };
      const edge = nearestOutside(hidden, height, width), filled = data.slice();
      for (let i = 0; i < hidden.length; i++) {
        if (!hidden[i]) continue;
        const y = 2 * Math.floor(edge[i] / width) - Math.floor(i / width), x = 2 * (edge[i] % width) - (i % width);
        const inside = y >= 0 && y < height && x >= 0 && x < width && !hidden[y * width + x];
        filled[i] = data[inside ? y * width + x : edge[i]];
      }
      return { data: filled, height, width };
    }

    /** Points (Float32Array y, x, y, x, ...) of the view at a scale as points of the image, in place. */
    back(points, scale) {
      if (scale === 1) return points;
      const shape = this.shape(scale);
      const steps = [fround(this.image.height / shape[0]), fround(this.image.width / shape[1])];
      for (let i = 0; i < points.length; i++) points[i] = fround(fround(fround(points[i] + 0.5) * steps[i % 2]) - 0.5);
      return points;
    }

    /** Drops the pixels: only sizes and padding are kept, with which points can be converted. */
    release() {
      this.image = { height: this.image.height, width: this.image.width };
      this.sample = this.shown = this.near = null;
    }

    /** Whether a point of the image is in its padding. */
    hides(y, x) {
      if (!this.padding) return false;
      const { height, width } = this.image;
      const row = Math.min(Math.max(roundEven(y), 0), height - 1), column = Math.min(Math.max(roundEven(x), 0), width - 1);
      return this.padding[row * width + column] === 1;
    }
  }

  // ---- peaks

  /**
   * Local maxima of a heatmap {data, height, width}: {points, scores, heights}, Float32Arrays, the highest score first.
   *
   * A plateau is one peak at its centre; its height decides whether it is above a threshold, and its score, which is
   * lower only for bent plateaus, is the heatmap at its centre.
   */
  function peaks(heat, threshold, distance) {
    const { data, height, width } = heat, reach = Math.ceil(distance), least = fround(threshold), offsets = [];
    for (let y = -reach; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++) if ((y || x) && y * y + x * x <= distance ** 2) offsets.push([y, x]);
    }
    offsets.sort((a, b) => a[0] ** 2 + a[1] ** 2 - b[0] ** 2 - b[1] ** 2); // near px first: they decide most
    const flat = Int32Array.from(offsets, ([y, x]) => y * width + x), at = [];
    for (let y = 0, i = 0; y < height; y++) {
      const inner = y >= reach && y < height - reach;
      for (let x = 0; x < width; x++, i++) {
        const value = data[i];
        if (!(value >= least)) continue;
        let k = 0;
        if (inner && x >= reach && x < width - reach) {
          while (k < flat.length && data[i + flat[k]] <= value) k++;
        } else {
          for (; k < flat.length; k++) {
            const v = y + offsets[k][0], u = x + offsets[k][1];
            if (v >= 0 && v < height && u >= 0 && u < width && !(data[v * width + u] <= value)) break;
          }
        }
        if (k === flat.length) at.push(i);
      }
    }
    const found = plateaus(at, height, width).map((members) => {
      let y = 0, x = 0;
      for (const i of members) (y += Math.floor(i / width)), (x += i % width);
      y = roundEven(y / members.length);
      x = roundEven(x / members.length);
      const i = y * width + x;
      return [y + vertex(data, i, y, height, width), x + vertex(data, i, x, width, 1), data[i], data[members[0]]];
    });
    found.sort((a, b) => b[2] - a[2]);
    const points = new Float32Array(2 * found.length);
    found.forEach(([y, x], i) => ((points[2 * i] = y), (points[2 * i + 1] = x)));
    return { points, scores: Float32Array.from(found, (one) => one[2]), heights: Float32Array.from(found, (one) => one[3]) };
  }

  /** Groups of px that touch, of indices in rising order, in the order of their first px. */
  function plateaus(at, height, width) {
    const mask = new Uint8Array(height * width);
    for (const i of at) mask[i] = 1;
    const touches = at.some((i) => {
      const x = i % width, below = i + width < mask.length;
      return (x + 1 < width && mask[i + 1]) || (below && (mask[i + width] || (x && mask[i + width - 1]) || (x + 1 < width && mask[i + width + 1])));
    });
    return touches ? areasOf(mask, height, width) : at.map((i) => [i]);
  }

  /** Offset of the maximum from px i of a map along an axis, at most half a px; 0 at borders. */
  function vertex(data, i, along, side, step) {
    if (along === 0 || along === side - 1) return 0;
    const log = (value) => fround(Math.log(Math.max(value, fround(1e-6))));
    const low = log(data[i - step]), middle = log(data[i]), high = log(data[i + step]);
    const curvature = fround(fround(low - fround(2 * middle)) + high);
    if (!(curvature < 0)) return 0;
    return Math.min(0.5, Math.max(-0.5, fround(fround(0.5 * fround(low - high)) / curvature)));
  }

  Object.assign(cellcount, { CellcountError, roundEven });
  cellcount.pixels = { percentiles, median, strided, brightnessAndContrast, deviation, resized, padding, dilated, View, peaks };
})(typeof self !== "undefined" ? self : globalThis);
