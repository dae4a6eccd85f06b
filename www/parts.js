// Small parts of the page: an element by its id or anew, a voice's row, a slider with its number.
// Names come from the reader's files, so nothing here is ever markup.

/** The element of that id. */
export const element = (id) => document.getElementById(id);

/** An element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A voice to choose, by radio button or check box: its name, and small what is to be said of it. */
export function voiceChoice({ type, value, title, line, hue, checked, disabled }, ...more) {
  const input = make("input", { type, name: "voice", value, checked, disabled });
  const label = make("label", { title: line ? `${title}: ${line}` : title }, input, make("b", { textContent: title }));
  if (line) label.append(make("small", { textContent: line }));
  return coloured(hue, make("span", { className: "voice" }, label, ...more));
}

/** A voice to weigh, from −1 to 2; `onWeight` hears of every move. */
export function weightSlider({ id, title, hue, weight, disabled, onWeight }) {
  const output = make("output", { htmlFor: id, value: weight.toFixed(2) });
  const input = make("input", { id, type: "range", min: "-1", max: "2", step: "0.05", value: String(weight), disabled });
  input.addEventListener("input", () => {
    output.value = Number(input.value).toFixed(2);
    onWeight(Number(input.value));
  });
  return coloured(hue, make("div", { className: "control weight" }, make("label", { htmlFor: id, textContent: title, title }), output, input));
}

/** Gives an element a voice's colour. */
export function coloured(hue, it) {
  it.dataset.hue = hue;
  return it;
}

/** Boxes that texts grow in: whether the end is in sight and is to stay so, and whether that is to be seen to at the next paint. */
const growing = new WeakMap();

/** Appends to a text in a box that scrolls, and follows its end if that was in sight. Once for each paint: to look is to lay out. */
export function grow(box, text, more) {
  text.append(more);
  if (!growing.has(box)) {
    const state = { follows: true, isDue: false };
    growing.set(box, state);
    box.addEventListener("scroll", () => (state.follows = box.scrollHeight - box.scrollTop - box.clientHeight < 40));
  }
  const state = growing.get(box);
  if (!state.follows || state.isDue) return;
  state.isDue = true;
  requestAnimationFrame(() => {
    state.isDue = false;
    if (state.follows) box.scrollTop = box.scrollHeight;
  });
}

/** Bytes for people: 2.1 MB. */
export function bytes(n) {
  const unit = ["B", "kB", "MB", "GB"];
  let power = 0;
  for (; n >= 1000 && power < 3; power++) n /= 1000;
  return `${n.toFixed(power === 0 || n >= 100 ? 0 : 1)} ${unit[power]}`;
}
