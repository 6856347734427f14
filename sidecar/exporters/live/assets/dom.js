// Elements without markup: whatever comes from outside becomes text, never HTML.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// h("p", { class: "x", onclick }, "text", element): null and false are left out.
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  set(element, props);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function set(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else if (name.startsWith("on")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
}

export function replace(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}

// Write a text only where it changed, which spares the browser and the screen reader.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function swatch(component) {
  return h("span", { class: `swatch c-${component}`, "aria-hidden": "true" });
}

export function meter(status) {
  const element = h("span", { class: `status s-${status}` });
  element.append(h("span", { class: "meter", "aria-hidden": "true" }, h("i"), h("i"), h("i"), h("i")), status);
  return element;
}

const SHAPES = {
  down: "M5 0h4v7h4l-6 6-6-6h4z", // tokens go
  wedge: "M0 1h14L7 13z",
  up: "M5 13h4V6h4L7 0 1 6h4z", // tokens come
  bang: "M7 0 14 13H0z", // did not fit
  cross: "M2 0l5 5 5-5 2 2-5 5 5 5-2 2-5-5-5 5-2-2 5-5-5-5z", // refused
  tick: "M5.5 12.5 0 7l2-2 3.5 3.5L12 2l2 2z", // done
  dot: "M7 3.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7z",
  scale: "M0 1h14v3H0zm0 4.5h9v3H0zM0 10h5v3H0z", // shares
  fold: "M0 0h14v3H0zm3 5h8v3H3zm2.5 5h3v3h-3z", // compacted
  ring: "M7 1a6 6 0 1 1 0 12A6 6 0 0 1 7 1zm0 2.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
};

export function glyph(shape) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "glyph");
  svg.setAttribute("viewBox", "0 0 14 13.5");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[shape]);
  svg.append(path);
  return svg;
}

// A choice of one among few, as the ARIA pattern of radio buttons has it: arrows move and choose.
export function choice(root, options, chosen, choose) {
  const buttons = options.map(([value, text]) => {
    const button = h("button", { type: "button", role: "radio" }, text);
    button.onclick = () => pick(value);
    return button;
  });
  const pick = (value) => {
    show(value);
    choose(value);
  };
  const show = (value) => {
    options.forEach(([each], at) => set(buttons[at], { "aria-checked": String(each === value), tabindex: each === value ? "0" : "-1" }));
  };
  root.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = (buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length;
    buttons[at].focus();
    pick(options[at][0]);
  };
  replace(root, buttons);
  show(chosen);
  return show;
}
