// What the other scripts build from: the report's data, elements, and small arithmetic.
const data = JSON.parse(document.getElementById("data").textContent);
const byKey = new Map(data.runs.map((run) => [run.key, run]));
const METRICS = {
  image_auroc: "AUROC", image_ap: "AP", pixel_auroc: "pixel AUROC", pixel_ap: "pixel AP", pixel_pro: "PRO",
};

// Elements from text only: nothing here is ever parsed as HTML.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}
function draw(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const meanCurve = (curves) => curves[0].map((_, place) => mean(curves.map((curve) => curve[place])));
const distinct = (values) => [...new Set(values)];
const percent = (value) => (value === undefined ? "–" : (100 * value).toFixed(1));
