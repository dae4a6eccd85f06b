"""Writes a Hugging Face model folder as one GGUF file, tokenizer included.

    python tools/train/export.py FOLDER OUT.gguf --type q8_0

Llama, Mistral, Qwen2, Qwen3, GPT-2, Gemma 1 to 3, SmolLM3, Granite, OLMo 2, Phi, Phi-3, StableLM, GPT-NeoX,
StarCoder 1 and 2, GPT-J, InternLM2, Ministral 3 and Command R, in the layout of llama.cpp's convert_hf_to_gguf.py, which
it does not need: names from the `gguf` package's own map; for Llama, SmolLM3, Granite, InternLM2 and Ministral 3 the
halves of each head's rows of q and k interleaved; GPT-NeoX's rows of q, of k and of v together, InternLM2's in maps of
their own; Gemma's weights of norms with the 1 that its checkpoints leave out; GPT-2's Conv1D weights turned round;
vectors kept as f32, and matrices whose rows are no whole number of blocks as f16. Afterwards every value is read
back and compared.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy
import torch
from safetensors.torch import load_file

TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
}
FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}
ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gpt2": gguf.MODEL_ARCH.GPT2,
    "gemma": gguf.MODEL_ARCH.GEMMA,
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
    "smollm3": gguf.MODEL_ARCH.SMOLLM3,
    "granite": gguf.MODEL_ARCH.GRANITE,
    "olmo2": gguf.MODEL_ARCH.OLMO2,
    "phi": gguf.MODEL_ARCH.PHI2,
    "phi3": gguf.MODEL_ARCH.PHI3,
    "stablelm": gguf.MODEL_ARCH.STABLELM,
    "gpt_neox": gguf.MODEL_ARCH.GPTNEOX,
    "starcoder2": gguf.MODEL_ARCH.STARCODER2,
    "gpt_bigcode": gguf.MODEL_ARCH.STARCODER,
    "cohere": gguf.MODEL_ARCH.COMMAND_R,
    "cohere2": gguf.MODEL_ARCH.COHERE2,
    "gptj": gguf.MODEL_ARCH.GPTJ,
    "internlm2": gguf.MODEL_ARCH.INTERNLM2,
    "ministral3": gguf.MODEL_ARCH.MISTRAL3,
}
# Those that have LayerNorm, of which llama.cpp takes it for granted that they rotate by base 10,000; and the part of
# each head that they rotate where their configs do not say.
LAYER_NORMED = {gguf.MODEL_ARCH.PHI2: 0.5, gguf.MODEL_ARCH.STABLELM: 0.25, gguf.MODEL_ARCH.GPTNEOX: 0.25}
# Those whose q and k are interleaved, and those whose norms are stored less 1.
INTERLEAVED = (gguf.MODEL_ARCH.LLAMA, gguf.MODEL_ARCH.SMOLLM3, gguf.MODEL_ARCH.GRANITE, gguf.MODEL_ARCH.INTERNLM2,
               gguf.MODEL_ARCH.MISTRAL3)
GEMMAS = (gguf.MODEL_ARCH.GEMMA, gguf.MODEL_ARCH.GEMMA2, gguf.MODEL_ARCH.GEMMA3)
# `tokenizer.ggml.pre` by the digits of the pattern that cuts a text.
CUTS = {r"\p{N}{1,3}": "llama-bpe", r"\p{N}": "qwen2"}
SPACE = "\u2581"  # SentencePiece's


def interleave(rows: numpy.ndarray, heads: int) -> numpy.ndarray:
    """rows (H·D, ...): of each head, row i of the first half and row i of the second become neighbours."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def by_part(rows: numpy.ndarray, heads: int) -> numpy.ndarray:
    """rows (H·3·D, ...): those of all q, then k, then v."""
    return rows.reshape(heads, 3, rows.shape[0] // heads // 3, *rows.shape[1:]).swapaxes(0, 1).reshape(rows.shape)


def apart(weights: dict[str, torch.Tensor], config: dict) -> dict[str, torch.Tensor]:
    """InternLM2's rows of q, k and v, which lie by head of keys, as maps of their own."""
    heads, kv_heads, split = config["num_attention_heads"], config["num_key_value_heads"], {}
    for name, rows in weights.items():
        if ".wqkv." not in name:
            split[name] = rows
            continue
        groups = rows.reshape(kv_heads, heads // kv_heads + 2, -1, *rows.shape[1:])
        for part, own in (("q", groups[:, :-2]), ("k", groups[:, -2]), ("v", groups[:, -1])):
            split[name.replace("attention.wqkv", f"self_attn.{part}_proj")] = own.reshape(-1, *rows.shape[1:])
    return split


def rope_factors(scaling: dict, theta: float, head_dim: int) -> numpy.ndarray:
    """What Llama 3's scaling divides each frequency by, (D/2)."""
    wavelength = 2 * numpy.pi * theta ** (numpy.arange(0, head_dim, 2, dtype=numpy.float64) / head_dim)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    smooth = (scaling["original_max_position_embeddings"] / wavelength - low) / (high - low)
    smooth = smooth.clip(0, 1)
    return (1 / ((1 - smooth) / scaling["factor"] + smooth)).astype(numpy.float32)


def tensors(folder: Path, config: dict, arch: gguf.MODEL_ARCH) -> dict[str, numpy.ndarray]:
    """Every tensor in f32, under llama.cpp's name and in its order of rows."""
    weights: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= load_file(file)
    if arch == gguf.MODEL_ARCH.INTERNLM2:
        weights = apart(weights, config)
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    names = gguf.get_tensor_name_map(arch, layers)
    tied = config.get("tie_word_embeddings", arch == gguf.MODEL_ARCH.GPT2)
    found = {}
    for name, tensor in weights.items():
        if name.endswith((".attn.bias", ".attn.masked_bias", "inv_freq")) or (tied and name == "lm_head.weight"):
            continue
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert new is not None, name
        values = tensor.float().numpy()
        if arch == gguf.MODEL_ARCH.GPT2 and new.startswith("blk.") and values.ndim == 2:
            values = values.T
        if arch in GEMMAS and new.endswith("norm.weight"):
            values = values + 1
        if arch in INTERLEAVED and ".attn_q." in new:
            values = interleave(values, config["num_attention_heads"])
        if arch in INTERLEAVED and ".attn_k." in new:
            values = interleave(values, config["num_key_value_heads"])
        if arch == gguf.MODEL_ARCH.GPTNEOX and ".attn_qkv." in new:
            values = by_part(values, config["num_attention_heads"])
        found[new] = numpy.ascontiguousarray(values)
    return found


def write_config(writer: gguf.GGUFWriter, config: dict, arch: gguf.MODEL_ARCH) -> dict[str, numpy.ndarray]:
    """The metadata, and the tensor that stands for some of it."""
    heads = config.get("num_attention_heads", config.get("n_head"))
    channels = config.get("hidden_size", config.get("n_embd"))
    writer.add_block_count(config.get("num_hidden_layers", config.get("n_layer")))
    writer.add_context_length(config.get("max_position_embeddings", config.get("n_positions")))
    writer.add_embedding_length(channels)
    writer.add_feed_forward_length(config.get("intermediate_size", config.get("n_inner")) or 4 * channels)
    writer.add_head_count(heads)
    if arch in (gguf.MODEL_ARCH.GPT2, gguf.MODEL_ARCH.STARCODER, gguf.MODEL_ARCH.GPTJ):
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
        if arch == gguf.MODEL_ARCH.STARCODER:
            writer.add_head_count_kv(1)
        if arch == gguf.MODEL_ARCH.GPTJ:
            writer.add_rope_dimension_count(config["rotary_dim"])
        return {}
    head_dim = config.get("head_dim") or channels // heads
    if arch in LAYER_NORMED:
        write_layer_normed(writer, config, arch, head_dim)
        return {}
    writer.add_vocab_size(config["vocab_size"])
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    if "rms_norm_eps" in config:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    else:
        writer.add_layer_norm_eps(config.get("norm_epsilon") or config["layer_norm_eps"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(rotated(config, head_dim, 1.0))
    if arch == gguf.MODEL_ARCH.PHI3:
        writer.add_sliding_window(config.get("sliding_window") or 0)
    elif config["model_type"] == "mistral" and config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])
    elif config["model_type"] in ("gemma2", "gemma3_text", "cohere2"):
        writer.add_sliding_window(config["sliding_window"])
    elif config.get("use_sliding_window") or arch == gguf.MODEL_ARCH.STARCODER2 and config.get("sliding_window"):
        raise ValueError("GGUF has no key for the layers of Qwen2, Qwen3 and StarCoder2 that have a window")
    write_scales(writer, config)
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    scaling = scaling.get("full_attention", scaling)  # llama.cpp knows the base of the other layers
    theta = config.get("rope_theta") or scaling.get("rope_theta") or 10000.0
    writer.add_rope_freq_base(theta)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "llama3":
        return {"rope_freqs.weight": rope_factors(scaling, theta, head_dim)}
    if kind == "longrope":
        return long_rope(writer, config, scaling)
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    elif kind == "yarn" and arch == gguf.MODEL_ARCH.MISTRAL3:
        write_yarn(writer, scaling)
    elif kind != "default":
        raise ValueError(f"rope_type {kind}")
    return {}


def write_yarn(writer: gguf.GGUFWriter, scaling: dict) -> None:
    """Ministral 3's scaling, and how its queries grow."""
    if scaling["mscale"] != 1:
        raise ValueError(f"llama.cpp has no key for an mscale of {scaling['mscale']}")
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(scaling["factor"])
    writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    writer.add_rope_scaling_yarn_beta_fast(scaling["beta_fast"])
    writer.add_rope_scaling_yarn_beta_slow(scaling["beta_slow"])
    writer.add_rope_scaling_yarn_log_mul(scaling["mscale_all_dim"])
    writer.add_attn_temperature_scale(scaling["llama_4_scaling_beta"])


def rotated(config: dict, head_dim: int, default: float) -> int:
    """How many elements of a head are rotated."""
    inner = config.get("rope_parameters") or {}
    said = config.get("partial_rotary_factor", config.get("rotary_pct", inner.get("partial_rotary_factor")))
    return int(head_dim * (default if said is None else said))


def write_layer_normed(writer: gguf.GGUFWriter, config: dict, arch: gguf.MODEL_ARCH, head_dim: int) -> None:
    """What is left of the metadata of those."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = config.get("rope_theta") or config.get("rotary_emb_base") or rope.get("rope_theta") or 10000.0
    if theta != 10000.0 or rope.get("rope_type", rope.get("type", "default")) != "default":
        raise ValueError(f"llama.cpp has no key for the rotation of {config['model_type']} by {rope or theta}")
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_rope_dimension_count(rotated(config, head_dim, LAYER_NORMED[arch]))
    if arch == gguf.MODEL_ARCH.GPTNEOX:
        writer.add_parallel_residual(config.get("use_parallel_residual", True))
        return
    writer.add_head_count_kv(config.get("num_key_value_heads") or config["num_attention_heads"])
    if arch == gguf.MODEL_ARCH.STABLELM:
        writer.add_parallel_residual(config.get("use_parallel_residual", False))


def long_rope(writer: gguf.GGUFWriter, config: dict, scaling: dict) -> dict[str, numpy.ndarray]:
    """Factors of frequencies up to the original context and beyond, (E/2) each."""
    original = scaling.get("original_max_position_embeddings") or config["original_max_position_embeddings"]
    longer = config["max_position_embeddings"] / original
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_rope_scaling_attn_factors((1 + numpy.log(longer) / numpy.log(original)) ** 0.5 if longer > 1 else 1.0)
    return {
        f"rope_factors_{name}.weight": numpy.array(scaling[f"{name}_factor"], dtype=numpy.float32)
        for name in ("long", "short")
    }


def write_scales(writer: gguf.GGUFWriter, config: dict) -> None:
    """Factors and caps."""
    for add, field in [
        (writer.add_attn_logit_softcapping, "attn_logit_softcapping"),
        (writer.add_final_logit_softcapping, "final_logit_softcapping"),
        (writer.add_attention_scale, "attention_multiplier"),
        (writer.add_embedding_scale, "embedding_multiplier"),
        (writer.add_logit_scale, "logits_scaling"),
        (writer.add_logit_scale, "logit_scale"),
        (writer.add_residual_scale, "residual_multiplier"),
    ]:
        if config.get(field) is not None:
            add(config[field])


def parts(component: dict | None, members: str) -> list[dict]:
    """A component of a tokenizer.json, or what its sequence lists."""
    return [] if component is None else component.get(members, [component])


def cut(tokenizer: dict) -> str:
    """`tokenizer.ggml.pre` of a byte-level tokenizer.json."""
    first, *more = parts(tokenizer["pre_tokenizer"], "pretokenizers")
    if not more and first["type"] == "ByteLevel" and first.get("use_regex", True):
        return "gpt-2"
    if [part["type"] for part in (first, *more)] == ["Digits", "ByteLevel"] and first["individual_digits"]:
        return "smollm"
    pattern = first.get("pattern", {}).get("Regex", "")
    found = [pre for digits, pre in CUTS.items() if f"|{digits}|" in pattern]
    if len(found) != 1:
        raise ValueError(f"pre_tokenizer {tokenizer['pre_tokenizer']}")
    return found[0]


def write_tokenizer(writer: gguf.GGUFWriter, folder: Path, config: dict, rows: int) -> None:
    """The tables, padded to `rows`, as tokens that are not used."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model, added = tokenizer["model"], tokenizer["added_tokens"]
    if model["type"] != "BPE":
        raise ValueError(f"tokenizer model {model['type']}")
    tokens = {id: (token, gguf.TokenType.NORMAL) for token, id in model["vocab"].items()}
    for token in added:
        kind = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
        tokens[token["id"]] = (token["content"], kind)
    tokens |= {id: (f"[PAD{id}]", gguf.TokenType.UNUSED) for id in range(rows) if id not in tokens}
    texts = [tokens[id][0] for id in range(rows)]
    kinds = [tokens[id][1] for id in range(rows)]
    if model.get("byte_fallback"):
        merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
        rank = {a + b: i for i, (a, b) in reversed(list(enumerate(merges)))}
        is_byte = lambda text: len(text) == 6 and text.startswith("<0x") and text.endswith(">")
        kinds = [gguf.TokenType.BYTE if is_byte(text) else kind for text, kind in zip(texts, kinds)]
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_scores([float(-rank.get(text, len(merges))) for text in texts])
        writer.add_add_space_prefix(any(part["type"] == "Prepend" for part in parts(tokenizer["normalizer"], "normalizers")))
        if model.get("unk_token") is not None:
            writer.add_unk_token_id(texts.index(model["unk_token"]))
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(cut(tokenizer))
        writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    end = config.get("eos_token_id")
    end = end[0] if isinstance(end, list) else end
    if config.get("bos_token_id") is not None:
        writer.add_bos_token_id(config["bos_token_id"])
    if end is not None:
        writer.add_eos_token_id(end)
    template = next((part for part in parts(tokenizer["post_processor"], "processors") if part["type"] == "TemplateProcessing"), None)
    before = template is not None and "SpecialToken" in template["single"][0]
    after = template is not None and "SpecialToken" in template["single"][-1]
    writer.add_add_bos_token(before)
    writer.add_add_eos_token(after)
    settings = folder / "tokenizer_config.json"
    chat = json.loads(settings.read_text(encoding="utf-8")).get("chat_template") if settings.exists() else None
    if (folder / "chat_template.jinja").exists():
        chat = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    if isinstance(chat, str):
        writer.add_chat_template(chat)


def stored(values: numpy.ndarray, kind: str) -> gguf.GGMLQuantizationType:
    """The type a tensor is stored in."""
    if values.ndim < 2:
        return gguf.GGMLQuantizationType.F32
    block, _ = gguf.GGML_QUANT_SIZES[TYPES[kind]]
    return TYPES[kind] if values.shape[-1] % block == 0 else gguf.GGMLQuantizationType.F16


def export(folder: Path, path: Path, kind: str) -> dict[str, numpy.ndarray]:
    """Writes `folder` to `path`; returns what every tensor holds there, in f32."""
    config = json.loads((folder / "config.json").read_text())
    arch = ARCHITECTURES[config["model_type"]]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(path.stem)
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    all_tensors = write_config(writer, config, arch) | tensors(folder, config, arch)
    write_tokenizer(writer, folder, config, all_tensors["token_embd.weight"].shape[0])
    held = {}
    for name, values in all_tensors.items():
        dtype = stored(values, kind)
        data = gguf.quantize(values, dtype)
        held[name] = gguf.dequantize(data, dtype).reshape(values.shape)
        writer.add_tensor(name, data, raw_dtype=dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    check(path, held)
    return held


def check(path: Path, held: dict[str, numpy.ndarray]) -> None:
    """Raises ValueError unless the file holds these tensors, and no others, bit for bit."""
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    if read.keys() != held.keys():
        raise ValueError(f"{path}: holds other tensors: {read.keys() ^ held.keys()}")
    for name, values in held.items():
        tensor = read[name]
        got = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(values.shape)
        if not numpy.array_equal(got, values):
            raise ValueError(f"{path}: tensor {name} holds other values")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=TYPES, default="q8_0")
    arguments = parser.parse_args()
    held = export(arguments.folder, arguments.out, arguments.type)
    print(f"{arguments.out}: {len(held)} tensors, {arguments.out.stat().st_size} bytes, read back and equal")


if __name__ == "__main__":
    main()
