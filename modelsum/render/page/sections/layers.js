// The table of layers: only the rows in view are elements, so that ten thousand rows are no work.
sections.layers = (section, data, model) => {
  const table = find(".layers", section), body = find("tbody", table), scroll = find(".scroll", section);
  const search = find(".search", section), folded = find(".folded", section), told = find(".count", section);
  const figures = data.columns.map(([figure]) => figure), heads = [...table.querySelectorAll("[data-sort]")];
  const HIGH = 28;
  let tree, rows = [], sorted = null, active = null, whole = false;
  const closed = new Set();
  const saysOf = (figure) => (figure === "saved" || figure === "peak" ? (n) => (n == null ? "-" : decimals(n / data.unit[0])) : count);
  const says = Object.fromEntries(figures.map((figure) => [figure, saysOf(figure)]));

  function matches() {
    const words = search.value.trim();
    if (!words) return null;
    let pattern;
    try { pattern = new RegExp(words, "i"); } catch { pattern = { test: (text) => text.toLowerCase().includes(words.toLowerCase()) }; }
    return (node) => pattern.test(node.path) || pattern.test(node.kind);
  }

  function value(node, figure) {
    if (figure === "peak") return node.peak;
    if (figure === "saved" && model.own.saved[node.row] == null && !node.children.length) return null;
    return sorted || search.value.trim() ? node.own[figure] : node[figure];
  }

  function list() {
    tree = model.tree(folded.checked);
    const wanted = matches();
    rows = [];
    if (sorted || wanted) {
      rows = wanted ? tree.all.filter(wanted) : tree.all.slice();
      if (sorted) rows = rows.filter((node) => value(node, sorted.figure)).sort((a, b) => sorted.up * (value(a, sorted.figure) - value(b, sorted.figure)));
    } else {
      const pending = [tree.root];
      while (pending.length) {
        const node = pending.pop();
        rows.push(node);
        if (!closed.has(node.row)) for (let place = node.children.length - 1; place >= 0; place -= 1) pending.push(node.children[place]);
      }
    }
    if (!rows.includes(active)) active = rows[0] || null;
    told.textContent = `${count(rows.length)} of ${count(tree.all.length)} rows${folded.checked && tree.all.length < model.size ? `, for ${count(model.size)} calls of modules` : ""}`;
    table.setAttribute("aria-rowcount", rows.length + 1);
    for (const head of heads) head.parentElement.setAttribute("aria-sort", sorted?.figure === head.dataset.sort ? (sorted.up < 0 ? "descending" : "ascending") : "none");
    draw();
  }

  const flat = () => sorted || search.value.trim();

  function row(node, place) {
    const opens = node.children.length && !flat(), isOpen = !closed.has(node.row);
    const name = flat() ? node.path || model.title : node.name || model.title;
    const cell = make("td", { role: "gridcell", title: `${node.path || model.title} (${node.kind})` });
    cell.style.paddingLeft = flat() ? "" : `${0.5 + 1.1 * node.level}em`;
    const toggle = opens ? make("span", { class: "fold", "aria-hidden": "true" }, isOpen ? "\u25be " : "\u25b8 ") : make("span", { class: "fold", "aria-hidden": "true" }, flat() ? "" : "\u00a0\u00a0");
    cell.append(toggle, name, " ", make("small", {}, node.kind));
    const made = make("tr", {
      role: "row", id: `row-${node.row}`, "aria-rowindex": place + 2, "aria-level": flat() ? 1 : node.level + 1, "aria-expanded": opens ? String(isOpen) : null,
      "aria-selected": chosen.row != null && node === tree.node(chosen.row) ? "true" : "false", class: node === active ? "active" : "",
    }, cell, make("td", { role: "gridcell", title: model.shape(node.row) }, model.shape(node.row)));
    for (const figure of figures) {
      const mark = figure === "params" && !node.children.length && !node.own.params ? model.mark(node.row) : "";
      made.append(make("td", { role: "gridcell", class: "r" }, mark || says[figure](value(node, figure))));
    }
    made.node = node;
    return made;
  }

  const spacer = (height) => { const made = make("tr", { class: "spacer", "aria-hidden": "true" }, make("td", { colspan: figures.length + 2 })); made.style.height = `${height}px`; return made; };

  function draw() {
    const room = scroll.clientHeight || 500;
    const first = whole ? 0 : Math.max(0, Math.floor(scroll.scrollTop / HIGH) - 8), after = whole ? Math.min(rows.length, 3000) : Math.min(rows.length, first + Math.ceil(room / HIGH) + 16);
    const made = [];
    if (first) made.push(spacer(first * HIGH));
    for (let place = first; place < after; place += 1) made.push(row(rows[place], place));
    if (after < rows.length) made.push(spacer((rows.length - after) * HIGH));
    body.replaceChildren(...made);
    const shown = active && document.getElementById(`row-${active.row}`);
    if (shown) table.setAttribute("aria-activedescendant", shown.id); else table.removeAttribute("aria-activedescendant");
  }

  function reveal(node) {
    for (let above = node.parent; above; above = above.parent) closed.delete(above.row);
    if (flat() && !rows.includes(node)) { search.value = ""; sorted = null; }
    active = node;
    list();
    const top = rows.indexOf(node) * HIGH;
    if (top < scroll.scrollTop + HIGH || top > scroll.scrollTop + scroll.clientHeight - 3 * HIGH) scroll.scrollTop = Math.max(0, top - scroll.clientHeight / 3);
    draw();
  }

  function go(place) {
    active = rows[Math.max(0, Math.min(rows.length - 1, place))] || null;
    const top = rows.indexOf(active) * HIGH, head = find("thead", table).offsetHeight;
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    else if (top + HIGH + head > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + 2 * HIGH + head - scroll.clientHeight;
    draw();
  }

  function toggle(node, open) {
    if (!node.children.length || flat()) return;
    if (open) closed.delete(node.row); else closed.add(node.row);
    list();
  }

  body.addEventListener("click", (event) => {
    const node = event.target.closest("tr")?.node;
    if (!node) return;
    active = node;
    if (event.target.closest(".fold") && node.children.length) { toggle(node, closed.has(node.row)); return; }
    chosen.set(node.row, node.times > 1, sections.layers);
    draw();
  });
  table.addEventListener("keydown", (event) => {
    if (event.target !== table || !active) return;
    const place = rows.indexOf(active), page = Math.floor(scroll.clientHeight / HIGH) - 2;
    const keys = {
      ArrowDown: () => go(place + 1), ArrowUp: () => go(place - 1), PageDown: () => go(place + page), PageUp: () => go(place - page),
      Home: () => go(0), End: () => go(rows.length - 1), Enter: () => { chosen.set(active.row, active.times > 1, sections.layers); draw(); },
      ArrowRight: () => toggle(active, true),
      ArrowLeft: () => (active.children.length && !closed.has(active.row) && !flat() ? toggle(active, false) : active.parent && !flat() && go(rows.indexOf(active.parent))),
    };
    keys[" "] = keys.Enter;
    if (!keys[event.key]) return;
    keys[event.key]();
    event.preventDefault();
  });
  for (const head of heads) {
    head.addEventListener("click", () => {
      const figure = head.dataset.sort;
      sorted = sorted?.figure !== figure ? { figure, up: -1 } : sorted.up < 0 ? { figure, up: 1 } : null;
      scroll.scrollTop = 0;
      list();
    });
  }
  search.addEventListener("input", onceADraw(() => { scroll.scrollTop = 0; list(); }));
  folded.addEventListener("change", list);
  find(".open", section).addEventListener("click", () => { closed.clear(); list(); });
  find(".close", section).addEventListener("click", () => { for (const node of tree.all) if (node.parent && node.children.length) closed.add(node.row); list(); });
  scroll.addEventListener("scroll", onceADraw(draw));
  onWidth(scroll, onceADraw(draw));
  addEventListener("beforeprint", () => { whole = true; draw(); });
  addEventListener("afterprint", () => { whole = false; draw(); });
  chosen.heard.push([sections.layers, (row) => reveal(tree.node(row))]);
  list();
};
