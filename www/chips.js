// Small parts of the page: a chip that is a choice, and a slider with its number.
// Names come from the reader's files, so nothing here is ever markup.

/** An element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A radio button or check box in the shape of a chip; `note` stands small beside the name. */
export function chip({ type, group, name, value, note, checked, disabled = false }, ...more) {
  const input = make("input", { type, name: group, value, checked, disabled });
  const label = make("label", {}, input, make("b", { textContent: name, title: name }));
  if (note) label.append(make("small", { textContent: note }));
  return make("span", { className: "chip" }, label, ...more);
}

/** A weight from −1 to 2; `onWeight` hears of every move. */
export function weightSlider({ name, id, weight, onWeight }) {
  const output = make("output", { value: weight.toFixed(2) });
  const input = make("input", { id, type: "range", min: "-1", max: "2", step: "0.05", value: String(weight) });
  output.htmlFor = id;
  input.addEventListener("input", () => {
    output.value = Number(input.value).toFixed(2);
    onWeight(Number(input.value));
  });
  return make("div", { className: "control" }, make("label", { htmlFor: id, textContent: name, title: name }), output, input);
}
