// An icicle: every box is as wide as its share, and what is in it stands below it.
const ROW = 34;

// picture: {svg, root, size(node), style(node), label(node), say(node), onabout(text), onchoose(node), whole}
function partition(svg, picture) {
  let focus = picture.root, active = picture.root, boxes = [];
  const redraw = onceADraw(draw);

  function laidOut(width) {
    const found = [], pending = [[focus, 0, width * share(focus), 0]];
    while (pending.length) {
      const [node, x, wide, level] = pending.pop();
      found.push({ node, x, wide, level });
      let at = x;
      const total = picture.size(node), inside = [];
      for (const child of node.children) {
        const part = total ? wide * picture.size(child) / total : 0;
        if (part >= 1) inside.push([child, at, part, level + 1]);
        at += part;
      }
      pending.push(...inside.reverse());
    }
    return found;
  }

  const share = (node) => (picture.whole && node === picture.root ? picture.size(node) / picture.whole || 0 : 1);

  function draw() {
    const width = Math.max(svg.parentElement.clientWidth - 2, 280);
    boxes = laidOut(width);
    const levels = 1 + Math.max(...boxes.map((box) => box.level));
    svg.setAttribute("viewBox", `0 0 ${width} ${levels * ROW}`);
    svg.setAttribute("height", levels * ROW + 2); // and its border
    const made = document.createDocumentFragment();
    for (const box of boxes) {
      const { node, x, wide, level } = box, room = wide - 8, style = picture.style(node);
      const dark = /^(c\d|h3|less2|more2)$/.test(style);
      box.group = make("svg:g", {
        role: "treeitem", tabindex: node === active ? 0 : -1, "aria-level": level + 1, class: dark ? "light" : "",
        "aria-selected": node === picture.chosen ? "true" : "false", "aria-label": picture.say(node),
      }, make("svg:rect", { x, y: level * ROW, width: wide, height: ROW, class: style }));
      if (room > 22) {
        for (const [line, text] of picture.label(node).entries()) {
          const cut = text.length * 6.3 > room ? `${text.slice(0, Math.max(Math.floor(room / 6.3) - 1, 1))}\u2026` : text;
          box.group.append(make("svg:text", { x: x + 4, y: level * ROW + 14 + 14 * line }, cut));
        }
      }
      box.group.box = box;
      made.append(box.group);
    }
    const focused = svg.contains(document.activeElement);
    svg.replaceChildren(made);
    if (focused) boxes.find((box) => box.node === active)?.group.focus();
    picture.onabout?.(picture.say(active));
  }

  function activate(node, focused) {
    const box = boxes.find((each) => each.node === node);
    if (!box) return;
    boxes.find((each) => each.node === active)?.group.setAttribute("tabindex", -1);
    active = node;
    box.group.setAttribute("tabindex", 0);
    if (focused) box.group.focus();
    picture.onabout?.(picture.say(node));
  }

  function zoom(node) {
    focus = node;
    active = node;
    draw();
    picture.onzoom?.(node);
  }

  function choose(node) {
    picture.chosen = node;
    for (const box of boxes) box.group.setAttribute("aria-selected", box.node === node ? "true" : "false");
  }

  const boxOf = (event) => event.target.closest("g")?.box;
  svg.addEventListener("click", (event) => {
    const box = boxOf(event);
    if (!box) return;
    const hadFocus = svg.contains(document.activeElement);
    picture.onchoose?.(box.node);
    choose(box.node);
    zoom(box.node === focus && focus.parent ? focus.parent : box.node.children.length ? box.node : focus);
    activate(box.node, hadFocus);
  });
  svg.addEventListener("mouseover", (event) => { const box = boxOf(event); if (box) picture.onabout?.(picture.say(box.node)); });
  svg.addEventListener("mouseleave", () => picture.onabout?.(picture.say(active)));
  svg.addEventListener("focusin", (event) => { const box = boxOf(event); if (box && box.node !== active) activate(box.node); });
  svg.addEventListener("keydown", (event) => {
    const siblings = active.parent && active !== focus ? active.parent.children.filter((n) => boxes.some((b) => b.node === n)) : [active];
    const place = siblings.indexOf(active);
    const shown = (node) => boxes.some((box) => box.node === node);
    const moves = {
      ArrowRight: siblings[place + 1], ArrowLeft: siblings[place - 1],
      ArrowUp: active === focus ? null : active.parent, ArrowDown: active.children.find(shown),
      Home: siblings[0], End: siblings[siblings.length - 1],
    };
    if (event.key in moves) {
      if (moves[event.key]) activate(moves[event.key], true);
    } else if (event.key === "Enter" || event.key === " ") {
      const node = active;
      picture.onchoose?.(node);
      choose(node);
      zoom(node.children.length ? node : focus);
      activate(node, true);
    } else if (event.key === "Escape" || event.key === "Backspace") {
      const node = focus;
      if (focus.parent) zoom(focus.parent);
      activate(node, true);
    } else return;
    event.preventDefault();
  });
  onWidth(svg.parentElement, redraw);
  draw();

  // Zoom to a node, or to what it is in where nothing is in it, and choose it.
  function show(node) {
    zoom(node.children.length ? node : node.parent || node);
    choose(node);
    activate(node);
  }

  return { zoom, choose, show };
}

// The way to what is zoomed into, each step a button.
function crumbs(nav, node, zoom, title) {
  const way = [];
  for (let at = node; at; at = at.parent) way.unshift(at);
  nav.replaceChildren(make("ol", {}, ...way.map((each) => make("li", {}, make("button", {
    type: "button", "aria-current": each === node ? "true" : null, onclick: () => zoom(each),
  }, each.parent ? each.name : title)))));
}
