// A conversation: what was said, and the answers, kept in this browser until it is cleared.
// Each answer has its voice; the chosen one of each turn is what the model reads later.

const KEY = "lorakeet conversation";

export class Conversation {
  /** {text, answers: [{voice, title, hue, text}], chosen}, the oldest first. */
  turns = kept();

  /** A new turn, which has no answer yet. */
  ask(text) {
    const turn = { text, answers: [], chosen: 0 };
    this.turns.push(turn);
    return turn;
  }

  /** Takes out a turn and all after it. */
  cut(from) {
    this.turns.length = from;
    this.keep();
  }

  /** The answer that the conversation goes on from. */
  choose(turn, answer) {
    this.turns[turn].chosen = answer;
    this.keep();
  }

  /** What the model is given to answer the last turn, from the turn of that index on. */
  messages(from = 0) {
    return this.turns.slice(from).flatMap(({ text, answers, chosen }, i, all) => {
      const question = { role: "user", content: text };
      const isLast = i === all.length - 1;
      return isLast || !answers[chosen]?.text ? [question] : [question, { role: "assistant", content: answers[chosen].text }];
    });
  }

  /** All of it as OpenAI's messages, each answer with the name of its voice. */
  file() {
    const messages = this.turns.flatMap(({ text, answers, chosen }) => {
      const answer = answers[chosen];
      return [{ role: "user", content: text }, ...(answer ? [{ role: "assistant", content: answer.text, ...(answer.voice && { name: answer.voice }) }] : [])];
    });
    return new File([`${JSON.stringify({ messages }, null, 2)}\n`], "conversation.json", { type: "application/json" });
  }

  /** A browser that keeps nothing still converses. */
  keep() {
    try {
      if (this.turns.length === 0) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, JSON.stringify(this.turns));
    } catch {
      // full, or refused
    }
  }
}

/** What an earlier visit left; nothing where that is not what this page wrote. */
function kept() {
  try {
    const turns = JSON.parse(localStorage.getItem(KEY)) ?? [];
    const isAnswer = ({ voice, title, text }) => [voice, title, text].every((each) => typeof each === "string");
    return turns.every(({ text, answers, chosen }) => typeof text === "string" && answers.every(isAnswer) && Number.isInteger(chosen)) ? turns : [];
  } catch {
    return [];
  }
}
