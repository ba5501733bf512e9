// The old and the new model as icicles on one scale, coloured by what grew and what shrank.
sections.changes = (section, data) => {
  const models = data.models.map(read), buttons = [...section.querySelectorAll("[data-figure]")];
  const folded = find(".folded", section), hosts = [...section.querySelectorAll(".side")];
  if (!buttons.length) return;
  let figure = buttons[0].dataset.figure, views = [];
  const signed = (n) => `${n > 0 ? "+" : "-"}${figure === "saved" ? bytes(Math.abs(n)) : count(Math.abs(n))}`;

  function build() {
    const trees = models.map((model) => model.tree(folded.checked));
    const whole = Math.max(...trees.map((tree) => tree.root[figure]));
    views = hosts.map((host, side) => {
      const model = models[side], tree = trees[side], svg = find(".icicle", host), fresh = svg.cloneNode(false);
      const grown = new Map();
      for (let row = 0; row < model.size; row += 1) grown.set(tree.node(row).row, (grown.get(tree.node(row).row) || 0) + model.change[figure][row]);
      svg.replaceWith(fresh);
      const about = find(".about", host), nav = find(".crumbs", host);
      const share = (node) => { const by = grown.get(node.row), now = node[figure]; return by / Math.max(now, side ? now - by : now + by, 1); };
      const view = partition(fresh, {
        root: tree.root, whole, size: (node) => node[figure],
        style: (node) => { const by = share(node); return !by ? "same" : `${by > 0 ? "more" : "less"}${Math.abs(by) >= 0.1 ? 2 : 1}`; },
        label: (node) => [node.times > 1 ? `${node.name} (${node.kind})` : node.name || model.title, FIGURES[figure].short(node[figure])],
        say: (node) => {
          const by = grown.get(node.row), state = model.mark(node.row);
          return `${node.path || model.title} (${node.kind})${state ? `, ${state}` : ""}: ${FIGURES[figure].say(node[figure])}${by ? `, ${signed(by)}` : ""}`;
        },
        onabout: (text) => { about.textContent = text; },
        onzoom: (node) => crumbs(nav, node, (each) => view.zoom(each), model.title),
      });
      crumbs(nav, tree.root, (each) => view.zoom(each), model.title);
      return { view, tree, model, about };
    });
  }

  for (const button of buttons) {
    button.addEventListener("click", () => {
      figure = button.dataset.figure;
      for (const each of buttons) each.setAttribute("aria-pressed", each === button ? "true" : "false");
      build();
    });
  }
  folded.addEventListener("change", build);
  for (const line of section.querySelectorAll("[data-line] button")) {
    line.addEventListener("click", () => {
      const paths = data.lines[line.closest("tr").dataset.line].paths;
      views.forEach(({ view, tree, model, about }, side) => {
        const node = tree.node(model.rowOf(paths[side]));
        if (node) view.show(node);
        else { view.choose(null); about.textContent = `not in ${data.names[side]}`; }
      });
    });
  }
  build();
};
