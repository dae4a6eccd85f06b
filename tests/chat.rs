//! Chat templates against transformers: the repository's own byte for byte, models' by hash.
#![cfg(not(target_arch = "wasm32"))]

#[path = "common/real.rs"]
mod real;

use std::collections::BTreeMap;
use std::path::Path;

use lorakeet::ErrorKind;
use lorakeet::tokenizer::{ChatContext, ChatTemplate, Message};
use serde::Deserialize;

/// What `tests/fixtures/chat.py` wrote.
#[derive(Deserialize)]
struct Cases {
    now: i64,
    specials: BTreeMap<String, String>,
    conversations: Vec<Conversation>,
    /// By template; none where transformers refuses the conversation.
    texts: BTreeMap<String, Vec<Option<String>>>,
}

#[derive(Deserialize)]
struct Conversation {
    messages: Vec<Message>,
    add_generation_prompt: bool,
    variables: BTreeMap<String, serde_json::Value>,
}

impl Cases {
    fn load() -> Self {
        serde_json::from_str(include_str!("fixtures/chat/cases.json")).expect("rerun generate.py chat")
    }

    fn render(&self, source: &str) -> Vec<lorakeet::Result<String>> {
        let template = ChatTemplate::new(source, self.specials.clone()).expect("it parses");
        let render = |conversation: &Conversation| {
            let context = ChatContext {
                add_generation_prompt: conversation.add_generation_prompt,
                now: self.now,
                variables: conversation.variables.clone(),
            };
            template.render(&conversation.messages, &context)
        };
        self.conversations.iter().map(render).collect()
    }
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, BTreeMap::new()).expect("it parses")
}

fn say(role: &str, content: &str) -> Message {
    Message { role: role.into(), content: content.into(), name: None }
}

fn render(source: &str) -> lorakeet::Result<String> {
    template(source).render(&[say("user", "Hello")], &ChatContext::default())
}

#[test]
fn our_templates_render_as_under_transformers() {
    let cases = Cases::load();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat");
    let mut compared = 0;
    for (name, texts) in &cases.texts {
        let source = std::fs::read_to_string(folder.join(name)).expect("a template");
        for (i, (got, want)) in cases.render(&source).into_iter().zip(texts).enumerate() {
            compared += 1;
            match want {
                Some(want) => {
                    assert_eq!(&got.unwrap_or_else(|e| panic!("{name} {i}: {e}")), want, "{name} {i}")
                }
                None => assert_eq!(got.expect_err(name).kind(), ErrorKind::Argument, "{name} {i}"),
            }
        }
    }
    assert!(compared >= 36, "{compared}");
}

#[test]
fn templates_of_models_render_as_under_transformers() {
    let Some(home) = real::tokenizers() else { return };
    let mut compared = 0;
    for name in real::TOKENIZERS {
        let config = std::fs::read(home.join(name).join("tokenizer_config.json")).expect("a file");
        let config: serde_json::Value = serde_json::from_slice(&config).expect("JSON");
        if let Some(source) = config["chat_template"].as_str() {
            check_hashes(name, source);
            compared += 1;
        }
    }
    assert!(compared >= 3, "{compared}");
}

/// What a template of others makes of each conversation, by length and hash.
fn check_hashes(name: &str, source: &str) {
    let hashes: BTreeMap<String, Vec<Option<(usize, String)>>> =
        serde_json::from_str(include_str!("fixtures/chat/hashes.json")).expect("rerun generate.py chat");
    for (i, (got, want)) in Cases::load().render(source).into_iter().zip(&hashes[name]).enumerate() {
        let digest = got.as_ref().ok().map(|text| (text.len(), fnv1a(text)));
        // Some loop over the tools, which Python cannot where there are none.
        assert!(digest == *want || want.is_none() && name.contains("tool_use"), "{name} {i}: {got:?}");
    }
}

/// 64-bit FNV-1a, in hex.
fn fnv1a(text: &str) -> String {
    let hash = |value: u64, byte: u8| (value ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
}

#[test]
fn a_hash_tells_texts_apart() {
    assert_eq!(fnv1a("a"), "af63dc4c8601ec8c");
    assert_ne!(fnv1a("ab"), fnv1a("ba"));
}

#[test]
fn what_a_template_refuses_is_the_callers_to_mend() {
    let error = render("{{ raise_exception('no ' ~ messages[0].role) }}").expect_err("it raises");
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Argument, "chat template: no user"));
    let raised_in_macro =
        "{% macro m() %}{{ raise_exception('deep') }}{% endmacro %}{% filter trim %}{{ m() }}{% endfilter %}";
    assert_eq!(render(raised_in_macro).expect_err("it raises").to_string(), "chat template: deep");
}

#[test]
fn what_is_not_there_is_refused_by_line_and_name() {
    for (source, named) in [
        ("\n\n{% include 'other' %}", "line 3"),
        ("\n{{ messages | frobnicate }}", "frobnicate"),
        ("{{ messages[0].content.frobnicate() }}", "frobnicate"),
        ("{{ frobnicate(1) }}", "frobnicate"),
        ("{{ messages is frobnicated }}", "frobnicated"),
        ("{{ strftime_now('%Q') }}", "%Q"),
        ("{{ messages | tojson(indents=2) }}", "indents"),
        ("{{ messages[0].content + 1 }}", "line 1"),
        ("{% if %}", "line 1"),
        ("{{ 'open", "line 1"),
        ("\n{{ '%s' % 'a' }}", "line 2"),
        ("{{ messages | pprint }}", "pprint"),
        ("{{ 'a'.index('b') }}", "index"),
        ("{{ 'a'.rsplit(1) }}", "rsplit"),
        ("{{ 'a'.partition('') }}", "partition"),
        ("{{ cycler() }}", "cycler"),
    ] {
        let result = ChatTemplate::new(source, BTreeMap::new())
            .and_then(|template| template.render(&[say("user", "Hello")], &ChatContext::default()));
        let error = result.expect_err(source);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{source}: {error}");
        assert!(
            error.to_string().starts_with("chat template") && error.to_string().contains(named),
            "{error}"
        );
    }
}

#[test]
fn a_template_that_does_not_end_is_stopped() {
    let nested =
        "{% for a in range(9999) %}{% for b in range(9999) %}{% set c = b %}{% endfor %}{% endfor %}";
    let doubled = "{% set ns = namespace(x='abcdefgh') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    let written = "{% set x = 'abcdefgh' * 1000000 %}{% for i in range(9999) %}{{ x }}{% endfor %}";
    let called = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
    let deep = "{{ ".to_owned() + &"(".repeat(100_000);
    let filled = "{% for i in range(9999) %}{% set x = 'a'.ljust(99999999) %}{% endfor %}";
    for source in [nested, doubled, written, called, &deep, filled] {
        let result = ChatTemplate::new(source, BTreeMap::new())
            .and_then(|template| template.render(&[say("user", "Hello")], &ChatContext::default()));
        let error = result.expect_err("stopped");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    // A long conversation is within the budget.
    let messages: Vec<_> =
        (0..2000).map(|i| say(["user", "assistant"][i % 2], &"words ".repeat(100))).collect();
    let source = "{% for m in messages %}{{ m.role + ': ' + (m.content | trim) + '\n' }}{% endfor %}";
    let text = template(source).render(&messages, &ChatContext::default()).expect("within the budget");
    assert!(text.len() > 1_200_000);
}

#[test]
fn variables_reach_the_template_but_for_its_own() {
    let mut context = ChatContext::default();
    context.variables.insert("depth".into(), serde_json::json!({"of": [1, 2]}));
    assert_eq!(template("{{ depth.of[1] }}").render(&[], &context).expect("set"), "2");
    for name in ["messages", "tools", "documents", "add_generation_prompt"] {
        let mut context = ChatContext::default();
        context.variables.insert(name.into(), true.into());
        let error = template("").render(&[], &context).expect_err(name);
        assert!(error.kind() == ErrorKind::Argument && error.to_string().contains(name), "{error}");
    }
}

#[test]
fn the_end_of_a_turn_is_what_follows_an_answer() {
    let source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}";
    assert_eq!(template(source).end_of_turn().as_deref(), Some("<|end|>\n"));
    assert_eq!(template("{{ messages[0].content }}").end_of_turn(), None);
    assert_eq!(template("{{ raise_exception('never') }}").end_of_turn(), None);
}

#[test]
fn templates_come_from_the_files_of_a_folder() {
    let from = |config: Option<&str>, jinja: Option<&str>| {
        let template = ChatTemplate::from_files(config.map(str::as_bytes), jinja.map(str::as_bytes), None)?;
        template.render(&[say("user", "Hello")], &ChatContext::default())
    };
    let one =
        r#"{"chat_template": "{{ bos_token }}{{ messages[0].content }}", "bos_token": {"content": "<s>"}}"#;
    assert_eq!(from(Some(one), None).expect("a template"), "<s>Hello");
    assert_eq!(from(Some(one), Some("{{ bos_token }}!")).expect("the file goes first"), "<s>!");
    assert_eq!(from(None, Some("?")).expect("needs no config"), "?");
    let named =
        r#"{"chat_template": [{"name": "rag", "template": "1"}, {"name": "default", "template": "2"}]}"#;
    assert_eq!(from(Some(named), None).expect("the default"), "2");
    // As processors were saved for some time: it goes last, and its own config names the tokens.
    let processor = Some(br#"{"chat_template": "{{ bos_token }} from json"}"#.as_slice());
    let all = |config: Option<&str>, json| {
        let template = ChatTemplate::from_files(config.map(str::as_bytes), None, json)?;
        template.render(&[say("user", "Hello")], &ChatContext::default())
    };
    assert_eq!(
        all(Some("\u{feff}{\"bos_token\": \"<s>\"}"), processor).expect("a template"),
        "<s> from json"
    );
    assert_eq!(all(Some(one), processor).expect("the config's"), "<s>Hello");
    assert_eq!(all(None, Some(b"[]")).expect_err("no object").kind(), ErrorKind::Format);
    for (config, jinja, json, want) in [
        (None, None, None, false),
        (Some("{}"), None, Some("{}"), false),
        (Some(one), None, None, true),
        (None, Some(""), None, true),
        (Some(r#"{"chat_template": null}"#), None, Some(r#"{"chat_template": ""}"#), true),
    ] {
        let bytes = |text: Option<&'static str>| text.map(str::as_bytes);
        let found = ChatTemplate::is_in_files(config.map(str::as_bytes), bytes(jinja), bytes(json));
        assert_eq!(found.expect("readable"), want, "{config:?} {jinja:?} {json:?}");
    }
    for (config, kind, named) in [
        (None, ErrorKind::Unsupported, "chat_template.jinja"),
        (Some(r#"{"bos_token": "<s>"}"#), ErrorKind::Unsupported, "chat_template.jinja"),
        (Some(r#"{"chat_template": []}"#), ErrorKind::Format, "default"),
        (Some(r#"{"chat_template": 3}"#), ErrorKind::Format, "chat_template"),
        (Some("[]"), ErrorKind::Format, "tokenizer_config.json"),
    ] {
        let error = from(config, None).expect_err("no template");
        assert!(error.kind() == kind && error.to_string().contains(named), "{error}");
    }
}
