// An app that writes in voices: streams, switches and blends in mid-sentence, compares, learns, saves, goes on for long.
// `?model=` is a hub id or the URL of a model's folder, each `?adapter=NAME=URL` an adapter.
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { saveAdapter } from "lorakeet";
import { useCompletion, useEngine } from "lorakeet/react";

const query = new URLSearchParams(location.search);
const model = query.get("model") ?? "HuggingFaceTB/SmolLM2-135M";
const adapters = Object.fromEntries(query.getAll("adapter").map((each) => each.split(/=(.*)/)));
const sampling = { max_tokens: 64, temperature: 0 };

function App() {
  const { engine, progress, error } = useEngine(model, { adapters, device: query.get("device") ?? "auto" });
  return error ? <p role="alert">{error.message}</p> : engine ? <Writer engine={engine} /> : <progress value={progress?.loaded ?? 0} max={progress?.total ?? 1} />;
}

function Writer({ engine }) {
  const [prompt, setPrompt] = useState("Once upon a time");
  const [voices, setVoices] = useState(Object.fromEntries(Object.keys(adapters).map((name) => [name, 0])));
  const [rows, setRows] = useState([]);
  const [losses, setLosses] = useState([]);
  const { completion, complete, stop, setAdapter, isLoading, error } = useCompletion(engine, sampling);
  const weigh = async (name, weight) => {
    setVoices({ ...voices, [name]: weight });
    await setAdapter({ ...voices, [name]: weight }); // the text under way goes on by it
  };
  const compare = async () => {
    const names = ["__base__", ...Object.keys(voices)];
    const { choices } = await engine.completions.create({ ...sampling, prompt: names.map(() => prompt), adapter_names: names });
    setRows(choices.map(({ text }, i) => `${names[i]}: ${text}`));
  };
  const learn = async () => {
    setLosses([]);
    for await (const { loss } of engine.trainAdapter({ name: "me", dataset: prompt, resume: true })) setLosses((all) => [...all, loss]);
    await engine.loadAdapter(await engine.exportAdapter("me"), { name: "me too" }); // as from the disk
    setVoices((all) => ({ ...all, me: 0, "me too": 0 }));
  };
  const goOn = async () => {
    const temp = await engine.createTempLora({ scoreGenerated: true });
    setLosses([]), setRows([""]);
    for await (const { text, chunk } of temp.generate({ prompt, max_tokens: 3 * temp.chunkTokens, temperature: 0.8 })) {
      if (chunk) setLosses((all) => [...all, chunk.adaptedLoss]);
      else setRows(([row]) => [row + text]);
    }
    await temp.dispose();
  };
  return (
    <main>
      <textarea value={prompt} onChange={({ target }) => setPrompt(target.value)} aria-label="Prompt" />
      {[["Write", () => complete(prompt)], ["Stop", stop], ["Compare", compare], ["Learn", learn], ["Save", () => saveAdapter(engine, "me", { as: "zip" })], ["Long", goOn]].map(([name, act]) => <button key={name} onClick={act}>{name}</button>)}
      {Object.entries(voices).map(([name, weight]) => <label key={name}>{name}<input type="range" min="0" max="1" step="0.05" value={weight} onChange={({ target }) => weigh(name, Number(target.value))} /></label>)}
      <output aria-busy={isLoading}>{completion}</output>{error && <p role="alert">{error.message}</p>}
      <ul>{rows.map((row) => <li key={row}>{row}</li>)}</ul>
      <svg viewBox="0 0 100 40" role="img" aria-label="Loss"><polyline fill="none" stroke="currentColor" points={losses.map((loss, i) => `${(100 * i) / losses.length},${40 - 4 * loss}`).join(" ")} /></svg>
    </main>
  );
}

createRoot(document.getElementById("app")).render(<StrictMode><App /></StrictMode>);
