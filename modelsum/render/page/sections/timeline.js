// Live bytes over a step, stacked by part, and what is live at the moment under the cursor.
sections.timeline = (section, data, model) => {
  const svg = find(".timeline", section), about = find(".about", section), live = find(".live", section);
  const events = summed(data.events), size = events.length;
  const parts = data.parts.map(([name, steps]) => ({ name, values: summed(steps) }));
  const total = events.map((_, place) => parts.reduce((sum, part) => sum + part.values[place], 0));
  const phases = [], of = new Array(size); // of every moment its phase
  for (const [name, length] of data.phases) {
    const first = phases.length ? phases.at(-1).end : 0;
    phases.push({ name, first, end: first + length });
    of.fill(name, first, first + length);
  }
  const modules = []; // of every moment the path of the module that runs
  for (const [path, length] of data.modules) for (let n = 0; n < length; n += 1) modules.push(data.paths[path]);
  let from = 0, to = size - 1, cursor = data.peak, marked = null, dragged = null;
  const HIGH = 300, TOP = 24, LEFT = 78, BOTTOM = 20;
  let width, x, y;

  const last = events[size - 1] + 1;
  const begin = () => (from ? events[from] : 0), end = () => (to >= size - 1 ? last : events[to + 1]);

  function ticks(most) {
    const [scale, name] = unit(most), rough = most / scale / 4, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough), found = [];
    for (let at = 0; at * scale <= most * 1.001; at += step) found.push([at * scale, `${Number(at.toPrecision(4))} ${name}`]);
    return found;
  }

  function area(below, values) {
    let upper = "", lower = "";
    for (let place = from; place <= to; place += 1) {
      const left = x(place === from ? begin() : events[place]).toFixed(1), right = x(place === to ? end() : events[place + 1]).toFixed(1);
      upper += `L${left} ${y(below[place] + values[place]).toFixed(1)}L${right} ${y(below[place] + values[place]).toFixed(1)}`;
      lower = `L${right} ${y(below[place]).toFixed(1)}L${left} ${y(below[place]).toFixed(1)}${lower}`;
    }
    return `M${(upper + lower).slice(1)}Z`;
  }

  function draw() {
    width = Math.max(svg.parentElement.clientWidth, 300);
    svg.setAttribute("viewBox", `0 0 ${width} ${HIGH}`);
    let most = 1;
    for (let place = from; place <= to; place += 1) most = Math.max(most, total[place]);
    x = (event) => LEFT + (width - LEFT - 4) * (event - begin()) / Math.max(end() - begin(), 1);
    y = (n) => TOP + (HIGH - TOP - BOTTOM) * (1 - n / (most * 1.06));
    const made = [];
    for (const [at, word] of ticks(most)) {
      made.push(make("svg:line", { x1: LEFT, x2: width - 4, y1: y(at), y2: y(at), class: "grid" }));
      made.push(make("svg:text", { x: LEFT - 6, y: y(at) + 4, "text-anchor": "end", class: "axis" }, word));
    }
    const below = new Array(size).fill(0);
    for (const [place, part] of parts.entries()) {
      made.push(make("svg:path", { d: area(below, part.values), class: `c${place}` }));
      for (let n = from; n <= to; n += 1) below[n] += part.values[n];
    }
    for (const { name, first, end: after } of phases) {
      if (after <= from || first > to) continue;
      const left = x(Math.max(events[first], begin())), right = x(after < size ? Math.min(events[after], end()) : end());
      if (first > from) made.push(make("svg:line", { x1: left, x2: left, y1: 4, y2: HIGH - BOTTOM, class: "phase" }));
      if (right - left > name.length * 6.4) made.push(make("svg:text", { x: (left + right) / 2, y: 14, "text-anchor": "middle", class: "axis" }, name));
    }
    if (marked != null) { // when the chosen layer, or one in it, runs
      const inside = (path) => { // of one that is marked
        for (let at = path; ; at = at.slice(0, Math.max(at.lastIndexOf("."), 0))) {
          if (marked.has(at)) return true;
          if (!at) return false;
        }
      };
      for (let place = from; place <= to; place += 1) {
        if (!inside(modules[place])) continue;
        const left = x(place === from ? begin() : events[place]), right = x(place === to ? end() : events[place + 1]);
        made.push(make("svg:rect", { x: left, width: Math.max(right - left, 1), y: HIGH - BOTTOM + 2, height: 6, class: "own" }));
      }
    }
    if (data.peak >= from && data.peak <= to) {
      const at = x(events[data.peak]), right = at > width - 170;
      made.push(make("svg:circle", { cx: at, cy: y(total[data.peak]), r: 4.5, class: "peak" }));
      made.push(make("svg:text", { x: at + (right ? -9 : 9), y: y(total[data.peak]) - 7, "text-anchor": right ? "end" : "start", class: "peak-word" }, `peak ${bytes(total[data.peak])}`));
    }
    const at = x(events[cursor]);
    made.push(make("svg:line", { x1: at, x2: at, y1: TOP - 4, y2: HIGH - BOTTOM + 2, class: "cursor" }));
    if (dragged) made.push(make("svg:rect", { x: Math.min(...dragged), width: Math.abs(dragged[1] - dragged[0]), y: TOP, height: HIGH - TOP - BOTTOM, class: "range" }));
    svg.replaceChildren(...made);
    say();
  }

  function say() {
    const where = modules[cursor] ? `, at ${modules[cursor]}` : "";
    const words = `${of[cursor][0].toUpperCase()}${of[cursor].slice(1)}${where}: ${bytes(total[cursor])} live${cursor === data.peak ? ", the peak" : ""}`;
    about.textContent = words;
    svg.setAttribute("aria-valuenow", cursor);
    svg.setAttribute("aria-valuetext", words);
    live.replaceChildren(...parts.map((part, place) => make("li", {}, make("span", {}, make("i", { class: `c${place}` }), part.name), make("b", {}, bytes(part.values[cursor])))));
  }

  function move(place) { cursor = Math.max(from, Math.min(to, place)); redraw(); }
  function show(first, after) {
    if (after - first < 2) { first = Math.max(0, cursor - 1); after = Math.min(size - 1, cursor + 1); }
    [from, to] = [Math.max(0, first), Math.min(size - 1, after)];
    move(cursor);
  }
  function zoom(by) {
    const room = Math.max((to - from) * by, 2), share = (cursor - from) / Math.max(to - from, 1);
    const first = Math.round(cursor - room * share);
    show(Math.max(first, 0), Math.min(Math.round(Math.max(first, 0) + room), size - 1));
  }
  function choose() {
    const row = model.rowOf(modules[cursor]);
    if (row < 0) return;
    marked = new Set([model.paths[row]]);
    chosen.set(row, false, sections.timeline);
    redraw();
  }
  const redraw = onceADraw(draw);

  function placeAt(event) {
    const box = svg.getBoundingClientRect(), at = (event.clientX - box.left) * width / box.width;
    const wanted = begin() + (at - LEFT) / (width - LEFT - 4) * (end() - begin());
    let low = from, high = to;
    while (low < high) { const middle = (low + high + 1) >> 1; if (events[middle] <= wanted) low = middle; else high = middle - 1; }
    return [low, at];
  }
  svg.addEventListener("pointermove", (event) => {
    const [place, at] = placeAt(event);
    if (dragged) dragged[1] = at;
    move(place);
  });
  svg.addEventListener("pointerdown", (event) => { const [, at] = placeAt(event); dragged = [at, at]; svg.setPointerCapture(event.pointerId); });
  svg.addEventListener("pointerup", (event) => {
    const range = dragged, [place] = placeAt(event);
    dragged = null;
    if (!range) return;
    if (Math.abs(range[1] - range[0]) < 6) { move(place); choose(); return; }
    const box = svg.getBoundingClientRect(), ends = range.map((at) => placeAt({ clientX: box.left + at * box.width / width })[0]);
    show(Math.min(...ends), Math.max(...ends));
  });
  svg.addEventListener("pointercancel", () => { dragged = null; redraw(); });
  svg.addEventListener("keydown", (event) => {
    const far = Math.max(Math.round((to - from) / 10), 1);
    const keys = {
      ArrowLeft: () => move(cursor - 1), ArrowRight: () => move(cursor + 1), PageDown: () => move(cursor - far), PageUp: () => move(cursor + far),
      Home: () => move(from), End: () => move(to), "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2),
      Escape: () => show(0, size - 1), Enter: choose, " ": choose,
    };
    if (!keys[event.key]) return;
    keys[event.key]();
    event.preventDefault();
  });
  find(".in", section).addEventListener("click", () => zoom(0.5));
  find(".out", section).addEventListener("click", () => zoom(2));
  find(".whole", section).addEventListener("click", () => show(0, size - 1));
  find(".to-peak", section).addEventListener("click", () => { if (data.peak < from || data.peak > to) show(0, size - 1); move(data.peak); });
  chosen.heard.push([sections.timeline, (row, forAll) => {
    const same = forAll ? (each) => model.first[each] === model.first[row] : (each) => each === row;
    marked = new Set(model.paths.filter((_, each) => same(each)));
    redraw();
  }]);
  onWidth(svg.parentElement, redraw);
  draw();
};
