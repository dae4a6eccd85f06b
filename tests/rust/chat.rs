//! Chat templates against transformers: the repository's own byte for byte, models' by hash.

use crate::common::real;
use std::collections::BTreeMap;
use std::path::Path;

use lorakeet::ErrorKind;
use lorakeet::tokenizer::{ChatContext, ChatTemplate, Json, Message};
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
    messages: Json,
    add_generation_prompt: bool,
    variables: BTreeMap<String, Json>,
    tools: Option<Json>,
    documents: Option<Json>,
}

impl Cases {
    fn load() -> Self {
        serde_json::from_str(include_str!("../fixtures/chat/cases.json")).expect("rerun generate.py chat")
    }

    fn render(&self, source: &str) -> Vec<lorakeet::Result<String>> {
        let template = ChatTemplate::new(source, self.specials.clone()).expect("it parses");
        let render = |conversation: &Conversation| {
            let context = ChatContext {
                add_generation_prompt: conversation.add_generation_prompt,
                now: self.now,
                variables: conversation.variables.clone(),
                tools: conversation.tools.clone(),
                documents: conversation.documents.clone(),
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

fn hello() -> Json {
    Json::of(&[say("user", "Hello")])
}

fn render(source: &str) -> lorakeet::Result<String> {
    template(source).render(&hello(), &ChatContext::default())
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
    assert!(compared >= 102, "{compared}");
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

#[test]
#[ignore = "its data lie beside the checkout: `npm test -- beside`"]
fn templates_of_many_families_render_as_under_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/tokenizers/chat-templates");
    let mut compared = 0;
    for entry in std::fs::read_dir(folder).expect("data beside the checkout") {
        let path = entry.expect("an entry").path();
        let source = std::fs::read_to_string(&path).expect("a template");
        check_hashes(path.file_name().and_then(|name| name.to_str()).expect("UTF-8"), &source);
        compared += 1;
    }
    assert!(compared >= 17, "{compared}");
}

/// What a template of others makes of each conversation, by length and hash.
fn check_hashes(name: &str, source: &str) {
    let hashes: BTreeMap<String, Vec<Option<(usize, String)>>> =
        serde_json::from_str(include_str!("../fixtures/chat/hashes.json")).expect("rerun generate.py chat");
    let cases = Cases::load();
    for (i, (got, want)) in cases.render(source).into_iter().zip(&hashes[name]).enumerate() {
        let digest = got.as_ref().ok().map(|text| (text.len(), fnv1a(text)));
        // Python cannot loop over no tools, nor write the JSON of what `map` gives.
        let is_more = want.is_none() && ["tool_use", "deepseek-r1"].iter().any(|part| name.contains(part));
        // Python escapes as HTML what is added to a text that is marked as safe.
        let is_markup =
            name == "meetkai-functionary-medium-v3.1.jinja" && cases.conversations[i].tools.is_some();
        assert!(digest == *want || is_more || is_markup, "{name} {i}: {got:?}");
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
            .and_then(|template| template.render(&hello(), &ChatContext::default()));
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
            .and_then(|template| template.render(&hello(), &ChatContext::default()));
        let error = result.expect_err("stopped");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    // A long conversation is within the budget.
    let messages: Vec<_> =
        (0..2000).map(|i| say(["user", "assistant"][i % 2], &"words ".repeat(100))).collect();
    let source = "{% for m in messages %}{{ m.role + ': ' + (m.content | trim) + '\n' }}{% endfor %}";
    let text =
        template(source).render(&Json::of(&messages), &ChatContext::default()).expect("within the budget");
    assert!(text.len() > 1_200_000);
}

#[test]
fn variables_reach_the_template_but_for_its_own() {
    let mut context = ChatContext::default();
    context.variables.insert("depth".into(), Json::of(&serde_json::json!({"of": [1, 2]})));
    assert_eq!(template("{{ depth.of[1] }}").render(&Json::of(&[0; 0]), &context).expect("set"), "2");
    for name in ["messages", "tools", "documents", "add_generation_prompt"] {
        let mut context = ChatContext::default();
        context.variables.insert(name.into(), Json::of(&true));
        let error = template("").render(&Json::of(&[0; 0]), &context).expect_err(name);
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
fn arguments_are_objects_or_strings_as_the_template_wants() {
    let call = |arguments: &str| {
        let function = serde_json::json!({"name": "f", "arguments": arguments});
        Json::of(&[serde_json::json!({"role": "assistant", "tool_calls": [{"function": function}]})])
    };
    let one = |source: &str, arguments: &str| {
        let source = source.replace("ARGUMENTS", "messages[0].tool_calls[0].function.arguments");
        template(&source).render(&call(arguments), &ChatContext::default())
    };
    assert_eq!(one("{{ ARGUMENTS.b }}", r#"{"b": 1.0, "a": 2}"#).expect("an object"), "1.0");
    assert_eq!(
        one("{{ ARGUMENTS | tojson }}", r#"{"b":1.0,"a":2}"#).expect("in order"),
        r#"{"b": 1.0, "a": 2}"#
    );
    assert_eq!(one("{{ 'f' + ARGUMENTS }}", r#"{"b":1}"#).expect("a string"), r#"f{"b":1}"#);
    for broken in ["{", "[1]", "five"] {
        assert_eq!(one("{{ ARGUMENTS }}", broken).expect("as it is"), broken);
    }
    let error = one("{{ ARGUMENTS + 1 }}", "{}").expect_err("neither");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        one("{{ raise_exception('no ' ~ (ARGUMENTS is mapping)) }}", "{}").expect_err("raised").to_string(),
        "chat template: no True"
    );
}

#[test]
fn a_conversation_with_tools_has_the_template_for_it() {
    let named =
        r#"[{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "{{ tools[0].x }}"}]"#;
    let config = format!(r#"{{"chat_template": {named}}}"#);
    let tools =
        ChatContext { tools: Some(Json::of(&[BTreeMap::from([("x", 5)])])), ..ChatContext::default() };
    for template in [
        ChatTemplate::from_files(Some(config.as_bytes()), None, None),
        ChatTemplate::from_files(None, None, Some(config.as_bytes())),
    ] {
        let template = template.expect("named ones");
        assert_eq!(template.render(&hello(), &tools).expect("the one for tools"), "5");
        assert_eq!(template.render(&hello(), &ChatContext::default()).expect("the default"), "plain");
        assert_eq!(template.source(true).expect("there"), "{{ tools[0].x }}");
        assert_eq!(template.source(false).expect("there"), "plain");
    }
    let file = ChatTemplate::from_files(Some(config.as_bytes()), Some(b"file"), None).expect("a file");
    assert_eq!(file.render(&hello(), &tools).expect("it has no other"), "file");
}

#[test]
fn templates_come_from_the_files_of_a_folder() {
    let from = |config: Option<&str>, jinja: Option<&str>| {
        let template = ChatTemplate::from_files(config.map(str::as_bytes), jinja.map(str::as_bytes), None)?;
        template.render(&hello(), &ChatContext::default())
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
        template.render(&hello(), &ChatContext::default())
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
