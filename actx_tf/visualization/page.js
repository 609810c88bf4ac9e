"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const colors = bytes(data.colors);
const find = (id) => document.getElementById(id);
const PANELS = {
  both: ["action", "context"],
  action: ["action"],
  context: ["context"],
  act: ["act"],
  none: ["none"],
};
const CAPTIONS = {
  action: "Action map S",
  context: "Context map C",
  act: "S_act, the action before it is sharpened",
  none: "Frame",
};
const LEAST_SIDE = 320; // pixels of a canvas: maps over small frames stay smooth

// Of the clip that is shown: its frames, its maps, and where it is drawn.
let clip = null;
let images = [];
let maps = {};
let panels = [];
let shown = []; // of the list, in its order
let playing = false;
let begun = 0; // when the frame that is shown came on

function bytes(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function create(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

const className = (k) => data.classNames[k];
const trueNames = (c) => c.labels.map(className).join(", ") || "none";
const isWrong = (c) => !c.labels.includes(c.answer);

// Maps: shares of the largest value, at the centers of what they see.

function readMaps(c) {
  const action = Float32Array.from(bytes(c.action.levels), (x) => x / 255);
  const context = Float32Array.from(bytes(c.context.levels), (x) => x / 255);
  const act = context.map((x) => 1 - c.context.largest * x);
  const largest = Math.max(1e-12, act.reduce((a, b) => Math.max(a, b), 0));
  return { action, context, act: act.map((x) => x / largest) };
}

// For each of `count` places along an axis: the location before it, and the
// share of the one after. Outside of the centers the nearest has all.
function weights(count, centers) {
  const last = centers.length - 1;
  return Array.from({ length: count }, (_, p) => {
    const place = (p + 0.5) / count;
    if (place <= centers[0]) return [0, 0, 0];
    if (place >= centers[last]) return [last, last, 0];
    let k = 0;
    while (centers[k + 1] < place) k += 1;
    return [k, k + 1, (place - centers[k]) / (centers[k + 1] - centers[k])];
  });
}

function atFrame(values, frame) {
  const [, height, width] = clip.mapShape;
  const [a, b, share] = clip.alongTime[frame];
  const size = height * width;
  const result = new Float32Array(size);
  for (let k = 0; k < size; k += 1) {
    result[k] =
      (1 - share) * values[a * size + k] + share * values[b * size + k];
  }
  return result;
}

function drawMap(panel, values, opacity) {
  const { context, rows, columns } = panel;
  const { width, height } = context.canvas;
  const mapWidth = clip.mapShape[2];
  const picture = context.getImageData(0, 0, width, height);
  const pixels = picture.data;
  let p = 0;
  for (let y = 0; y < height; y += 1) {
    const [top, bottom, down] = rows[y];
    for (let x = 0; x < width; x += 1, p += 4) {
      const [left, right, aside] = columns[x];
      const i = top * mapWidth;
      const j = bottom * mapWidth;
      const value =
        (1 - down) * ((1 - aside) * values[i + left] + aside * values[i + right]) +
        down * ((1 - aside) * values[j + left] + aside * values[j + right]);
      const color = 3 * Math.round(255 * value);
      const alpha = opacity * value;
      for (let k = 0; k < 3; k += 1) {
        pixels[p + k] += alpha * (colors[color + k] - pixels[p + k]);
      }
    }
  }
  context.putImageData(picture, 0, 0);
}

// The player

const frameSlider = find("frame");
const frame = () => Number(frameSlider.value);
const mode = () => document.querySelector("[name=mode]:checked").value;

function draw() {
  if (!images.length) return;
  const image = images[frame()];
  const opacity = find("opacity").value / 100;
  for (const panel of panels) {
    const { width, height } = panel.context.canvas;
    panel.context.drawImage(image, 0, 0, width, height);
    if (panel.map in maps && opacity) {
      drawMap(panel, atFrame(maps[panel.map], frame()), opacity);
    }
  }
  const seconds = (k) => (k / clip.rate).toFixed(2);
  const time = `${seconds(frame())} of ${seconds(images.length)} s`;
  find("time").value = `${time}, frame ${frame() + 1}`;
  frameSlider.setAttribute("aria-valuetext", `${time}, frame ${frame() + 1}`);
  const now = (1000 * (frame() + 0.5)) / images.length;
  const line = document.querySelector("#share .now");
  line.setAttribute("x1", now);
  line.setAttribute("x2", now);
}

function layOut() {
  panels = PANELS[mode()].map((map) => {
    const canvas = create("canvas");
    const { width, height } = images[0];
    const scale = Math.max(1, Math.ceil(LEAST_SIDE / Math.max(width, height)));
    canvas.width = scale * width;
    canvas.height = scale * height;
    canvas.dataset.map = map;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${CAPTIONS[map]} of ${clip.name}`);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    return {
      map,
      context,
      rows: weights(canvas.height, clip.centers[1]),
      columns: weights(canvas.width, clip.centers[2]),
    };
  });
  find("stage").replaceChildren(
    ...panels.map((panel) => {
      const figure = create("figure");
      const caption = create("figcaption", "", CAPTIONS[panel.map]);
      figure.append(panel.context.canvas, caption);
      return figure;
    }),
  );
  draw();
}

// The share of each step in the sum of the action map.
function shares(c) {
  const [steps, height, width] = c.mapShape;
  const { action } = readMaps(c);
  const size = height * width;
  const sums = Array.from({ length: steps }, (_, t) =>
    action.subarray(t * size, (t + 1) * size).reduce((a, b) => a + b, 0),
  );
  const total = sums.reduce((a, b) => a + b, 0) || 1;
  return sums.map((sum) => sum / total);
}

function drawShares() {
  const steps = shares(clip);
  const most = 1.15 * Math.max(...steps);
  const y = (share) => 100 - (100 * share) / most;
  const points = steps.map((s, t) => `${1000 * clip.centers[0][t]},${y(s)}`);
  const path =
    `M-5,105 L-5,${y(steps[0])} L${points.join(" L")} ` +
    `L1005,${y(steps.at(-1))} L1005,105 Z`;
  document.querySelector("#share .area").setAttribute("d", path);
  const even = document.querySelector("#share .even");
  even.setAttribute("y1", y(1 / steps.length));
  even.setAttribute("y2", y(1 / steps.length));
}

function drawScores() {
  const order = clip.scores.map((_, k) => k);
  order.sort((a, b) => clip.scores[b] - clip.scores[a]);
  // Of many classes the first ones, and the true ones wherever they are.
  const kept = order.filter((k, n) => n < 10 || clip.labels.includes(k));
  find("scores").replaceChildren(
    ...kept.map((k) => {
      const isTrue = clip.labels.includes(k);
      const item = create("li", isTrue ? "true" : "");
      const name = className(k) + (isTrue ? " (true)" : "");
      const label = create("span", "label", name);
      label.title = name;
      const bar = create("span", "bar");
      const fill = create("i");
      fill.style.width = `${100 * clip.scores[k]}%`;
      bar.append(fill);
      item.append(label, bar, create("span", "value", clip.scores[k].toFixed(3)));
      return item;
    }),
  );
}

function mark(c) {
  const wrong = isWrong(c);
  return create(
    "span",
    `mark ${wrong ? "wrong" : "right"}`,
    wrong ? "✗ wrong" : "✓ right",
  );
}

async function show(number) {
  const next = data.clips[number];
  document.body.dataset.ready = "";
  const loaded = await Promise.all(
    next.frames.map((jpeg) =>
      createImageBitmap(new Blob([bytes(jpeg)], { type: "image/jpeg" })),
    ),
  );
  if (next !== wanted) return loaded.forEach((image) => image.close());
  images.forEach((image) => image.close());
  images = loaded;
  clip = next;
  maps = readMaps(clip);
  clip.alongTime = weights(images.length, clip.centers[0]);
  find("name").textContent = clip.name;
  find("verdict").replaceChildren(
    mark(clip),
    `: ${trueNames(clip)}, recognized as ${className(clip.answer)} ` +
      `(${clip.scores[clip.answer].toFixed(2)}), loss ${clip.loss.toFixed(2)}`,
  );
  frameSlider.max = images.length - 1;
  frameSlider.value = playing ? 0 : strongest(clip);
  begun = performance.now();
  drawShares();
  drawScores();
  layOut();
  document.body.dataset.ready = "true";
}

// The frame nearest to where a step has the largest value of the action map.
function strongest(c) {
  const levels = bytes(c.action.levels);
  const size = c.mapShape[1] * c.mapShape[2];
  const step = Math.floor(levels.indexOf(Math.max(...levels)) / size);
  const last = c.frames.length - 1;
  return Math.min(Math.floor(c.centers[0][step] * c.frames.length), last);
}

let wanted = null;

function select(number) {
  if (wanted === data.clips[number]) return play(!playing);
  wanted = data.clips[number];
  history.replaceState(null, "", `#${number + 1}`);
  for (const button of document.querySelectorAll("#clips button")) {
    const isCurrent = Number(button.dataset.number) === number;
    button.toggleAttribute("aria-current", isCurrent);
    if (isCurrent) reveal(button);
  }
  show(number);
}

// Scrolls the list, and never the page, to a clip.
function reveal(button) {
  const nav = document.querySelector("nav");
  const end = button.offsetTop + button.offsetHeight - nav.clientHeight;
  nav.scrollTop = Math.max(end, Math.min(nav.scrollTop, button.offsetTop));
}

function move(by) {
  if (!shown.length) return;
  const place = shown.indexOf(data.clips.indexOf(wanted));
  const next = place < 0 ? 0 : place + by;
  select(shown[(next + shown.length) % shown.length]);
}

function seek(number) {
  frameSlider.value = Math.max(0, Math.min(number, images.length - 1));
  begun = performance.now();
  draw();
}

function play(on) {
  playing = on;
  find("play").textContent = on ? "❚❚ Pause" : "▶ Play";
  begun = performance.now();
  if (on) requestAnimationFrame(tick);
}

function tick(now) {
  if (!playing) return;
  const interval = 1000 / (clip.rate * find("speed").value);
  const due = Math.floor((now - begun) / interval);
  if (due > 0 && images.length) {
    begun += due * interval;
    frameSlider.value = (frame() + due) % images.length;
    draw();
  }
  requestAnimationFrame(tick);
}

// The list

const isNarrow = matchMedia("(max-width: 860px)");
const ORDERS = {
  order: (a, b) => a - b,
  loss: (a, b) => data.clips[b].loss - data.clips[a].loss,
  sure: (a, b) => data.clips[a].loss - data.clips[b].loss,
  error: (a, b) => mistake(data.clips[b]) - mistake(data.clips[a]),
  name: (a, b) => data.clips[a].name.localeCompare(data.clips[b].name),
};

// How much more the answer got than the best of the true classes.
function mistake(c) {
  const best = Math.max(0, ...c.labels.map((k) => c.scores[k]));
  return c.scores[c.answer] - best;
}

const cards = data.clips.map((c, number) => {
  const button = create("button");
  button.type = "button";
  button.dataset.number = number;
  const image = create("img");
  image.src = `data:image/jpeg;base64,${c.frames[strongest(c)]}`;
  image.alt = "";
  image.loading = "lazy";
  const about = create("span", "about");
  const verdict = create("span");
  const answer = isWrong(c) ? ` as ${className(c.answer)}` : "";
  verdict.append(mark(c), `${answer}, loss ${c.loss.toFixed(2)}`);
  about.append(create("strong", "", trueNames(c)), verdict, create("span", "", c.name));
  button.title = c.name;
  button.append(image, about);
  button.addEventListener("click", () => {
    select(number);
    // On a narrow window the player is above the list.
    const player = find("player");
    if (player.getBoundingClientRect().top < 0 && isNarrow.matches) {
      player.scrollIntoView();
    }
  });
  const item = create("li");
  item.append(button);
  return item;
});

function list() {
  const wrongOnly = find("wrong").checked;
  const label = find("class").value;
  const text = find("search").value.trim().toLowerCase();
  shown = data.clips.map((_, number) => number).filter((number) => {
    const c = data.clips[number];
    return (
      (!wrongOnly || isWrong(c)) &&
      (!label || c.labels.includes(Number(label))) &&
      c.name.toLowerCase().includes(text)
    );
  });
  shown.sort(ORDERS[find("sort").value]);
  find("clips").replaceChildren(...shown.map((number) => cards[number]));
  find("count").textContent = shown.length
    ? `${shown.length} of ${data.clips.length} clips`
    : "No clip is like that.";
  if (shown.length && !shown.includes(data.clips.indexOf(wanted))) {
    select(shown[0]);
  }
}

// What the user does

const KEYS = {
  " ": () => play(!playing),
  ArrowLeft: (event) => seek(frame() - (event.shiftKey ? 10 : 1)),
  ArrowRight: (event) => seek(frame() + (event.shiftKey ? 10 : 1)),
  Home: () => seek(0),
  End: () => seek(images.length - 1),
  p: () => seek(strongest(clip)),
  ArrowUp: () => move(-1),
  ArrowDown: () => move(1),
  k: () => move(-1),
  j: () => move(1),
  "-": () => fade(-10),
  "+": () => fade(10),
  "=": () => fade(10),
  w: () => find("wrong").click(),
  "/": () => find("search").focus(),
  "?": () => find("help").showModal(),
};
Object.keys(PANELS).forEach((value, k) => {
  KEYS[k + 1] = () => document.querySelector(`[value=${value}]`).click();
});

function fade(by) {
  find("opacity").value = Number(find("opacity").value) + by;
  draw();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (find("help").open) return;
  const target = event.target;
  if (target.matches("select, [type=search]")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  // What a focused control does with a key itself, it does.
  if (target.matches("button, [type=checkbox], summary") && event.key === " ") {
    return;
  }
  const moves = /^(Arrow|Home|End| )/.test(event.key);
  if (target.matches("[type=radio], #opacity") && moves) return;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  act(event);
});

frameSlider.addEventListener("input", () => seek(frame()));
find("opacity").addEventListener("input", draw);
find("mode").addEventListener("change", layOut);
find("play").addEventListener("click", () => play(!playing));
find("back").addEventListener("click", () => seek(frame() - 1));
find("forward").addEventListener("click", () => seek(frame() + 1));
find("previous").addEventListener("click", () => move(-1));
find("next").addEventListener("click", () => move(1));
find("help-button").addEventListener("click", () => find("help").showModal());
for (const id of ["sort", "class", "wrong"]) {
  find(id).addEventListener("change", list);
}
find("search").addEventListener("input", list);

// At the start

const right = data.clips.filter((c) => !isWrong(c)).length;
const percent = Math.round((100 * right) / data.clips.length);
find("summary").textContent =
  `${data.clips.length} clips, ${right} recognized (${percent}%)`;
data.classNames.forEach((name, k) => {
  const count = data.clips.filter((c) => c.labels.includes(k)).length;
  if (!count) return;
  const option = create("option", "", `${name} (${count})`);
  option.value = k;
  find("class").append(option);
});
if (data.leftOut.length) {
  find("left-out").hidden = false;
  find("left-out").querySelector("summary").textContent =
    `${data.leftOut.length} clips are left out`;
  find("left-out").querySelector("ul").append(
    ...data.leftOut.map(([name, why]) => create("li", "", `${name}: ${why}`)),
  );
}
const bar = find("scale").getContext("2d");
const strip = bar.createImageData(256, 1);
for (let k = 0; k < 256; k += 1) {
  strip.data.set([...colors.subarray(3 * k, 3 * k + 3), 255], 4 * k);
}
bar.putImageData(strip, 0, 0);
play(false);
// A link may name a clip by its number. Else one that is right is shown.
const linked = Number(location.hash.slice(1)) - 1;
const firstRight = data.clips.findIndex((c) => !isWrong(c));
if (data.clips[linked]) select(linked);
else if (firstRight >= 0) select(firstRight);
list();
