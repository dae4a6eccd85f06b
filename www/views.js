// Which of the page's sheets is shown: one text, a long one, or a lesson.
// Work in a hidden sheet goes on.

const buttons = [...document.querySelectorAll("#views button")];

/** Makes the buttons work; the first sheet is shown. */
export function showViews() {
  for (const button of buttons) button.addEventListener("click", () => show(button));
  show(buttons[0]);
}

function show(chosen) {
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(button === chosen));
    document.getElementById(button.value).hidden = button !== chosen;
  }
  // Enter in a field of the sampling card submits the sheet that is seen.
  for (const field of document.querySelectorAll("aside [form]")) field.setAttribute("form", chosen.value);
}
