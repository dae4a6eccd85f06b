#!/usr/bin/env python3
"""Writes one random model of SmolLM2-135M's shape in every format that tools/bench-peers.mjs loads.

    python3 weights.py FOLDER

FOLDER gets `safetensors/` (f32, with a tokenizer), `q8_0.gguf`, `adapter-0/` and `adapter-1/` (PEFT's LoRA on every
linear map), and `onnx/`, a folder as transformers.js takes it: fp32, and q8 made by onnxruntime's
`quantize_dynamic`. Its graph is written here node by node: inputs, outputs and fused ops are those of published exports.
"""

import argparse
import json
import logging
from pathlib import Path

import gguf
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import save_file

SEED, RANK = 7, 16
# With smaller maps a token draws itself, again and again: the embedding is the head.
EMBEDDING_STD, MAP_STD, LORA_STD = 0.02, 0.03, 0.02
L, C, F, H, K, D, V = 30, 576, 1536, 9, 3, 64, 49152
CONTEXT, EPS, THETA = 2048, 1e-5, 100_000.0
BOS, EOS = V - 2, V - 1

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": C,
    "intermediate_size": F, "num_hidden_layers": L, "num_attention_heads": H, "num_key_value_heads": K,
    "head_dim": D, "max_position_embeddings": CONTEXT, "vocab_size": V, "rms_norm_eps": EPS, "rope_theta": THETA,
    "tie_word_embeddings": True, "bos_token_id": BOS, "eos_token_id": EOS, "torch_dtype": "float32",
}
# (out, in) of each linear map, by its name in a checkpoint and llama.cpp's.
MAPS = {
    "self_attn.q_proj": ("attn_q", (H * D, C)), "self_attn.k_proj": ("attn_k", (K * D, C)),
    "self_attn.v_proj": ("attn_v", (K * D, C)), "self_attn.o_proj": ("attn_output", (C, H * D)),
    "mlp.gate_proj": ("ffn_gate", (F, C)), "mlp.up_proj": ("ffn_up", (F, C)), "mlp.down_proj": ("ffn_down", (C, F)),
}
NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


def checkpoint() -> dict[str, np.ndarray]:
    """Normally distributed maps, as before training; norms near 1."""
    rng = np.random.default_rng(SEED)
    normal = lambda shape, std: rng.standard_normal(shape, dtype=np.float32) * np.float32(std)
    tensors = {"model.embed_tokens.weight": normal((V, C), EMBEDDING_STD), "model.norm.weight": 1 + normal(C, 0.1)}
    for l in range(L):
        for name, (_, shape) in MAPS.items():
            tensors[f"model.layers.{l}.{name}.weight"] = normal(shape, MAP_STD)
        for name in NORMS:
            tensors[f"model.layers.{l}.{name}.weight"] = 1 + normal(C, 0.1)
    return tensors


def tokens() -> list[str]:
    """Four letters each behind a space, which llama.cpp takes as they are: a text tells its ids. One merge, as it wants some."""
    letters = lambda i: "".join(chr(97 + i // 26**place % 26) for place in (3, 2, 1, 0))
    return ["a", "b", "ab", *(f"\u0120{letters(i)}" for i in range(3, V))]


def write_safetensors(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    model = {"type": "BPE", "vocab": {token: i for i, token in enumerate(tokens())}, "merges": ["a b"], "ignore_merges": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    tokenizer = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": level,
                 "post_processor": None, "decoder": level, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_gguf(path: Path, tensors: dict[str, np.ndarray]) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random-135M")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(C)
    writer.add_block_count(L)
    writer.add_feed_forward_length(F)
    writer.add_head_count(H)
    writer.add_head_count_kv(K)
    writer.add_rope_dimension_count(D)
    writer.add_rope_freq_base(THETA)
    writer.add_layer_norm_rms_eps(EPS)
    writer.add_vocab_size(V)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens())
    writer.add_token_types([gguf.TokenType.NORMAL] * V)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_add_bos_token(False)

    def add(name: str, array: np.ndarray, heads: int = 0) -> None:
        if heads:  # llama.cpp rotates neighbours, a checkpoint halves
            array = array.reshape(heads, 2, D // 2, -1).swapaxes(1, 2).reshape(array.shape)
        if array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)

    add("token_embd.weight", tensors["model.embed_tokens.weight"])
    add("output_norm.weight", tensors["model.norm.weight"])
    for l in range(L):
        named = {name: theirs for name, (theirs, _) in MAPS.items()} | NORMS
        for name, theirs in named.items():
            heads = {"attn_q": H, "attn_k": K}.get(theirs, 0)
            add(f"blk.{l}.{theirs}.weight", tensors[f"model.layers.{l}.{name}.weight"], heads)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_adapter(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK, "lora_dropout": 0.0,
              "bias": "none", "target_modules": [name.split(".")[1] for name in MAPS]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = {}
    for l in range(L):
        for name, (_, (rows, cols)) in MAPS.items():
            for half, shape in (("A", (RANK, cols)), ("B", (rows, RANK))):
                numbers = rng.standard_normal(shape, dtype=np.float32) * np.float32(LORA_STD)
                tensors[f"base_model.model.model.layers.{l}.{name}.lora_{half}.weight"] = numbers
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


class Graph:
    """An ONNX graph under construction; every op has one output, named after itself."""

    def __init__(self):
        self.nodes, self.constants = [], {}

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant("_".join(["ints", *map(str, values)]), np.array(values, dtype=np.int64))

    def op(self, kind: str, *inputs: str, to: str | None = None, more: list[str] = [], domain: str = "", **attributes) -> str:
        output = to or f"{kind}_{len(self.nodes)}"
        node = helper.make_node(kind, inputs, [output, *more], f"node_{len(self.nodes)}", domain=domain, **attributes)
        self.nodes.append(node)
        return output


def graph(tensors: dict[str, np.ndarray]) -> onnx.ModelProto:
    g = Graph()
    microsoft = "com.microsoft"
    weight = lambda name: g.constant(name, tensors[f"{name}.weight"].T if tensors[f"{name}.weight"].ndim == 2 else tensors[f"{name}.weight"])

    def linear(name: str, x: str) -> str:
        return g.op("MatMul", x, weight(name))

    def heads(x: str, n: int) -> str:
        return g.op("Transpose", g.op("Reshape", x, g.ints(0, 0, n, D)), perm=[0, 2, 1, 3])

    angles = np.outer(np.arange(CONTEXT), THETA ** (-np.arange(0, D, 2) / D))
    cos, sin = (g.constant(name, f(angles).astype(np.float32)) for name, f in (("cos", np.cos), ("sin", np.sin)))
    rotate = lambda x: g.op("RotaryEmbedding", x, "position_ids", cos, sin, domain=microsoft)

    # (B, 1, T, S): 0 for keys at or before a row's position, very little for the others
    length = g.op("Gather", g.op("Shape", "attention_mask"), g.constant("one", np.array(1, dtype=np.int64)), axis=0)
    zero, one = (g.constant(f"scalar_{i}", np.array(i, dtype=np.int64)) for i in (0, 1))
    keys = g.op("Range", zero, length, one)
    seen = g.op("LessOrEqual", keys, g.op("Unsqueeze", "position_ids", g.ints(2)))
    numbers = [g.constant(f"mask_{i}", np.array(x, dtype=np.float32)) for i, x in enumerate((0, np.finfo(np.float32).min))]
    mask = g.op("Unsqueeze", g.op("Where", seen, *numbers), g.ints(1))

    # The embedding is the head turned: one matrix serves both.
    table = weight("model.embed_tokens")
    x = g.op("Transpose", g.op("Gather", table, "input_ids", axis=1), perm=[1, 2, 0])
    normed = g.op("SimplifiedLayerNormalization", x, weight("model.layers.0.input_layernorm"), axis=-1, epsilon=EPS, stash_type=1)
    scale = g.constant("scale", np.array(D**-0.5, dtype=np.float32))

    def add_and_norm(x: str, y: str, name: str) -> tuple[str, str]:
        """norm(x + y), and x + y"""
        total = f"sum_{len(g.nodes)}"
        normed = g.op("SkipSimplifiedLayerNormalization", x, y, weight(name), more=["", "", total], domain=microsoft, epsilon=EPS)
        return normed, total

    for l in range(L):
        layer = f"model.layers.{l}"
        q, k, v = (linear(f"{layer}.self_attn.{i}_proj", normed) for i in "qkv")
        q, k, v = rotate(heads(q, H)), rotate(heads(k, K)), heads(v, K)
        k = g.op("Concat", f"past_key_values.{l}.key", k, axis=2, to=f"present.{l}.key")
        v = g.op("Concat", f"past_key_values.{l}.value", v, axis=2, to=f"present.{l}.value")
        # The rows of the heads that share keys, one after the other.
        q = g.op("Reshape", q, g.ints(0, K, -1, D))
        scores = g.op("Mul", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), scale)
        by_head = g.op("Concat", g.ints(0, H, -1), g.op("Unsqueeze", length, g.ints(0)), axis=0)
        by_group = g.op("Concat", g.ints(0, K, -1), g.op("Unsqueeze", length, g.ints(0)), axis=0)
        weights = g.op("Softmax", g.op("Add", g.op("Reshape", scores, by_head), mask), axis=-1)
        y = g.op("MatMul", g.op("Reshape", weights, by_group), v)
        y = g.op("Transpose", g.op("Reshape", y, g.ints(0, H, -1, D)), perm=[0, 2, 1, 3])
        y = linear(f"{layer}.self_attn.o_proj", g.op("Reshape", y, g.ints(0, 0, -1)))
        normed, x = add_and_norm(x, y, f"{layer}.post_attention_layernorm")
        gate, up = linear(f"{layer}.mlp.gate_proj", normed), linear(f"{layer}.mlp.up_proj", normed)
        hidden = g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), up)
        y = linear(f"{layer}.mlp.down_proj", hidden)
        normed, x = add_and_norm(x, y, f"model.layers.{l + 1}.input_layernorm" if l + 1 < L else "model.norm")
    # The last rows alone, or all where their number is 0.
    first = g.op("Unsqueeze", g.op("Neg", "num_logits_to_keep"), g.ints(0))
    normed = g.op("Slice", normed, first, g.ints(2**62), g.ints(1))
    g.op("MatMul", normed, table, to="logits")

    f32, i64 = TensorProto.FLOAT, TensorProto.INT64
    value = helper.make_tensor_value_info
    inputs = [value("input_ids", i64, ["B", "T"]), value("attention_mask", i64, ["B", "S"]),
              value("position_ids", i64, ["B", "T"]), value("num_logits_to_keep", i64, [])]
    outputs = [value("logits", f32, ["B", "N", V])]
    for l in range(L):
        for half in ("key", "value"):
            inputs.append(value(f"past_key_values.{l}.{half}", f32, ["B", K, "P", D]))
            outputs.append(value(f"present.{l}.{half}", f32, ["B", K, "S", D]))
    made = helper.make_graph(g.nodes, "random-135M", inputs, outputs, list(g.constants.values()))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(microsoft, 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def write_onnx(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    files = folder / "onnx"
    files.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, "eos_token_id": None}))
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": BOS}))
    onnx.save(graph(tensors), files / "model.onnx")
    options = {"DefaultTensorType": TensorProto.FLOAT}
    quantize_dynamic(files / "model.onnx", files / "model_quantized.onnx", weight_type=QuantType.QInt8, per_channel=True, extra_options=options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    logging.disable()  # the quantiser tells of each tensor whose type it does not know
    tensors = checkpoint()
    write_safetensors(folder / "safetensors", tensors)
    write_gguf(folder / "q8_0.gguf", tensors)
    for i in range(2):
        write_adapter(folder / f"adapter-{i}", SEED + 1 + i)
    write_onnx(folder / "onnx", tensors)


if __name__ == "__main__":
    main()
