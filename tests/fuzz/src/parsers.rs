//! Every parser that reads bytes from outside, with what must hold for any bytes: an error or a value
//! that agrees with itself, never a panic.
//! Not checks of what a file means.

use std::collections::BTreeMap;

use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::engine::{AdapterConfig, Engine, EngineOptions, Loader, part_of};
use lorakeet::format::ShardIndex;
use lorakeet::format::gguf::{Header as GgufHeader, LoraFile};
use lorakeet::format::safetensors::Header;
use lorakeet::model::Blueprint;
use lorakeet::tokenizer::{ChatContext, ChatTemplate, Json, Message, StreamDecoder, Tokenizer};

/// Its name, which its folder of the corpus has too, and what it does with bytes.
type Parser = (&'static str, fn(&[u8]));

/// Every parser.
pub(crate) const ALL: &[Parser] = &[
    ("chat_request", chat_request),
    ("config", config),
    ("gguf_lora", gguf_lora),
    ("gguf_model", gguf_model),
    ("pattern", pattern),
    ("peft_config", peft_config),
    ("safetensors", safetensors),
    ("shard_index", shard_index),
    ("template", template),
    ("tokenizer", tokenizer),
];

/// A `config.json`.
fn config(bytes: &[u8]) {
    let _ = Blueprint::from_json(bytes);
}

/// A safetensors file: tensors lie inside it, one behind the other, and can be read.
fn safetensors(bytes: &[u8]) {
    let Ok(header) = Header::from_file_bytes(bytes) else { return };
    let mut end = header.tensors.first().map_or(bytes.len() as u64, |tensor| tensor.start);
    for tensor in &header.tensors {
        assert_eq!(tensor.start, end);
        end = tensor.end;
        let bytes = tensor.bytes_in(bytes).expect("a validated tensor lies in its file");
        let elements: usize = tensor.shape.iter().product();
        for read in [tensor.read_f32(bytes).map(|v| v.len()), tensor.read_i64(bytes).map(|v| v.len())] {
            assert!(read.is_err() || read == Ok(elements));
        }
    }
    assert_eq!(end, bytes.len() as u64);
}

/// A shard index: its files stay in their folder.
fn shard_index(bytes: &[u8]) {
    let Ok(index) = ShardIndex::parse(bytes) else { return };
    for file in index.files() {
        assert!(!file.contains(['/', '\\', ':', '%', '?', '#']) && !file.starts_with('.'));
        assert!(index.tensors_in(file).count() > 0);
    }
}

/// A GGUF file: tensors lie inside it, apart from each other; as a model, an error or an engine.
fn gguf_model(bytes: &[u8]) {
    let Ok(header) = GgufHeader::from_file_bytes(bytes) else { return };
    let mut spans: Vec<_> = header.tensors.iter().map(|t| (t.start, t.end)).filter(|(a, b)| a < b).collect();
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    for tensor in &header.tensors {
        let values = tensor.read_f32(tensor.bytes_in(bytes).expect("a validated tensor lies in its file"));
        assert!(values.is_err() || values.map(|v| v.len()) == Ok(tensor.shape.iter().product()));
    }
    let _ = open(&header, bytes);
}

fn open(header: &GgufHeader, bytes: &[u8]) -> lorakeet::Result<Engine> {
    let options = EngineOptions { context_length: Some(8), batch: Some(1), ..Default::default() };
    let mut loader = Loader::from_gguf(header, None, Backend::Cpu(Cpu::new(Kernels::Fast)), &options)?;
    for piece in loader.gguf_pieces(header)? {
        loader.load(&piece, piece.bytes_in(bytes)?)?;
    }
    loader.finish()
}

/// A GGUF file as a LoRA: a pair has a scale if it has a rank.
fn gguf_lora(bytes: &[u8]) {
    let Ok(lora) = LoraFile::from_file_bytes(bytes) else { return };
    for (_, pair) in &lora.pairs {
        assert_eq!(lora.scale(pair).is_ok(), pair.rank().is_ok());
    }
    let _ = lora.warnings();
}

const MODULES: [&str; 4] = ["model.layers.1.self_attn.q_proj", "transformer.h.0.mlp.c_fc", "lm_head", ""];

/// An `adapter_config.json`: it answers for any module and tensor, and is read again after it is written.
fn peft_config(bytes: &[u8]) {
    let Ok(config) = AdapterConfig::from_json(bytes) else { return };
    for module in MODULES {
        let _ = (config.targets(module, true, false), config.saves(module));
        let _ = (config.saves(module), config.token_rows(module, true));
        if let (Ok(rank), Ok(scale)) = (config.rank(module), config.scale(module)) {
            assert!(rank > 0 && scale.is_finite());
        }
        for end in ["lora_A.weight", "base_layer.bias", "modules_to_save.default.weight", "ia3_l"] {
            let name = format!("base_model.model.{module}.{end}");
            if let Ok(part) = part_of(&name, &config) {
                assert!(part.module.starts_with(module));
            }
        }
    }
    AdapterConfig::from_json(config.to_json().as_bytes()).expect("what we write is read");
}

/// A pattern of target modules and of ranks; a module's name behind the first line break.
fn pattern(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (pattern, module) = text.split_once('\n').unwrap_or((&text, MODULES[0]));
    let config = serde_json::json!({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8,
        "target_modules": pattern, "rank_pattern": { pattern: 2 },
    });
    let Ok(config) = AdapterConfig::from_json(config.to_string().as_bytes()) else { return };
    for module in MODULES.into_iter().chain([module]) {
        let _ = (config.targets(module, true, false), config.rank(module));
    }
}

const TEXT: &str = "Hello <s>  naïve cafe\u{301} 漢字 👍🏽\n\t12345 don't</s> ▁a ab";

/// A `tokenizer.json`: it encodes and decodes, and a stream can be begun anywhere.
fn tokenizer(bytes: &[u8]) {
    let Ok(tokenizer) = Tokenizer::from_json(bytes) else { return };
    for special in [false, true] {
        if let Ok(ids) = tokenizer.encode(TEXT, special) {
            let _ = tokenizer.decode(&ids, special);
            let _ = StreamDecoder::after(&tokenizer, &ids, special);
        }
    }
    let ids: Vec<u32> = (0..40).chain([u32::MAX]).collect();
    let _ = tokenizer.decode(&ids, false);
    assert!(tokenizer.id_to_token(tokenizer.vocab_size() as u32).is_none());
}

fn message(role: &str, content: &str) -> Message {
    Message { role: role.to_owned(), content: content.to_owned(), name: None }
}

fn specials() -> BTreeMap<String, String> {
    [("bos_token", "<s>"), ("eos_token", "</s>")]
        .map(|(name, token)| (name.to_owned(), token.to_owned()))
        .into()
}

/// A chat template: it renders a conversation, or says why not.
fn template(bytes: &[u8]) {
    let Ok(template) = ChatTemplate::new(&String::from_utf8_lossy(bytes), specials()) else { return };
    let messages = [message("system", "Be brief."), message("user", "a <b> 'c'"), message("assistant", "")];
    let tool = serde_json::json!({"type": "function", "function": {"name": "f", "parameters": {}}});
    for tools in [None, Some(Json::of(&[tool]))] {
        let context = ChatContext { add_generation_prompt: tools.is_some(), tools, ..Default::default() };
        let _ = template.render(&Json::of(&messages), &context);
    }
    let _ = template.end_of_turn();
}

/// A conversation.
#[derive(serde::Deserialize)]
struct Conversation {
    messages: Json,
    now: Option<i64>,
    tools: Option<Json>,
    documents: Option<Json>,
    #[serde(flatten)]
    variables: BTreeMap<String, Json>,
}

/// A conversation as JSON, under templates that look at all of it.
fn chat_request(bytes: &[u8]) {
    const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}<{{ m.role | trim }}{{ m.name or '' }}>\
        {{ m['content'] | tojson }}{{ m.content.split('\\n')[-1] | upper }}\
        {% for c in m.tool_calls or [] %}{{ c.function.arguments | items | list }}{% endfor %}{% endfor %}\
        {{ tools | tojson }}{{ documents | tojson(sort_keys=true) }}\
        {{ extra | tojson(indent=2) }}{% for k, v in (extra or {}) | items %}{{ k }}={{ v }}{% endfor %}\
        {% if add_generation_prompt %}{{ strftime_now('%d %b %Y') }}{% endif %}";
    let Ok(given) = serde_json::from_slice(bytes) else { return };
    let Conversation { messages, now, tools, documents, variables } = given;
    let template = ChatTemplate::new(TEMPLATE, specials()).expect("a template of ours");
    let now = now.unwrap_or_default();
    let context = ChatContext { add_generation_prompt: true, now, tools, documents, variables };
    let _ = template.render(&messages, &context);
}
