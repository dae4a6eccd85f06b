// A small line chart, drawn as SVG: one line for each series, a point for each value while they are few.
// Knows nothing of what the numbers are.

const SVG = "http://www.w3.org/2000/svg";
/** CSS pixels; as wide as there is room. */
const [HEIGHT, LEFT, EDGE] = [140, 40, 8];
/** More points than this would be one thick line, and slow to draw. */
const MOST_POINTS = 100;

export class Chart {
  #svg;
  #title;
  /** Values of each series, undefined where it has none. */
  #series;

  /** `names` of the series are their classes too; `title` is for readers who do not see it. */
  constructor(svg, title, names) {
    this.#svg = svg;
    this.#title = title;
    this.#series = new Map(names.map((name) => [name, []]));
    svg.setAttribute("role", "img");
    svg.setAttribute("height", HEIGHT);
    new ResizeObserver(() => this.#draw()).observe(svg);
    this.clear();
  }

  clear() {
    for (const values of this.#series.values()) values.length = 0;
    this.#draw();
  }

  /** One more place on the x axis, with the value of each series there, if it has one. */
  add(values) {
    for (const [name, list] of this.#series) list.push(values[name]);
    this.#draw();
  }

  #draw() {
    const all = [...this.#series.values()].flat().filter((value) => value !== undefined);
    const count = Math.max(...[...this.#series.values()].map((values) => values.length));
    const [low, high] = all.length > 0 ? [Math.min(...all), Math.max(...all)] : [0, 1];
    const width = this.#svg.clientWidth;
    const x = (i) => LEFT + EDGE + (i * (width - LEFT - 2 * EDGE)) / Math.max(count - 1, 1);
    const y = (value) => EDGE + ((high - value) * (HEIGHT - 2 * EDGE)) / (high - low || 1);
    const parts = [line("axis", [[LEFT, EDGE], [LEFT, HEIGHT - EDGE], [width, HEIGHT - EDGE]])];
    if (all.length > 0) parts.push(label(high.toFixed(2), EDGE + 4), label(low.toFixed(2), HEIGHT - EDGE));
    for (const [name, values] of this.#series) {
      const points = values.flatMap((value, i) => (value === undefined ? [] : [[x(i), y(value)]]));
      parts.push(line(name, points));
      if (count <= MOST_POINTS) parts.push(...points.map(([cx, cy]) => part("circle", { class: name, cx, cy, r: 3 })));
    }
    this.#svg.replaceChildren(...parts);
    const last = [...this.#series].map(([name, values]) => [name, values.findLast((value) => value !== undefined)]);
    const told = last.filter(([, value]) => value !== undefined).map(([name, value]) => `${name} ${value.toFixed(2)}`);
    this.#svg.setAttribute("aria-label", `${this.#title}: ${told.length > 0 ? `${count} so far, the last ${told.join(", ")}` : "nothing yet"}`);
  }
}

function part(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function line(name, points) {
  return part("polyline", { class: name, points: points.map((point) => point.join()).join(" ") });
}

function label(text, y) {
  const element = part("text", { x: LEFT - 6, y, "text-anchor": "end" });
  element.textContent = text;
  return element;
}
