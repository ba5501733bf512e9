// What all sections share: elements, figures in words, and the layer that is chosen.
const SVG = "http://www.w3.org/2000/svg";
const sections = {}; // by kind, what works a section: (element, data, model)
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

const find = (selector, inside) => inside.querySelector(selector);

function make(tag, attributes = {}, ...children) {
  const made = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// As toLocaleString does, whose tables take longer to load than all the rest.
const grouped = (digits) => digits.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
const count = (n) => (n == null ? "-" : grouped(String(n)));
const decimals = (x) => { const [whole, rest] = x.toFixed(2).split("."); return `${grouped(whole)}.${rest}`; };

function unit(n) {
  let size = 1, place = 0;
  while (Math.abs(n) >= size * 1024 && place < UNITS.length - 1) { size *= 1024; place += 1; }
  return [size, UNITS[place]];
}

function bytes(n) {
  if (n == null) return "-";
  const [size, name] = unit(n);
  return size === 1 ? `${n} B` : `${decimals(n / size)} ${name}`;
}

function short(n) {
  let value = n, place = 0;
  const names = ["", " K", " M", " G", " T", " P"];
  while (Math.abs(value) >= 1000 && place < names.length - 1) { value /= 1000; place += 1; }
  return place ? `${Number(value.toPrecision(4))}${names[place]}` : String(n);
}

const percent = (part, whole) => (whole ? `${(100 * part / whole).toFixed(1)} %` : "");

const FIGURES = {
  params: { title: "Parameters", say: (n) => `${count(n)} parameters`, short },
  macs: { title: "MACs", say: (n) => `${count(n)} MACs`, short },
  saved: { title: "Saved for backward", say: (n) => `${bytes(n)} saved for backward`, short: bytes },
  peak: { title: "Peak", say: (n) => (n ? `at most ${bytes(n)} live while it runs` : "no peak of its own"), short: bytes },
};

// The layer that is chosen, by its row in the columns; it may stand for its equals. Every section hears of it.
const chosen = {
  row: null,
  heard: [],
  set(row, forAll, by) { this.row = row; for (const [owner, hear] of this.heard) if (owner !== by) hear(row, forAll); },
};

const onceADraw = (draw) => { // many events, one drawing
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };
};

// Draw again where an element has got another width; it is drawn for its first one already.
function onWidth(element, draw) {
  let width = null;
  new ResizeObserver(([{ contentRect }]) => {
    if (width !== null && width !== contentRect.width) draw();
    width = contentRect.width;
  }).observe(element);
}

function start() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const model = data.model && read(data.model);
  for (const section of document.querySelectorAll("section[data-kind]")) {
    const work = sections[section.dataset.kind];
    if (work) work(section, data.sections[section.id], model);
  }
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
  document.documentElement.dataset.ready = "yes";
}
