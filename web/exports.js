"use strict";
// What the page writes: points as CSV and for Label Studio, counts as CSV, and the image with its marks as PNG.
//
// The formats are those of cellcount/io/tables.py, cellcount/io/labelstudio.py and cellcount/io/overlays.py. An image is
// {name, height, width, gray, corrections, found: {points, scores}}; see page.js.

(function (root) {
  const cellcount = (root.cellcount = root.cellcount || {});
  const { fixed } = cellcount.looks;
  const COLOURS = { found: "#E69F00", added: "#56B4E9" };
  const BAND = 512; // rows that are drawn at once

  const FORMULA = /(^|[;\t\r\n])('*[=+\-@\uff1d\uff0b\uff0d\uff20])/g; // `as_cell` of cellcount/files.py
  const cell = (value) => (typeof value === "string" && Number.isNaN(Number(value)) ? value.replace(FORMULA, "$1'$2") : value);
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : String(text));
  const field = (value) => quoted(cell(value));
  const table = (rows) => rows.map((row) => row.map(field).join(",") + "\r\n").join("");

  /** The points of images as `cellcount count` writes them; of corrected ones with a column origin. */
  function points(images) {
    const origins = images.some((one) => one.corrections.changed), rows = [["image", "y", "x", "label", "score"]];
    if (origins) rows[0].push("origin");
    for (const { name, corrections } of images) {
      const { changed, kept, added } = corrections;
      const own = [...kept.map((mark) => [mark, "prediction"]), ...added.map((mark) => [mark, "manual"])];
      for (const [mark, origin] of own) {
        const row = [name, fixed(mark.y, 2), fixed(mark.x, 2), "", mark.score === null ? "" : fixed(mark.score, 3)];
        rows.push(origins ? [...row, changed ? origin : ""] : row);
      }
      if (!own.length) rows.push([name, ...new Array(origins ? 5 : 4).fill("")]);
    }
    return table(rows);
  }

  /** One line for each image. */
  function counts(images) {
    const rows = [["image", "count", "low", "high", "added", "removed", "cell_width_px", "threshold", "warnings"]];
    for (const one of images) {
      const { count, interval } = one.result, { added, removed } = one.corrections.numbers;
      const ends = interval ? interval.map((end) => fixed(end, 1)) : ["", ""], width = one.cellWidth ? fixed(one.cellWidth, 1) : "";
      rows.push([one.name, count, ...ends, added, removed, width, fixed(one.threshold, 3), one.warnings.join(" ")]);
    }
    return table(rows);
  }

  /** Tasks of Label Studio: the points as an annotation, and what the network found as a prediction. */
  function labelStudio(images) {
    const tasks = images.map((one) => {
      const { height, width, name, corrections } = one, { kept, added, changed } = corrections;
      const percent = (value, side) => Math.min(100, Math.max(0, ((value + 0.5) / side) * 100));
      const region = (mark, number, origin) => ({
        id: `c${number}`, from_name: "kp-1", to_name: "img-1", type: "keypoint",
        original_width: width, original_height: height, image_rotation: 0,
        value: { x: percent(mark.x, width), y: percent(mark.y, height), width: 0.4 },
        ...(mark.score === null ? {} : { score: mark.score }), ...(origin ? { origin } : {}),
      });
      const result = [...kept.map((mark) => [mark, "prediction"]), ...added.map((mark) => [mark, "manual"])];
      const found = corrections.found.map((mark, i) => region(mark, i + 1));
      const prediction = { model_version: "cellnet", result: found };
      if (found.length) prediction.score = found.reduce((sum, mark) => sum + mark.score, 0) / found.length;
      return {
        data: { image: name.replace(/[%#?:;[\]]/g, encodeURIComponent) },
        annotations: [
          { was_cancelled: false, result: result.map(([mark, origin], i) => region(mark, i + 1, changed && origin)) },
        ],
        predictions: [prediction],
      };
    });
    return JSON.stringify(tasks);
  }

  /** About a quarter of the distance of neighbours, px, so that the rings of neighbours do not touch. */
  function radiusOf(marks) {
    if (marks.length < 3) return 6.5;
    const step = Math.max(1, Math.floor(marks.length ** 2 / 200000)), apart = [];
    for (let i = 0; i < marks.length; i += step) {
      let least = Infinity;
      for (const other of marks) {
        const squared = (other.y - marks[i].y) ** 2 + (other.x - marks[i].x) ** 2;
        if (squared && squared < least) least = squared;
      }
      apart.push(least);
    }
    apart.sort((a, b) => a - b);
    return Math.min(20, Math.max(2.5, 0.27 * Math.sqrt(apart[apart.length >> 1])));
  }

  /** Rows of gray values as pixels of a canvas. */
  function rgba(gray, start, end) {
    const data = new Uint32Array(end - start);
    for (let i = start; i < end; i++) data[i - start] = 0xff000000 | (gray[i] * 0x010101);
    return new Uint8ClampedArray(data.buffer);
  }

  /** The image at its full resolution with its marks, a Blob of a PNG: rings where found, plus signs where added. */
  async function picture({ name, height, width, gray, corrections }) {
    const canvas = Object.assign(document.createElement("canvas"), { width, height }), context = canvas.getContext("2d");
    const failed = `${name}: this browser cannot draw a picture of ${width} x ${height} px. Save the points as CSV.`;
    if (!context) throw new cellcount.CellcountError(failed);
    for (let top = 0; top < height; top += BAND) {
      const rows = Math.min(BAND, height - top);
      context.putImageData(new ImageData(rgba(gray, top * width, (top + rows) * width), width, rows), 0, top);
    }
    const r = radiusOf(corrections.live);
    context.lineWidth = r >= 5 ? 2 : 1;
    context.strokeStyle = COLOURS.found;
    for (const { y, x } of corrections.kept) {
      context.beginPath();
      context.arc(x + 0.5, y + 0.5, r, 0, 2 * Math.PI);
      context.stroke();
    }
    context.strokeStyle = COLOURS.added;
    context.beginPath();
    for (const { y, x } of corrections.added) {
      context.moveTo(x + 0.5 - r, y + 0.5), context.lineTo(x + 0.5 + r, y + 0.5);
      context.moveTo(x + 0.5, y + 0.5 - r), context.lineTo(x + 0.5, y + 0.5 + r);
    }
    context.stroke();
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    canvas.width = canvas.height = 0; // frees its memory at once
    if (!blob) throw new cellcount.CellcountError(failed);
    return blob;
  }

  function save(content, name, type) {
    const blob = content instanceof Blob ? content : new Blob([content], { type });
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  cellcount.exports = { points, counts, labelStudio, picture, save, table, radiusOf, rgba };
})(self);
