// Shows the numbers of the curves at the place that the pointer, or an arrow key, chooses.
"use strict";
const SVG = "http://www.w3.org/2000/svg";

function element(kind, attributes, inside = "", space = null) {
  const made = space ? document.createElementNS(space, kind) : document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(inside);
  return made;
}

function nearest(places, x) {
  let best = 0;
  places.forEach((place, i) => { if (Math.abs(place - x) < Math.abs(places[best] - x)) best = i; });
  return best;
}

function read(plot) {
  const panels = JSON.parse(plot.querySelector("script").textContent);
  const tip = plot.querySelector(".tip");
  let panel = 0, place = -1;
  const shown = () => [...plot.querySelectorAll("svg")].find((svg) => svg.getBoundingClientRect().width > 0);

  function hide() {
    place = -1;
    tip.replaceChildren();
    plot.querySelector(".pointer")?.remove();
  }

  function show() {
    const { box: [left, right, top, bottom], at, places, curves } = panels[panel], x = at[place];
    const svg = shown(), scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const told = curves.filter((curve) => curve.says[place] !== null);
    plot.querySelector(".pointer")?.remove();
    const pointer = element("g", { class: "pointer" }, "", SVG);
    pointer.append(element("path", { d: `M${x} ${top}V${bottom}` }, "", SVG));
    for (const { y, colour } of told.filter((curve) => curve.y[place] !== null)) {
      pointer.append(element("circle", { cx: x, cy: y[place], r: 3.5, style: `fill:${colour}` }, "", SVG));
    }
    svg.append(pointer);
    const rows = told.map(({ name, colour, says }) => {
      const row = element("div", {}, element("i", { style: `background:${colour}` }));
      row.append(name ? `${name}: ${says[place]}` : says[place]);
      return row;
    });
    tip.replaceChildren(element("b", {}, places[place]), ...rows);
    const width = tip.offsetWidth, beside = x < (left + right) / 2 ? x * scale + 12 : x * scale - 12 - width;
    tip.style.left = `${Math.max(Math.min(beside, plot.clientWidth - width), 0)}px`;
    const above = 2 * width > plot.clientWidth ? tip.offsetHeight + 4 : 0;  // on a phone it would hide the curves
    tip.style.top = `${top * scale - above}px`;
  }

  function point(event) {
    const frame = shown().getBoundingClientRect(), scale = shown().viewBox.baseVal.width / frame.width;
    const x = (event.clientX - frame.left) * scale, y = (event.clientY - frame.top) * scale;
    const inside = panels.findIndex(({ box: [left, right, top, bottom] }) =>
      left - 6 <= x && x <= right + 6 && top <= y && y <= bottom);
    if (inside < 0) return hide();
    panel = inside;
    place = nearest(panels[panel].at, x);
    show();
  }

  function press(event) {
    const last = panels[panel].at.length - 1, steps = { ArrowRight: 1, ArrowLeft: -1, PageUp: 10, PageDown: -10 };
    if (event.key === "Escape") return hide();
    if (event.key in steps) place = Math.min(Math.max(place + steps[event.key], 0), last);
    else if (event.key === "Home" || event.key === "End") place = event.key === "Home" ? 0 : last;
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      panel = (panel + 1) % panels.length;
      place = Math.min(Math.max(place, 0), panels[panel].at.length - 1);
    } else return;
    event.preventDefault();
    show();
  }

  plot.tabIndex = 0;
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerdown", point);
  plot.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") hide(); });
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", press);
}

document.querySelectorAll(".plot.readable").forEach(read);
document.querySelectorAll(".hint").forEach((hint) => { hint.hidden = false; });
