// A page that writes: `?model=` is a hub id or the URL of a model's folder.

"use client";

import { useEffect, useState } from "react";
import { createEngine } from "lorakeet";

export default function Page() {
  const [engine, setEngine] = useState();
  const [text, setText] = useState("");

  useEffect(() => {
    const controller = new AbortController();
    const model = new URLSearchParams(location.search).get("model") ?? "HuggingFaceTB/SmolLM2-135M";
    const onProgress = ({ loaded, total }) => setText(`${loaded} of ${total} bytes`);
    let opened;
    createEngine(model, { onProgress, signal: controller.signal }).then(
      (engine) => setEngine((opened = engine)),
      (error) => error.kind !== "cancelled" && setText(error.message),
    );
    return () => {
      controller.abort();
      opened?.dispose();
    };
  }, []);

  async function write(event) {
    event.preventDefault();
    setText("");
    const request = { prompt: event.target.elements.prompt.value, max_tokens: 64, temperature: 0, stream: true };
    for await (const { choices } of engine.completions.create(request)) setText((text) => text + choices[0].text);
  }

  return (
    <form onSubmit={write}>
      <input name="prompt" aria-label="Prompt" defaultValue="Once upon a time" /> <button disabled={!engine}>Write</button>
      <output>{text}</output>
    </form>
  );
}
