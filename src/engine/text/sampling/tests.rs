//! Distributions after each sampler and after chains of them, against numpy's (`tests/fixtures/samplers.py`).
//! Not how texts come about: that is `tests/rust/samplers.rs`.

use serde_json::{Map, Value};

use super::logits::probabilities;
use super::*;
use crate::engine::text::request::Request;

const FIXTURE: &str = include_str!("../../../../tests/fixtures/samplers.json");
const TOKENIZER: &[u8] = include_bytes!("../../../../tests/fixtures/models/llama/tokenizer.json");

fn tokenizer() -> Tokenizer {
    Tokenizer::from_json(TOKENIZER).expect("a tokenizer")
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|n| n.as_f64().expect("a number") as f32).collect()
}

/// The chain and the device's line that options ask for.
fn chain(options: &Value) -> (Chain, Sampling) {
    const DEVICES: [&str; 5] = ["temperature", "top_p", "min_p", "repetition_penalty", "top_k"];
    let options = options.as_object().expect("a map").clone();
    let (devices, hosts): (Map<_, _>, Map<_, _>) =
        options.into_iter().partition(|(name, _)| DEVICES.contains(&name.as_str()));
    let samplers: Samplers = serde_json::from_value(Value::Object(hosts)).expect("options");
    let number =
        |name: &str, default: f32| devices.get(name).and_then(Value::as_f64).map_or(default, |n| n as f32);
    let request = Request {
        temperature: number("temperature", 1.0),
        top_p: number("top_p", 1.0),
        min_p: number("min_p", 0.0),
        repetition_penalty: number("repetition_penalty", 1.0),
        top_k: number("top_k", 0.0) as u32,
        seed: 5,
        ..Request::default()
    };
    samplers.check(37, request.top_k > 0 || request.top_p < 1.0).expect("in range");
    assert!(samplers.are_on());
    (Chain::new(&samplers), request.sampling(&[]))
}

#[test]
fn distributions_are_numpys() {
    let tokenizer = tokenizer();
    let fixture: Value = serde_json::from_str(FIXTURE).expect("JSON");
    let tokens: Vec<u32> = floats(&fixture["tokens"]).into_iter().map(|t| t as u32).collect();
    let prompt = fixture["prompt"].as_u64().expect("a number") as usize;
    let mut seen = [0; 2];
    tokens.iter().for_each(|t| seen[*t as usize / 32] |= 1 << (t % 32));
    let cases = fixture["cases"].as_array().expect("a list");
    assert!(cases.len() > 20);
    for case in cases {
        let (mut chain, with) = chain(&case["options"]);
        tokens[prompt..].iter().for_each(|&t| chain.accept(t));
        let (logits, expected) = (floats(&case["logits"]), floats(&case["probs"]));
        let place = Place { mask: None, seen: &seen, tokens: &tokens, pos: 10 };
        let mut left = logits.clone();
        chain.penalise(&mut left, &with, &place, &tokenizer).expect("penalised");
        chain.filter(&mut left, &with, place.pos);
        for (t, (p, expected)) in probabilities(&left).iter().zip(&expected).enumerate() {
            let (p, options) = (*p as f32, &case["options"]);
            assert!((p - expected).abs() <= 1e-5, "{options}: token {t}: {p}, expected {expected}");
            assert_eq!(p == 0.0, *expected == 0.0, "{options}: token {t}");
        }
        // And that is what is drawn from: within five standard deviations.
        let (draws, mut counts) = (2000u32, vec![0f32; logits.len()]);
        for pos in 0..draws {
            let token = best(&left, |token| gumbel(with.seed, pos, token));
            counts[token as usize] += 1.0;
        }
        for (count, p) in counts.iter().zip(&expected) {
            let n = draws as f32;
            assert!((count - n * p).abs() <= 5.0 * (n * p * (1.0 - p)).sqrt() + 1.0, "{}", case["options"]);
        }
    }
}

#[test]
fn what_is_forbidden_is_never_drawn_and_all_of_it_is_an_error() {
    let tokenizer = tokenizer();
    let (mut chain, mut with) = chain(&serde_json::json!({"logit_bias": [[1, 100.0]]}));
    let logits = [5.0f32, 1.0, 9.0, -3.0];
    for temperature in [0.0, 1.0, 1e-40, 1e30] {
        with.temperature = temperature;
        for mask in [0b1000u32, 0b0101] {
            let place = Place { mask: Some(&[mask]), seen: &[0], tokens: &[0, 1], pos: 2 };
            let token = chain.draw(&mut logits.clone(), &with, &place, &tokenizer).expect("drawn");
            assert_eq!(mask >> token & 1, 1, "{temperature}");
        }
        let place = Place { mask: Some(&[0]), seen: &[0], tokens: &[0, 1], pos: 2 };
        let error = chain.draw(&mut logits.clone(), &with, &place, &tokenizer).expect_err("nothing is left");
        assert!(error.to_string().contains("no token is left to draw"), "{error}");
    }
}

#[test]
fn ties_are_kept_and_the_first_is_best() {
    let tokenizer = tokenizer();
    let (mut chain, mut with) = chain(&serde_json::json!({"presence_penalty": 1.0, "top_k": 1}));
    let place = |pos| Place { mask: None, seen: &[0], tokens: &[3], pos };
    let mut drawn = [0; 4];
    for pos in 0..200 {
        drawn[chain.draw(&mut [1.0, 2.0, 2.0, 0.0], &with, &place(pos), &tokenizer).expect("drawn")
            as usize] += 1;
    }
    assert!(drawn[1] > 50 && drawn[2] > 50 && drawn[0] + drawn[3] == 0, "{drawn:?}");
    with.temperature = 0.0;
    assert_eq!(chain.draw(&mut [1.0, 2.0, 2.0, 0.0], &with, &place(9), &tokenizer), Ok(1));
    chain.accept(1);
    assert_eq!(chain.draw(&mut [1.0, 2.0, 2.0, 0.0], &with, &place(9), &tokenizer), Ok(2));
}

#[test]
fn mirostat_comes_to_its_surprise() {
    let tokenizer = tokenizer();
    let (mut chain, with) = chain(&serde_json::json!({"mirostat": 2, "mirostat_tau": 3.0}));
    let logits: Vec<f32> = (1..=300).map(|rank| -1.1 * (rank as f32).ln()).collect();
    let (mut total, n) = (0.0, 2000);
    for pos in 0..n {
        let place = Place { mask: None, seen: &[0; 10], tokens: &[3], pos };
        let mut left = logits.clone();
        let token = chain.draw(&mut left, &with, &place, &tokenizer).expect("drawn");
        total -= probabilities(&left)[token as usize].log2();
    }
    let mean = total / f64::from(n);
    assert!((mean - 3.0).abs() < 0.1, "{mean}");
}

#[test]
fn dry_penalises_what_would_go_on_with_the_longest_copy() {
    let text = |token: u32| Ok(if token == 8 { "a:".to_owned() } else { format!("t{token}") });
    let of = Samplers { dry_multiplier: 0.5, dry_base: 2.0, ..Samplers::default() };
    let penalties = |tokens: &[u32], of: &Samplers| {
        let mut logits = vec![0f32; 10];
        dry::dry(&mut logits, tokens, of, &text).expect("texts");
        logits.iter().map(|l| -l).collect::<Vec<_>>()
    };
    // "1 2 3" came before 4; "2 3" before 5: 0.5·2^(3−2) and 0.5·2^(2−2).
    let tokens = [1, 2, 3, 4, 7, 2, 3, 5, 1, 2, 3];
    assert_eq!(penalties(&tokens, &of), [0.0, 0.0, 0.0, 0.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0]);
    // Token 8 holds a breaker: copies do not go over it, and it is not penalised itself.
    let tokens = [1, 8, 2, 3, 4, 9, 1, 8, 2, 3];
    assert_eq!(penalties(&tokens, &of)[4], 0.5);
    assert_eq!(penalties(&[2, 3, 8, 9, 2, 3], &of), [0.0; 10]);
    // Only so many are looked at, and no power is too large.
    let few = Samplers { dry_penalty_last_n: 4, ..of.clone() };
    assert_eq!(penalties(&[1, 2, 3, 1, 2], &few), [0.0; 10]);
    assert_eq!(penalties(&[1, 2, 3, 1, 2], &of)[3], 0.5);
    assert!(penalties(&[1; 3000], &of)[1].is_finite());
}

#[test]
fn options_out_of_range_are_named() {
    let wrong = [
        (serde_json::json!({"presence_penalty": 2.5}), "presence_penalty 2.5, expected -2 to 2"),
        (serde_json::json!({"frequency_penalty": -3}), "frequency_penalty -3, expected -2 to 2"),
        (serde_json::json!({"logit_bias": [[5, 101]]}), "logit_bias of 5: 101, expected -100 to 100"),
        (
            serde_json::json!({"logit_bias": [[37, 1]]}),
            "logit_bias: token id 37, expected below the vocabulary size 37",
        ),
        (serde_json::json!({"typical_p": 0}), "typical_p 0, expected above 0, at most 1"),
        (serde_json::json!({"dry_base": 0.5}), "dry_base 0.5, expected 1 or more"),
        (serde_json::json!({"dry_allowed_length": 0}), "dry_allowed_length 0, expected at least 1"),
        (serde_json::json!({"dry_penalty_last_n": -2}), "dry_penalty_last_n -2, expected -1 (all) or more"),
        (serde_json::json!({"xtc_probability": 1.5}), "xtc_probability 1.5, expected 0 to 1"),
        (serde_json::json!({"mirostat": 1}), "mirostat 1, expected 0 (off) or 2"),
        (serde_json::json!({"dynatemp_range": -1}), "dynatemp_range -1, expected 0 or more"),
        (
            serde_json::json!({"mirostat": 2, "typical_p": 0.5}),
            "mirostat 2 and another filter, expected one of them: it chooses itself how many tokens are kept",
        ),
    ];
    for (options, message) in wrong {
        let samplers: Samplers = serde_json::from_value(options).expect("options");
        assert_eq!(samplers.check(37, false).expect_err("out of range").to_string(), message);
    }
    assert!(Samplers::default().check(37, true).is_ok() && !Samplers::default().are_on());
}
