// What a reader would see as broken, each as a line; an empty list is a sound page.
() => {
  const found = [];
  const name = (node) =>
    `<${node.tagName.toLowerCase()} ${node.className}> ${node.textContent.trim().slice(0, 40)}`;
  const seen = (node) => node.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
  const scrolls = (node) => ["auto", "scroll"].includes(getComputedStyle(node).overflowX);
  const inScroller = (node) => {
    for (let at = node; at && at !== document.body; at = at.parentElement) if (scrolls(at)) return true;
    return false;
  };

  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) found.push(`the page is ${root.scrollWidth} wide`);

  for (const node of document.body.querySelectorAll("*")) {
    if (!seen(node) || node.closest("svg, nav, .md-sidebar, .md-search, .headerlink")) continue;
    const style = getComputedStyle(node);
    const hides = ["hidden", "clip"].includes(style.overflowX);
    if (hides && node.clientWidth > 4 && node.scrollWidth > node.clientWidth + 1 && node.innerText)
      found.push(`cut: ${name(node)}`);
    const box = node.getBoundingClientRect();
    if (!inScroller(node) && node.innerText && box.width && box.right > root.clientWidth + 1)
      found.push(`beyond the edge: ${name(node)}`);
  }

  const parts = [..."h1 h2 h3 p td th dt dd li summary label button pre img".split(" ")].join(",");
  const boxes = [...document.body.querySelectorAll(parts)]
    .filter((node) => seen(node) && !node.closest("nav, .md-header, .md-sidebar, .md-search, .md-top"))
    .map((node) => [node, node.getBoundingClientRect()])
    .filter(([, box]) => box.width && box.height)
    .sort(([, a], [, b]) => a.top - b.top);
  boxes.forEach(([one, a], place) => {
    for (const [other, b] of boxes.slice(place + 1)) {
      if (b.top >= a.bottom - 2) break;
      const apart = b.left >= a.right - 2 || a.left >= b.right - 2 || b.bottom - a.top < 2;
      if (!apart && !one.contains(other) && !other.contains(one))
        found.push(`overlap: ${name(one)} and ${name(other)}`);
    }
  });

  for (const image of document.images)
    if (seen(image) && !image.naturalWidth) found.push(`no picture: ${image.alt}`);
  for (const section of document.querySelectorAll("section, .pair, figure"))
    if (!section.innerText.trim() && !section.querySelector("img, svg"))
      found.push(`empty: ${name(section)}`);
  for (const cell of document.querySelectorAll("tbody tr"))
    if (seen(cell) && !cell.innerText.trim()) found.push("an empty row");
  return found;
}
