//! What ends a text: stop strings that spell special tokens, tokens named by id, and the end of an answer.
//! Stop strings over plain text are tested where they are, in `src/engine/stop.rs`.

use crate::common::models::{LLAMA, load};
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::engine::{Engine, EngineOptions, Finish, Loader, Overflow, Request};
use lorakeet::{ErrorKind, Result};
use serde_json::{Value, json};

const PROMPT: [u32; 3] = [5, 90, 17];

/// The vocabulary's last token, the result of the last merge: two line breaks take its place where it is added.
const BLANK: u32 = 299;

/// The tiny Llama, whose tokenizer has these tokens as added ones: (id, special).
fn engine(added: &[(u32, bool)]) -> Engine {
    let mut tokenizer: Value = serde_json::from_slice(LLAMA.tokenizer).expect("JSON");
    for &(id, special) in added {
        if id == BLANK {
            tokenizer["model"]["merges"].as_array_mut().expect("a list").pop();
            let vocab = tokenizer["model"]["vocab"].as_object_mut().expect("a map");
            vocab.retain(|_, of| *of != json!(BLANK));
            vocab.insert("\n\n".into(), json!(BLANK));
        }
        let token = json!({
            "id": id, "content": spelled(id), "special": special,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        });
        tokenizer["added_tokens"].as_array_mut().expect("a list").push(token);
    }
    let tokenizer = tokenizer.to_string();
    let backend = Backend::Cpu(Cpu::new(Kernels::Fast));
    let options = EngineOptions { batch: Some(2), ..EngineOptions::default() };
    let mut loader = Loader::new(LLAMA.config, None, tokenizer.as_bytes(), backend, &options).expect("valid");
    LLAMA.weights.iter().for_each(|file| load(&mut loader, file).expect("valid"));
    loader.finish().expect("complete")
}

fn spelled(id: u32) -> String {
    if id == BLANK {
        return "\n\n".to_owned();
    }
    let tokenizer: Value = serde_json::from_slice(LLAMA.tokenizer).expect("JSON");
    let vocab = tokenizer["model"]["vocab"].as_object().expect("a map");
    vocab.iter().find(|(_, of)| **of == json!(id)).expect("a token").0.clone()
}

/// Text, tokens and end of a greedy continuation.
async fn run(engine: &mut Engine, request: Request) -> Result<(String, Vec<u32>, Option<Finish>)> {
    let mut generation = engine.start(&[request])?;
    let (mut text, mut tokens, mut finish) = (String::new(), Vec::new(), None);
    while !generation.is_finished() {
        for delta in engine.next(&mut generation).await? {
            text += &delta.text;
            tokens.extend(delta.tokens);
            finish = delta.finish;
        }
    }
    engine.end(generation);
    Ok((text, tokens, finish))
}

fn stopping(stop: &[String]) -> Request {
    Request { stop: stop.to_vec(), ..Request::greedy(PROMPT.to_vec(), 12) }
}

/// A place at which a token comes that has not come before.
fn first_of_its_kind(tokens: &[u32]) -> usize {
    (3..tokens.len() - 2).find(|&i| !tokens[..i].contains(&tokens[i])).expect("not only repetition")
}

#[pollster::test]
async fn a_stop_string_that_spells_a_special_token_ends_the_text_there() {
    let (_, drawn, _) = run(&mut engine(&[]), stopping(&[])).await.expect("valid");
    let at = first_of_its_kind(&drawn);
    let mut engine = engine(&[(drawn[at], true)]);
    let text_of = |engine: &Engine, ids: &[u32]| engine.tokenizer().decode(ids, true).expect("text");
    let before = text_of(&engine, &drawn[..at]);
    let (whole, tokens, finish) = run(&mut engine, stopping(&[])).await.expect("valid");
    assert_eq!((tokens, finish), (drawn.clone(), Some(Finish::Length)));
    assert_eq!(whole, text_of(&engine, &drawn), "the token is not shown");

    let token = spelled(drawn[at]);
    let after = text_of(&engine, &drawn[at + 1..at + 2]);
    let last: String = before.chars().rev().take(1).collect();
    for (stop, kept) in [
        (token.clone(), before.as_str()),
        (format!("{token}{after}"), before.as_str()),
        (format!("{last}{token}"), before.strip_suffix(&last).expect("its end")),
    ] {
        let (text, tokens, finish) =
            run(&mut engine, stopping(std::slice::from_ref(&stop))).await.expect("valid");
        assert_eq!((text.as_str(), finish), (kept, Some(Finish::Stop)), "{stop:?}");
        assert!(tokens.len() < drawn.len(), "{stop:?}: {tokens:?}");
    }
    // It begins like one, and is none.
    let (text, _, finish) = run(&mut engine, stopping(&[format!("{token}never")])).await.expect("valid");
    assert_eq!((text, finish), (whole, Some(Finish::Length)));
}

#[pollster::test]
async fn a_special_token_is_part_of_the_text_where_the_request_says_so() {
    let (_, drawn, _) = run(&mut engine(&[]), stopping(&[])).await.expect("valid");
    let at = first_of_its_kind(&drawn);
    let mut engine = engine(&[(drawn[at], true), (drawn[at + 1], true)]);
    let hidden = drawn[at + 1];
    let visible = drawn.iter().copied().filter(|&id| id != hidden).collect::<Vec<_>>();
    let want = engine.tokenizer().decode(&visible, false).expect("text");
    assert_ne!(engine.tokenizer().decode(&visible, true).expect("text"), want);
    let request = Request { shown_tokens: vec![spelled(drawn[at])], ..stopping(&[]) };
    let (text, _, finish) = run(&mut engine, request).await.expect("valid");
    assert_eq!((text, finish), (want, Some(Finish::Length)), "the one, and not the other");
}

#[pollster::test]
async fn stop_token_ids_are_of_the_vocabulary() {
    let mut engine = engine(&[]);
    let request = Request { stop_tokens: vec![5, 300], ..stopping(&[]) };
    let error = run(&mut engine, request).await.expect_err("no such token");
    assert_eq!(error.kind(), ErrorKind::Argument);
    assert_eq!(error.to_string(), "stop_token_ids: token id 300, expected below the vocabulary size 300");
}

#[pollster::test]
async fn an_answer_ends_at_an_added_token_special_or_not() {
    let ends = |engine: &Engine, after: &str| engine.chat_ends(None, Some(after)).expect("encoded");
    let end = spelled(295);
    for special in [true, false] {
        assert_eq!(ends(&engine(&[(295, special)]), &format!("{end}\n")), [295], "special: {special}");
        assert_eq!(ends(&engine(&[(295, special)]), &format!(".\n{end}<|endoftext|>")), [295]);
        assert_eq!(ends(&engine(&[(295, special), (BLANK, false)]), &format!("\n\n{end}")), [295]);
    }
    assert_eq!(ends(&engine(&[]), "\n"), [0u32; 0], "plain text");
    assert_eq!(ends(&engine(&[]), " and\n"), [0u32; 0], "plain text");
    // All that is written is one token, which nothing marks.
    assert_eq!(ends(&engine(&[]), &format!("{end}\n")), [295]);
    let twice = engine(&[(295, true)]).chat_ends(Some(&end), Some(&end)).expect("encoded");
    assert_eq!(twice, [295], "each once");
    let unknown = engine(&[]).chat_ends(Some("<|nowhere|>"), None).expect("encoded");
    assert_eq!(unknown, [0u32; 0]);
}

#[pollster::test]
async fn a_prompt_that_no_sliding_makes_room_for_is_refused_so() {
    let prompt = vec![5; 200];
    let request = Request { overflow: Overflow::Slide, ..Request::greedy(prompt, 4) };
    let error = run(&mut engine(&[]), request).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Argument);
    assert!(error.to_string().starts_with("prompt of 200 tokens exceeds the context of 128"), "{error}");
    assert!(error.to_string().contains("slide"), "{error}");
}

/// The terminal's options are the request's.
#[cfg(feature = "cli")]
#[test]
fn the_terminal_ends_a_text_where_it_is_told() {
    let generate = |stops: &[&str]| -> Value {
        let arguments =
            ["generate", "--prompt", "The old man", "--temperature", "0", "--max-tokens", "8", "--json"];
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_lorakeet"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args([&arguments[..], stops].concat())
            .output()
            .expect("the program runs");
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    };
    let whole = generate(&[]);
    let tokens = whole["tokens"].as_array().expect("a list");
    let at = tokens.iter().position(|token| *token == tokens[4]).expect("there");
    let ended = generate(&["--stop-token-id", &tokens[4].to_string()]);
    assert_eq!(ended["tokens"].as_array().expect("a list")[..], tokens[..at]);
    assert_eq!(ended["finish_reason"], "stop");
}
