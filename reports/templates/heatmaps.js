// Heatmaps, coloured here from 256 steps, so that the normalisation can be changed.
const PALETTE = Uint8Array.from(data.palette.match(/../g) ?? [], (two) => parseInt(two, 16));
const sheets = new Map();

// The pixels of a strip of tiles, decoded once.
function pixels(uri) {
  if (!sheets.has(uri)) {
    sheets.set(uri, new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => {
        const canvas = make("canvas", { width: image.width, height: image.height });
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(image, 0, 0);
        resolve({ canvas, context, width: image.width, height: image.height });
      };
      image.onerror = reject;
      image.src = uri;
    }));
  }
  return sheets.get(uri);
}

async function paintPart(canvas, uri, place, count) {
  const sheet = await pixels(uri);
  const width = sheet.width / count;
  canvas.width = width;
  canvas.height = sheet.height;
  canvas.getContext("2d").drawImage(sheet.canvas, place * width, 0, width, sheet.height, 0, 0, width, sheet.height);
}

async function paintHeat(canvas, run, shared, place, { scaling, opacity }) {
  const count = shared.ids.length;
  const [sheet, images] = await Promise.all([pixels(run.heat.tiles), pixels(shared.images)]);
  const width = sheet.width / count;
  const steps = sheet.context.getImageData(place * width, 0, width, sheet.height).data;
  const [low, divisor] = scaling === "local" ? run.heat.local[place] : run.heat[scaling];
  const [from, to] = [run.heat.low[place], run.heat.high[place]];
  const tile = new ImageData(width, sheet.height);
  for (let at = 0; at < steps.length; at += 4) {
    const above = from + (steps[at] / 255) * (to - from) - low;
    const value = divisor > 0 ? Math.min(1, Math.max(0, above / divisor)) : Number(above > 0);
    const colour = 3 * Math.round(255 * value);
    tile.data.set([PALETTE[colour], PALETTE[colour + 1], PALETTE[colour + 2], 255 * opacity], at);
  }
  const small = make("canvas", { width, height: sheet.height });
  small.getContext("2d").putImageData(tile, 0, 0);
  canvas.width = images.width / count;
  canvas.height = images.height;
  const context = canvas.getContext("2d");
  if (opacity < 1) {
    context.filter = "grayscale(1)";
    context.drawImage(images.canvas, place * canvas.width, 0, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
    context.filter = "none";
  }
  context.imageSmoothingEnabled = opacity < 1;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function heatmaps(runs, shared) {
  const count = shared.ids.length;
  const nominal = shared.labels.filter((label) => label === 0).length;
  const scalings = [["local", "each image by itself"], ["semi_global", "over the images shown"], ["global", "over the test set"]]
    .filter(([name]) => name === "local" || runs.every((run) => run.heat[name]));
  const choice = make("select", {}, ...scalings.map(([name, words]) => make("option", { value: name }, words)));
  const slider = make("input", { type: "range", min: "0", max: "100", value: "100", step: "5" });
  const columns = [];
  for (let place = 0; place < count; place += 1) {
    if (place === nominal && nominal > 0) columns.push(".3rem");
    columns.push("minmax(0, 1fr)");
  }
  const grid = make("div", { class: "tiles", style: `--columns: ${columns.join(" ")}` });
  const gap = () => (nominal > 0 && nominal < count ? [make("span")] : []);
  const cells = (name, tile) => {
    const tiles = shared.ids.map((_, place) => tile(place));
    grid.append(make("span", { class: "name" }, name), ...tiles.slice(0, nominal), ...gap(), ...tiles.slice(nominal));
  };
  const labels = [[nominal, "nominal"], [count - nominal, "anomalous"]].filter(([size]) => size > 0)
    .map(([size, words]) => make("span", { class: "over", style: `grid-column: span ${size}` }, `${words}, score →`));
  grid.append(make("span", { class: "name" }), labels[0], ...(labels.length > 1 ? [make("span"), labels[1]] : []));
  const still = (uri, words) => (place) => {
    const canvas = make("canvas", { role: "img", "aria-label": `${words} ${shared.ids[place]}` });
    paintPart(canvas, uri, place, count);
    return canvas;
  };
  cells("input", still(shared.images, "Image"));
  if (shared.defects) {
    cells("defect", (place) => make("span", { class: "defect", title: shared.defects[place] }, shared.defects[place]));
  }
  if (shared.masks) cells("mask", still(shared.masks, "Mask of image"));
  const painted = [];
  for (const run of runs) {
    cells(`seed ${run.seed}`, (place) => {
      const score = `score ${run.heat.scores[place]}`;
      const canvas = make("canvas", { role: "img", title: score, "aria-label": `Heatmap of image ${shared.ids[place]}, seed ${run.seed}, ${score}` });
      painted.push([canvas, run, place]);
      return canvas;
    });
  }
  const paint = () => painted.forEach(([canvas, run, place]) =>
    paintHeat(canvas, run, shared, place, { scaling: choice.value, opacity: slider.value / 100 }));
  choice.addEventListener("change", paint);
  slider.addEventListener("input", paint);
  paint();
  const bar = make("canvas", { width: "256", height: "1" });
  const ramp = new ImageData(256, 1);
  for (let at = 0; at < 256; at += 1) ramp.data.set([PALETTE[3 * at], PALETTE[3 * at + 1], PALETTE[3 * at + 2], 255], 4 * at);
  bar.getContext("2d").putImageData(ramp, 0, 0);
  return make("div", { class: "heat" }, make("h3", {}, "Heatmaps"),
    make("div", { class: "tools" },
      make("label", {}, "Normalised ", choice),
      make("label", {}, "Opacity over the image ", slider),
      make("span", { "aria-hidden": "true" }, "0", make("span", { class: "scale" }, bar), "1")),
    grid,
    make("p", { class: "hint" }, `Images of each label from the lowest to the highest score of ${shared.order}; heatmaps are cut at the ${data.quantile} quantile.`));
}
