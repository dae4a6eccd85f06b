// Writes a PEFT LoRA folder of random numbers that fits a Llama folder, to drive the page with.
// Not an adapter that has learnt anything; those that PEFT wrote are in fixtures/adapters.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Writes `folder` for the model in folder `model`; the same seed gives the same numbers. */
export function writeRandomAdapter(folder, { model, rank = 8, alpha = 12, seed = 1 }) {
  const config = JSON.parse(readFileSync(join(model, "config.json"), "utf8"));
  mkdirSync(folder, { recursive: true });
  const peft = { peft_type: "LORA", task_type: "CAUSAL_LM", r: rank, lora_alpha: alpha, target_modules: ["q_proj", "v_proj"] };
  writeFileSync(join(folder, "adapter_config.json"), JSON.stringify(peft));
  writeFileSync(join(folder, "adapter_model.safetensors"), randomLora(config, rank, seed));
}

/** The bytes of `adapter_model.safetensors`, f32, for q_proj and v_proj of every layer. */
function randomLora(config, R, seed) {
  const { hidden_size: C, num_attention_heads: H, num_key_value_heads: K, num_hidden_layers: L } = config;
  const D = config.head_dim ?? C / H;
  const tensors = [];
  for (let l = 0; l < L; l++) {
    for (const [module, F] of [["q_proj", H * D], ["v_proj", K * D]]) {
      const name = `base_model.model.model.layers.${l}.self_attn.${module}`;
      tensors.push([`${name}.lora_A.weight`, [R, C]], [`${name}.lora_B.weight`, [F, R]]);
    }
  }
  let end = 0;
  const header = {};
  for (const [name, shape] of tensors) header[name] = { dtype: "F32", shape, data_offsets: [end, (end += 4 * shape[0] * shape[1])] };
  const json = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + end);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  for (let pos = 8 + json.length; pos < bytes.length; pos += 4) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    view.setFloat32(pos, 0.25 * (seed / 2 ** 31 - 1), true);
  }
  return bytes;
}
