"use strict";
/* The viewer of the book: simulated fields with layers (true cells, clicks, outlines, what methods found, false points,
   missed cells), and two methods side by side of a movable line. OpenSeadragon zooms and pans; marks are drawn on a canvas
   over it. Without JavaScript, and in print, the figures of the page are there.

   <div class="cellcount-look" data-source="FOLDER/"></div>; the folder is written by workflow/look.py. */

(() => {
  const LAYERS = {  // key: [label, shown at first]
    image: ["image", true], outlines: ["outlines of the true cells", false], cells: ["true cells", false],
    clicks: ["clicks of a simulated annotator", false], found: ["found cells", true], false: ["false points", true],
    missed: ["missed cells", true],
  };
  const MARKS = {  // as plots.style.MARKS
    cells: ["#56B4E9", "dot"], clicks: ["#F0E442", "plus"], found: [null, "ring"], false: ["#D55E00", "cross"],
    missed: ["#F0E442", "square"],
  };
  const HALF = 7;  // px of the image, from the centre of a mark to its end

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function labelled(text, control) {
    return element("label", {}, `${text} `, control);
  }

  function chooser(names, chosen) {
    const made = element("select");
    for (const name of names) made.append(element("option", { value: name }, name));
    made.value = chosen;
    return made;
  }

  function mark(context, kind, x, y, half) {
    context.beginPath();
    if (kind === "ring") context.arc(x, y, half, 0, 2 * Math.PI);
    else if (kind === "dot") context.arc(x, y, half / 4, 0, 2 * Math.PI);
    else if (kind === "square") context.rect(x - half, y - half, 2 * half, 2 * half);
    else {
      const [a, b] = kind === "cross" ? [half * 0.75, half * 0.75] : [half, 0];
      context.moveTo(x - a, y - b); context.lineTo(x + a, y + b);
      context.moveTo(x - b, y + a); context.lineTo(x + b, y - a);
    }
    context.stroke();
  }

  class Look {
    constructor(place, data, source) {
      this.data = data;
      this.source = source;
      const names = Object.keys(data.fields[0].methods);
      this.field = chooser(data.fields.map((field) => field.name), data.fields[data.fields.length - 1].name);
      this.left = chooser(names, names[0]);
      this.right = chooser([...names, "nothing"], names[1] || "nothing");
      this.divider = element("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "border between both methods" });
      this.boxes = {};
      const layers = element("fieldset", {}, element("legend", {}, "Layers"));
      for (const [key, [text, on]] of Object.entries(LAYERS)) {
        this.boxes[key] = element("input", { type: "checkbox" });
        this.boxes[key].checked = on;
        layers.append(element("label", {}, this.boxes[key], ` ${text}`));
      }
      this.figure = element("div", { class: "cellcount-look-view", role: "img" });
      this.numbers = element("p", { class: "cellcount-look-numbers", role: "status" });
      const choice = element("div", { class: "cellcount-look-choice" });
      choice.append(labelled("Field", this.field), labelled("left", this.left), labelled("right", this.right));
      place.replaceChildren(choice, layers, this.divider, this.figure, this.numbers);
      this.viewer = OpenSeadragon({
        element: this.figure, showNavigationControl: false, gestureSettingsMouse: { clickToZoom: false },
        maxZoomPixelRatio: 8, visibilityRatio: 1, imageSmoothingEnabled: true, animationTime: this.calm() ? 0 : 0.4,
      });
      this.canvas = element("canvas", { "aria-hidden": "true" });
      this.viewer.canvas.append(this.canvas);
      this.viewer.canvas.setAttribute("aria-label", "field; arrow keys move it, plus and minus zoom");
      for (const name of ["update-viewport", "open", "resize"]) this.viewer.addHandler(name, () => this.draw());
      this.field.addEventListener("change", () => this.open());
      for (const control of [this.left, this.right, this.divider, ...Object.values(this.boxes)]) {
        control.addEventListener("input", () => this.show());
      }
      this.open();
    }

    calm() {
      return matchMedia("(prefers-reduced-motion: reduce)").matches;
    }

    get shown() {
      return this.data.fields.find((field) => field.name === this.field.value);
    }

    open() {
      const { image, outlines } = this.shown;
      this.viewer.close();
      for (const [index, url] of [image, outlines].entries()) {
        this.viewer.addTiledImage({
          tileSource: { type: "image", url: this.source + url, buildPyramid: false }, index, success: () => this.show(),
        });
      }
    }

    show() {
      const { world } = this.viewer;
      for (let i = 0; i < world.getItemCount(); i++) {
        world.getItemAt(i).setOpacity(this.boxes[i ? "outlines" : "image"].checked ? 1 : 0);
      }
      this.divider.hidden = this.right.value === "nothing";
      const told = [this.left.value, this.right.value].filter((name) => name !== "nothing").map((name) => {
        const { count, f1, false: wrong, missed } = this.shown.methods[name];
        return `${name}: ${count} points for ${this.shown.cells.length} cells, ${wrong.length} false, ${missed.length} missed, F1 ${f1.toFixed(2)}.`;
      });
      this.numbers.textContent = told.join(" ");
      this.figure.setAttribute("aria-label", `${this.shown.name}. ${told.join(" ")}`);
      this.draw();
    }

    draw() {
      const { clientWidth: width, clientHeight: height } = this.figure;
      const ratio = window.devicePixelRatio || 1;
      if (!this.viewer.world.getItemCount()) return;
      this.canvas.width = width * ratio;
      this.canvas.height = height * ratio;
      const context = this.canvas.getContext("2d");
      context.scale(ratio, ratio);
      const item = this.viewer.world.getItemAt(0);
      const origin = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
      const zoom = (item.imageToViewerElementCoordinates(new OpenSeadragon.Point(1000, 0)).x - origin.x) / 1000;
      const layer = (points, kind, colour) => {
        const half = Math.max(3, HALF * zoom);
        for (const [style, wide] of [["#000000", 3.5], [colour, 1.75]]) {  // a dark rim, to be seen on any ground
          context.strokeStyle = style;
          context.lineWidth = wide;
          for (const [y, x] of points) mark(context, kind, origin.x + (x + 0.5) * zoom, origin.y + (y + 0.5) * zoom, half);
        }
      };
      for (const key of ["cells", "clicks"]) if (this.boxes[key].checked) layer(this.shown[key], MARKS[key][1], MARKS[key][0]);
      const both = this.right.value !== "nothing";
      const border = origin.x + (both ? this.divider.value / 100 : 1) * this.shown.width * zoom;
      for (const [name, from, to] of [[this.left.value, 0, border], [both ? this.right.value : null, border, width]]) {
        if (!name || to <= from) continue;
        context.save();
        context.beginPath();
        context.rect(from, 0, to - from, height);
        context.clip();
        for (const key of ["found", "false", "missed"]) {
          const [colour, kind] = MARKS[key];
          if (this.boxes[key].checked) layer(this.shown.methods[name][key], kind, colour || this.data.colours[name]);
        }
        context.restore();
      }
      if (both) {
        context.fillStyle = "#FFFFFF";
        context.fillRect(border - 1, 0, 2, height);
      }
    }
  }

  async function start(place) {
    const source = place.dataset.source;
    try {
      const answer = await fetch(`${source}look.json`);
      if (!answer.ok) throw new Error(`${answer.status}`);
      place.cellcount = new Look(place, await answer.json(), source);
    } catch (error) {  // from file:// nothing may be fetched
      place.textContent = "The viewer needs the page from a server (python -m http.server); the figures above show the same.";
    }
  }

  const seen = new IntersectionObserver((entries) => {  // not before a reader comes near
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      const script = element("script", { src: target.dataset.script });
      script.onload = () => start(target);
      document.head.append(script);
    }
  }, { rootMargin: "400px" });
  for (const place of document.querySelectorAll(".cellcount-look")) seen.observe(place);
})();
