//! The adapters that ship write in styles that a classifier, trained on their corpora, tells apart.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::engine::{Engine, EngineOptions, Request, folder};
use serde_json::Value;

/// Texts of each style, and tokens of each text.
const TEXTS: usize = 8;
const TOKENS: usize = 160;
/// Share of them that must be told right.
const AT_LEAST: f64 = 0.8;

/// TF-IDF and a logistic regression; `tools/train/styles.py` makes it.
struct Classifier {
    styles: Vec<String>,
    /// Token -> index and inverse document frequency.
    tokens: HashMap<String, (usize, f64)>,
    bias: Vec<f64>,
    /// (styles, tokens)
    weights: Vec<Vec<f64>>,
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().expect("a list").iter().map(|x| x.as_str().expect("a text").to_owned()).collect()
}

impl Classifier {
    fn open() -> Self {
        let json: Value = serde_json::from_str(include_str!("../fixtures/styles.json")).expect("valid JSON");
        let idf = numbers(&json["idf"]);
        let tokens = texts(&json["tokens"]).into_iter().zip(idf).enumerate();
        Self {
            styles: texts(&json["styles"]),
            tokens: tokens.map(|(i, (token, idf))| (token, (i, idf))).collect(),
            bias: numbers(&json["bias"]),
            weights: json["weights"].as_array().expect("a list").iter().map(numbers).collect(),
        }
    }

    fn style(&self, text: &str) -> &str {
        let mut counts: HashMap<usize, (f64, f64)> = HashMap::new();
        for token in split(&text.to_lowercase()) {
            if let Some(&(index, idf)) = self.tokens.get(&token) {
                counts.entry(index).or_insert((0.0, idf)).0 += 1.0;
            }
        }
        let features: Vec<(usize, f64)> =
            counts.into_iter().map(|(index, (count, idf))| (index, (1.0 + count.ln()) * idf)).collect();
        let norm = features.iter().map(|(_, x)| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        let score = |style: usize| {
            let sum: f64 = features.iter().map(|(index, x)| x / norm * self.weights[style][*index]).sum();
            sum + self.bias[style]
        };
        let best = (0..self.styles.len()).max_by(|&a, &b| score(a).total_cmp(&score(b)));
        &self.styles[best.expect("there are styles")]
    }
}

/// Words with their apostrophes, every other character that is no space, and line ends.
fn split(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let characters: Vec<char> = text.chars().collect();
    let letters = |from: usize| characters[from..].iter().take_while(|c| c.is_ascii_lowercase()).count();
    let mut at = 0;
    while at < characters.len() {
        let mut end = at + letters(at);
        if end > at && characters.get(end) == Some(&'\'') && letters(end + 1) > 0 {
            end += 1 + letters(end + 1);
        }
        if end == at {
            end += 1;
        }
        let token: String = characters[at..end].iter().collect();
        if token == "\n" || !token.trim().is_empty() {
            tokens.push(token);
        }
        at = end;
    }
    tokens
}

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("www").join(path)
}

/// TEXTS texts under one adapter, or under none.
async fn write(engine: &mut Engine, adapter: Option<&str>) -> Vec<String> {
    let choice = adapter.map(|name| (name.to_owned(), 1.0)).into_iter().collect();
    engine.set_adapter(choice).expect("loaded");
    let requests: Vec<Request> = (0..TEXTS as u32)
        .map(|seed| Request {
            temperature: 0.8,
            top_p: 0.95,
            seed,
            ..Request::greedy(engine.encode("\n\n").expect("a token"), TOKENS)
        })
        .collect();
    let mut generation = engine.start(&requests).expect("valid");
    let mut texts = vec![String::new(); TEXTS];
    while !generation.is_finished() {
        for delta in engine.next(&mut generation).await.expect("works") {
            texts[delta.index] += &delta.text;
        }
    }
    engine.end(generation);
    texts
}

#[pollster::test]
async fn adapters_are_told_apart_by_what_they_write() {
    let classifier = Classifier::open();
    let options = EngineOptions { context_length: Some(256), batch: Some(TEXTS), ..EngineOptions::default() };
    let backend = Backend::Cpu(Cpu::new(Kernels::Fast));
    let mut engine = folder::open(&shipped("models/novels/novels-q8_0.gguf"), backend, &options, |_, _| {})
        .expect("valid");
    let (mut right, mut all, mut base_right) = (0, 0, 0);
    let base = write(&mut engine, None).await;
    for style in &classifier.styles {
        let path = shipped("adapters").join(style);
        folder::load_adapter(&mut engine, style, &path).await.expect("a valid adapter");
        let bytes: u64 = path
            .read_dir()
            .expect("a folder")
            .map(|e| e.and_then(|e| e.metadata()).expect("a file").len())
            .sum();
        assert!(bytes <= 600_000, "{style}: {bytes} bytes");
        let told: Vec<_> =
            write(&mut engine, Some(style)).await.iter().map(|t| classifier.style(t).to_owned()).collect();
        let hits = told.iter().filter(|told| *told == style).count();
        println!("{style}: {hits} of {TEXTS} told right {told:?}");
        right += hits;
        all += TEXTS;
        base_right += base.iter().filter(|text| classifier.style(text) == style).count();
    }
    let share = f64::from(right as u32) / f64::from(all as u32);
    println!("{right} of {all} told right");
    assert!(share >= AT_LEAST, "{right} of {all} told right, expected {AT_LEAST}");
    // The base's texts cannot be of every style: that the test can fail.
    assert_eq!(base_right, TEXTS, "each text of the base has one style");
    assert!(f64::from(base_right as u32) / f64::from(all as u32) < AT_LEAST);
}
