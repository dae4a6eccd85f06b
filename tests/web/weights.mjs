// Makes a Llama folder of any size, of zeros: for what depends on bytes alone, such as memory.
// Not a model that says anything.

/** `config.json`'s object, the safetensors file up to its data, and how many zeros (f32) that data is. */
export function zeroModel({ C, F, L, V }) {
  const H = 4;
  const config = {
    architectures: ["LlamaForCausalLM"], model_type: "llama", hidden_act: "silu", hidden_size: C, intermediate_size: F,
    num_hidden_layers: L, num_attention_heads: H, num_key_value_heads: H, max_position_embeddings: 64, rms_norm_eps: 1e-5,
    rope_theta: 10000, tie_word_embeddings: true, vocab_size: V, bos_token_id: 0, eos_token_id: 0,
  };
  const shapes = { "model.embed_tokens.weight": [V, C], "model.norm.weight": [C] };
  for (let l = 0; l < L; l++) {
    const layer = `model.layers.${l}`;
    for (const name of ["q", "k", "v", "o"]) shapes[`${layer}.self_attn.${name}_proj.weight`] = [C, C];
    for (const name of ["gate", "up"]) shapes[`${layer}.mlp.${name}_proj.weight`] = [F, C];
    shapes[`${layer}.mlp.down_proj.weight`] = [C, F];
    for (const name of ["input", "post_attention"]) shapes[`${layer}.${name}_layernorm.weight`] = [C];
  }
  let end = 0;
  let largest = 0;
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const start = end;
    const bytes = 4 * shape.reduce((product, n) => product * n, 1);
    end += bytes;
    largest = Math.max(largest, bytes);
    return [name, { dtype: "F32", shape, data_offsets: [start, end] }];
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  return { config, head: Buffer.concat([prefix, json]), dataBytes: end, largestBytes: largest };
}
