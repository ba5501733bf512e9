// Where the parameters, MACs and saved bytes of a model are; a peak is no sum, so there boxes are coloured by it.
sections.icicle = (section, data, model) => {
  const buttons = [...section.querySelectorAll("[data-figure]")], folded = find(".folded", section);
  let figure = buttons[0].dataset.figure, tree, view, lowest;
  const size = (node) => (figure === "peak" ? node.leaves : node[figure]);
  const words = () => FIGURES[figure];
  let colours;

  function coloured() { // the kinds of layers that have most, one colour each
    const sums = new Map();
    for (const node of tree.all) {
      if (node.children.length) continue;
      const kind = model.kind(node.row);
      sums.set(kind, (sums.get(kind) || 0) + (size(node) || 0));
    }
    const kinds = [...sums].filter(([, sum]) => sum).sort((a, b) => b[1] - a[1]).map(([kind]) => kind);
    return new Map(kinds.slice(0, 6).map((kind, place) => [kind, `c${place}`]));
  }

  const heat = (node) => `h${node.peak == null ? 0 : Math.min(3, Math.floor(4 * (node.peak - lowest) / Math.max(tree.root.peak - lowest, 1)))}`;
  const style = (node) => {
    if (figure === "peak") return heat(node);
    return node.children.length ? "block" : colours.get(model.kind(node.row)) || "c6";
  };
  const amount = (node) => (figure === "peak" ? node.peak : node[figure]);
  const say = (node) => {
    const share = figure === "peak" ? "" : `, ${percent(size(node), size(tree.root))} of all`;
    return `${node.path || model.title} (${node.kind}): ${words().say(amount(node))}${share}`;
  };

  function key() {
    const list = find(".key", section), item = (style, text) => make("li", { class: "" }, make("i", { class: style }), text);
    if (figure === "peak") {
      const limits = [0, 1, 2, 3].map((quarter) => Math.round(lowest + (tree.root.peak - lowest) * quarter / 4));
      list.replaceChildren(...limits.map((least, place) => item(`h${place}`, place ? `from ${bytes(least)}` : "less, or none of its own")));
    } else {
      list.replaceChildren(...[...colours].map(([kind, style]) => item(style, kind)), item("c6", "other layers"), item("block", "what has layers in it"));
    }
  }

  function build() {
    tree = model.tree(folded.checked);
    colours = coloured();
    lowest = tree.all.reduce((least, node) => Math.min(least, node.peak ?? Infinity), tree.root.peak ?? 0);
    const svg = find(".icicle", section), about = find(".about", section), nav = find(".crumbs", section);
    const fresh = svg.cloneNode(false); // without the listeners of the picture before
    svg.replaceWith(fresh);
    const zoom = (node) => { view.zoom(node); };
    view = partition(fresh, {
      root: tree.root, size, style, say,
      label: (node) => [node.times > 1 ? `${node.name} (${node.kind})` : node.name || model.title, amount(node) == null ? "" : words().short(amount(node))],
      onabout: (text) => { about.textContent = text; },
      onchoose: (node) => chosen.set(node.row, node.times > 1, sections.icicle),
      onzoom: (node) => crumbs(nav, node, zoom, model.title),
    });
    crumbs(nav, tree.root, zoom, model.title);
    key();
  }

  for (const button of buttons) {
    button.addEventListener("click", () => {
      figure = button.dataset.figure;
      for (const each of buttons) each.setAttribute("aria-pressed", each === button ? "true" : "false");
      build();
    });
  }
  folded.addEventListener("change", build);
  chosen.heard.push([sections.icicle, (row) => {
    view.show(tree.node(row));
  }]);
  build();
};
