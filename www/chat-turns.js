// The turns of a conversation as the reader sees them, each answer in its voice's colour.
// Remembers nothing: chat.js tells it what to show, and hears what was done.

import { coloured, element, make } from "./parts.js";
import { t } from "./words.js";

/** Draws `turns` as conversation.js has them. `markdown` makes elements of an answer; `onEdit` hears a turn's index, `onChoose` that and an answer's, `onAgain` that the last is to be answered anew. */
export function drawTurns(turns, { markdown, onEdit, onChoose, onAgain }) {
  element("turns").replaceChildren(...turns.map((turn, i) => {
    const isLast = i === turns.length - 1;
    const edit = button(t("chat.edit"), () => onEdit(i));
    edit.ariaLabel = t("chat.edit.which", { text: turn.text.slice(0, 60) });
    const answers = turn.answers.map((answer, k) => {
      const isChosen = k === turn.chosen;
      const body = make("div", { className: "md" });
      body.replaceChildren(...markdown(answer.text));
      const article = coloured(answer.hue ?? "base", make("article", { ariaLabel: t("chat.answer", answer) }, make("h3", { textContent: answer.title }), body));
      if (turn.answers.length > 1) {
        const choose = button(t(isChosen ? "chat.chosen" : "chat.choose"), () => onChoose(i, k));
        choose.setAttribute("aria-pressed", String(isChosen));
        article.append(choose);
      }
      return article;
    });
    const item = make("li", {}, make("div", { className: "mine" }, make("p", { textContent: turn.text }), edit), make("div", { className: "answers" }, ...answers));
    if (isLast && turn.answers.length > 0) item.append(button(t("chat.again"), onAgain, "again"));
    return item;
  }));
}

/** More of the last turn's answer of that index; its end stays in sight, if it was. */
export function showAnswer(index, elements) {
  const box = element("turns-box");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
  element("turns").lastElementChild.querySelectorAll(".md")[index].replaceChildren(...elements);
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function button(textContent, onClick, className = "") {
  const it = make("button", { type: "button", textContent, className });
  it.addEventListener("click", onClick);
  return it;
}
