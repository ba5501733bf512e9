// Compact columns -> rows, and rows -> a tree, in which equal blocks are one or each is there.
const summed = (steps) => { let at = 0; return steps.map((step) => (at += step)); };

function read(columns) {
  const size = columns.up.length, parents = columns.up.map((up, row) => (up ? row - up : -1));
  const paths = new Array(size);
  for (let row = 0; row < size; row += 1) {
    const around = parents[row] < 0 ? "" : paths[parents[row]];
    const alone = columns.elsewhere[row]; // called by the row above, and written in another place
    paths[row] = alone ?? (around ? `${around}.${columns.names[columns.name[row]]}` : columns.names[columns.name[row]]);
  }
  const trees = {};
  const model = {
    title: columns.title, figures: columns.figures, size, parents, paths,
    first: columns.first.map((back, row) => row - back), // the row that stands for it where equal ones are one
    kind: (row) => columns.kinds[columns.kind[row]],
    shape: (row) => columns.shapes[columns.shape[row]],
    mark: (row) => columns.marks[row] || "",
    own: columns.own, change: columns.change,
    tree(folded) { return (trees[folded] ??= grown(model, columns, folded)); },
    rowOf: (path) => paths.indexOf(path), // the first of its calls
  };
  return model;
}

function grown(model, columns, folded) {
  const of = folded ? (row) => model.first[row] : (row) => row, sums = model.figures.filter((figure) => figure !== "peak");
  const nodes = new Array(model.size), all = []; // by row; by their order
  for (let row = 0; row < model.size; row += 1) {
    const at = of(row);
    let node = nodes[at];
    if (!node) {
      const parent = model.parents[at] < 0 ? null : nodes[of(model.parents[at])];
      const name = (folded && columns.called[at]) || columns.names[columns.name[at]];
      const inside = parent && parent.path && columns.elsewhere[at] == null;
      node = {
        row: at, parent, name, path: inside ? `${parent.path}.${name}` : columns.elsewhere[at] ?? name, times: 0,
        children: [], own: {}, peak: null, level: parent ? parent.level + 1 : 0, leaves: 0, kind: "",
      };
      for (const figure of sums) node[figure] = node.own[figure] = 0;
      nodes[at] = node;
      all.push(node);
      if (parent) parent.children.push(node);
    }
    node.times += 1;
    for (const figure of sums) node.own[figure] += model.own[figure][row] ?? 0;
    const peak = model.own.peak?.[row];
    if (peak != null) node.peak = Math.max(node.peak ?? 0, peak);
  }
  for (let place = all.length - 1; place >= 0; place -= 1) { // each after what is in it
    const node = all[place], { parent } = node;
    node.leaves ||= 1;
    node.kind = node.times > 1 ? `${count(node.times)} x ${model.kind(node.row)}` : model.kind(node.row);
    for (const figure of sums) {
      node[figure] += node.own[figure];
      if (parent) parent[figure] += node[figure];
    }
    if (parent) parent.leaves += node.leaves;
  }
  return { root: all[0], all, node: (row) => nodes[of(row)] };
}
