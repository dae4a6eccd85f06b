"""Where the fuzzer begins: one small valid file of each kind, beside those of tests/fixtures.

    python tests/fuzz/seeds.py    (needs gguf, numpy, safetensors)

Not the corpus: `node tools/fuzz.mjs --keep` makes that of what the fuzzer found.
"""

import json
import shutil
from pathlib import Path

import gguf
import numpy
from safetensors.numpy import save

HERE = Path(__file__).resolve().parent
CORPUS, FIXTURES = HERE / "corpus", HERE.parent / "fixtures"
C, F, V, L, H = 8, 12, 14, 1, 2
TOKENS = ["<unk>", "<s>", "</s>", "a", "b", "Ġ", "Ċ", "ab", "Ġa", "c", "d", "e", "f", "g"]
PATTERNS = [
    r".*\.(q_proj|v_proj)" + "\nmodel.layers.0.self_attn.v_proj", r"model\.layers\.\d+\.mlp\.(up|gate|down)_proj",
    r"^(?!.*vision).*(q_proj|v_proj)$" + "\nvision.q_proj", r"(?<!vision_tower\.)encoder\.[a-z_]+", "(?i)Q_PROJ", "all-linear",
]


def put(parser: str, name: str, content: bytes) -> None:
    folder = CORPUS / parser
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def dump(value) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def write(path: Path, architecture: str, fill) -> bytes:
    writer = gguf.GGUFWriter(path, architecture)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    content = path.read_bytes()
    path.unlink()
    return content


def model(writer: gguf.GGUFWriter) -> None:
    random = numpy.random.default_rng(1)
    writer.add_block_count(L)
    writer.add_context_length(16)
    writer.add_embedding_length(C)
    writer.add_feed_forward_length(F)
    writer.add_head_count(H)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_vocab_size(V)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * 3 + [1] * (V - 3))
    writer.add_token_merges(["a b", "Ġ a"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {
        "token_embd.weight": (V, C), "output_norm.weight": (C,), "blk.0.attn_norm.weight": (C,), "blk.0.ffn_norm.weight": (C,),
        "blk.0.attn_q.weight": (C, C), "blk.0.attn_k.weight": (C // H, C), "blk.0.attn_v.weight": (C // H, C),
        "blk.0.attn_output.weight": (C, C), "blk.0.ffn_gate.weight": (F, C), "blk.0.ffn_up.weight": (F, C), "blk.0.ffn_down.weight": (C, F),
    }
    for name, shape in shapes.items():
        writer.add_tensor(name, random.standard_normal(shape).astype(numpy.float32))


def lora(writer: gguf.GGUFWriter) -> None:
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 4.0)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", numpy.ones((2, C), numpy.float32))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", numpy.ones((C, 2), numpy.float16))


def tokenizer(kind: dict, **parts) -> bytes:
    return dump({"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": None,
                 "post_processor": None, "decoder": None,
                 "added_tokens": [{"id": 1, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": True,
                                   "normalized": False, "special": True}], **parts, "model": kind})


def tokenizers() -> None:
    vocab = {token: i for i, token in enumerate(TOKENS)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    put("tokenizer", "byte-level", tokenizer(
        {"type": "BPE", "vocab": vocab, "merges": [["a", "b"], ["Ġ", "a"]], "unk_token": None},
        pre_tokenizer=byte_level, decoder=byte_level))
    pieces = {**{f"<0x{i:02X}>": i for i in range(256)}, "<s>": 256, "▁": 257, "a": 258, "▁a": 259, "<unk>": 260}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    put("tokenizer", "bytes", tokenizer(
        {"type": "BPE", "vocab": {**pieces, "<unk>": 260}, "merges": ["▁ a"], "unk_token": "<unk>", "byte_fallback": True,
         "fuse_unk": True},
        pre_tokenizer=metaspace, added_tokens=[],
        decoder={"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}))
    put("tokenizer", "unigram", tokenizer(
        {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": [["<unk>", 0.0], ["<s>", 0.0], ["▁", -2.0], ["a", -3.0], ["▁a", -3.5]]},
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
        pre_tokenizer=metaspace, decoder=metaspace,
        post_processor={"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                        "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}))


def main() -> None:
    shutil.rmtree(CORPUS, ignore_errors=True)
    for folder in sorted((FIXTURES / "models").iterdir()):
        if folder.is_dir():
            put("config", folder.name, (folder / "config.json").read_bytes())
    for name in ("qv", "regex", "vera", "prefix", "tokens-head", "rank-alpha-pattern"):
        put("peft_config", name, (FIXTURES / "adapters/llama" / name / "adapter_config.json").read_bytes())
    for name in ("blocks", "json", "text"):
        put("template", name, (FIXTURES / f"chat/{name}.jinja").read_bytes())
    put("template", "chatml", b"{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n'}}{% endfor %}")
    put("tokenizer", "fixture", (FIXTURES / "tokenizer/tokenizer.json").read_bytes())
    tokenizers()
    for i, pattern in enumerate(PATTERNS):
        put("pattern", str(i), pattern.encode())
    tensors = {"a": numpy.ones((2, 3), numpy.float32), "b": numpy.ones(4, numpy.float16), "c": numpy.ones((1, 2), numpy.int64)}
    put("safetensors", "three", save(tensors, {"format": "pt"}))
    put("safetensors", "none", save({}))
    put("safetensors", "half", save(tensors)[:-5])
    put("safetensors", "empty", save({"a": numpy.ones((0, 3), numpy.float32)}))
    files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    put("shard_index", "two", dump({"metadata": {"total_size": 10}, "weight_map": {"a": files[0], "b": files[1], "c": files[0]}}))
    put("shard_index", "one", dump({"weight_map": {"a": "model.safetensors"}}))
    put("shard_index", "none", dump({"metadata": {}, "weight_map": {}}))
    put("shard_index", "path", dump({"weight_map": {"a": "../model.safetensors"}}))
    talk = [{"role": "user", "content": "Hi\n“you”"}, {"role": "assistant", "content": "a", "name": "b"}]
    put("chat_request", "talk", dump({"messages": talk, "now": 1700000000, "extra": {"a": [1, 2.5, None, True], "b": "é"}}))
    function = {"name": "f", "arguments": dump({"b": 1.0, "a": ["é"]}).decode()}
    called = {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "type": "function", "function": function}]}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"b": {}, "a": {}}}}}]
    put("chat_request", "calls", dump({"messages": [*talk, called], "tools": tools, "documents": [{"text": "a"}]}))
    put("chat_request", "none", dump({"messages": []}))
    put("chat_request", "deep", dump({"messages": talk[:1], "extra": [[[[{"a": {"b": [[]]}}]]]]}))
    put("chat_request", "wrong", dump({"messages": [{"role": 1, "content": None}]}))
    put("gguf_model", "llama", write(CORPUS / "gguf", "llama", model))
    put("gguf_model", "cut", (CORPUS / "gguf_model/llama").read_bytes()[:-40])
    put("gguf_lora", "llama", write(CORPUS / "gguf", "llama", lora))
    for name in ("llama-f16", "llama-bf16"):
        put("gguf_lora", name, (FIXTURES / f"gguf/{name}.gguf").read_bytes())
    for kind in ("gguf_model", "gguf_lora"):
        put(kind, "header", (CORPUS / kind / "llama").read_bytes()[:400])
        put(kind, "version", b"GGUF" + bytes([9]) + (CORPUS / kind / "llama").read_bytes()[5:500])


if __name__ == "__main__":
    main()
