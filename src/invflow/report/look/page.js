"use strict";
// What reading a page closely needs: figures that open large, charts that zoom, and a latent
// to choose. The page shows everything without this script too.
document.documentElement.classList.add("scripted");

// Figures that open large.
const dialog = document.querySelector("dialog");
for (const panel of document.querySelectorAll(".panel")) {
  const open = () => {
    const large = panel.querySelector("svg").cloneNode(true);
    large.classList.toggle("narrow", panel.classList.contains("narrow"));
    dialog.querySelector(".scroll").replaceChildren(large);
    dialog.showModal();
  };
  panel.querySelector("svg").addEventListener("click", open);
  panel.querySelector("button").addEventListener("click", open);
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

const colour = (i) => getComputedStyle(document.documentElement).getPropertyValue("--c" + i % 10);
const element = (parent, name, attributes = {}) =>
  parent.appendChild(Object.assign(document.createElement(name), attributes));

// A labelled list to choose from; `changed` is called with the number of the entry.
function choice(parent, label, names, chosen, changed) {
  const list = element(element(parent, "label", { textContent: label + " " }), "select");
  names.forEach((name, i) => element(list, "option", { textContent: name, value: i }));
  list.value = chosen;
  list.addEventListener("change", () => changed(Number(list.value)));
}

function plot(place, options, table) {
  const axis = (label) => ({
    label, stroke: colour(7), grid: { stroke: "#8883", width: 1 }, ticks: { stroke: "#8883" } });
  place.replaceChildren();
  return new uPlot({
    width: Math.min(place.clientWidth, 900), height: 380, scales: { x: { time: false } },
    axes: [axis(options.x), { ...axis(options.y), size: 70 }],
    cursor: { drag: { x: true, y: true, uni: 40 } }, series: options.series,
  }, table, place);
}

// Lines: values under the cursor, and a zoom by dragging (a double click shows all again).
function lines(place, data) {
  const tables = data.lines.map((line) => [line.x, line.y]);
  const series = data.lines.map((line) => ({
    label: line.label, stroke: colour(line.colour), dash: line.dash, width: 1.5, spanGaps: true,
    points: { size: 4, fill: colour(line.colour) } }));
  plot(place, { x: data.x, y: data.y, series: [{ label: data.x }, ...series] }, uPlot.join(tables));
}

// Two columns to choose, against each other.
function pairs(place, data) {
  const controls = element(place, "div", { className: "controls" });
  const below = element(place, "div");
  const shown = [0, Math.min(1, data.names.length - 1)];
  const draw = () => {
    const [i, j] = shown;
    const tables = data.samples.map(({ columns }) => {
      const order = columns[i].map((_, k) => k)
        .filter((k) => columns[i][k] !== null && columns[j][k] !== null)
        .sort((a, b) => columns[i][a] - columns[i][b]);
      return [order.map((k) => columns[i][k]), order.map((k) => columns[j][k])];
    });
    // Points at one place of the horizontal axis need a row each.
    const x = tables.flatMap(([first]) => first);
    const y = tables.map((table, k) => tables.flatMap(
      (other, l) => (l === k ? other[1] : other[1].map(() => null))));
    const order = x.map((_, k) => k).sort((a, b) => x[a] - x[b]);
    const sorted = [x, ...y].map((column) => order.map((k) => column[k]));
    const series = data.samples.map((sample) => ({
      label: sample.label, stroke: colour(sample.colour), paths: () => null,
      points: { show: true, size: 4, fill: colour(sample.colour) } }));
    const names = data.names;
    plot(below, { x: names[i], y: names[j], series: [{ label: names[i] }, ...series] }, sorted);
  };
  ["across", "up"].forEach((label, k) =>
    choice(controls, label, data.names, shown[k], (i) => { shown[k] = i; draw(); }));
  draw();
}

// A model, a latent and its value: the image there, from a sheet of all of them.
function traversal(place, data) {
  const controls = element(place, "div", { className: "controls" });
  const frame = element(place, "div", { className: "frame", role: "img" });
  const said = element(place, "p", { className: "caption" });
  const at = { model: 0, latent: 0, value: (data.values.length - 1) / 2 };
  const draw = () => {
    const { name, latents, sheet } = data.models[at.model];
    at.latent = Math.min(at.latent, latents.length - 1);
    const [wide, high] = [data.values.length, latents.length];
    frame.style.aspectRatio = data.size[0] + " / " + data.size[1];
    frame.style.height = "auto";
    frame.style.backgroundImage = "url(" + sheet + ")";
    frame.style.backgroundSize = 100 * wide + "% " + 100 * high + "%";
    const place = (k, count) => (count > 1 ? 100 * k / (count - 1) : 0) + "%";
    frame.style.backgroundPosition = place(at.value, wide) + " " + place(at.latent, high);
    said.textContent = name + ", " + latents[at.latent] + " at " + data.values[at.value] +
      " standard deviations";
    frame.setAttribute("aria-label", said.textContent);
  };
  const latents = element(controls, "span");
  const offer = () => {
    latents.replaceChildren();
    choice(latents, "latent", data.models[at.model].latents, at.latent,
      (i) => { at.latent = i; draw(); });
  };
  if (data.models.length > 1) {
    choice(controls, "model", data.models.map((model) => model.name), 0,
      (i) => { at.model = i; at.latent = 0; offer(); draw(); });
    controls.append(latents);
  }
  offer();
  const slider = element(element(controls, "label", { textContent: "value " }), "input",
    { type: "range", min: 0, max: data.values.length - 1, step: 1 });
  slider.value = at.value;
  slider.addEventListener("input", () => { at.value = Number(slider.value); draw(); });
  draw();
}

const kinds = { lines, pairs, traversal };
for (const details of document.querySelectorAll("details.explore")) {
  const data = JSON.parse(details.querySelector("script").textContent);
  const place = details.querySelector(".chart");
  const draw = () => {
    if (!details.open) return;
    place.replaceChildren();
    kinds[data.kind](place, data);
  };
  details.addEventListener("toggle", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
