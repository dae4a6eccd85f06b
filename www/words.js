// The page's words in the reader's language: English, or another one of words/.
// Not the engine's messages: those are its own.

import en from "./words/en.js";

/** Languages by their codes, each called as its speakers call it. */
const LANGUAGES = { en: "English", de: "Deutsch" };
const KEY = "lorakeet language";

/** The code of the language the page is in: the one chosen here before, else the first of the browser's that there is. */
const language = [chosen(), ...navigator.languages.map((each) => each.split("-")[0])].find((code) => Object.hasOwn(LANGUAGES, code)) ?? "en";

const words = language === "en" ? en : (await import(`./words/${language}.js`)).default;

/** The words of a key, with {name} replaced by the value of that name; where `n` is 1, those of `key.one` if there are any. */
export function t(key, values = {}) {
  const form = values.n === 1 && Object.hasOwn(words, `${key}.one`) ? `${key}.one` : key;
  return words[form].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Puts the words into the page, which is written in English; and lets the reader choose another language in `list`. */
export function localise(list) {
  document.documentElement.lang = language;
  if (language !== "en") {
    for (const it of document.querySelectorAll("[data-t]")) it.textContent = t(it.dataset.t);
    for (const it of document.querySelectorAll("[data-t-label]")) it.setAttribute("aria-label", t(it.dataset.tLabel));
    for (const it of document.querySelectorAll("[data-t-placeholder]")) it.placeholder = t(it.dataset.tPlaceholder);
  }
  list.append(...Object.entries(LANGUAGES).map(([code, name]) => new Option(name, code, false, code === language)));
  list.addEventListener("change", () => {
    try {
      localStorage.setItem(KEY, list.value);
    } catch {
      return; // the browser keeps nothing, and would ask again
    }
    location.reload();
  });
}

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
