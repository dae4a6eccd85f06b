//! `lorakeet train` and `lorakeet temp-lora eval`: what they print, write and refuse.
//! What training computes is training.rs's and temp_lora.rs's.

use std::process::{Command, Output};

use serde_json::Value;

const STORY: &str = "tests/fixtures/training/story.txt";

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lorakeet"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .output()
        .expect("the program runs")
}

#[track_caller]
fn report(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[track_caller]
fn refusal(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// The perplexity of the story under the adapters named.
#[track_caller]
fn perplexity(adapters: &[&str]) -> f64 {
    let adapters: Vec<&str> = adapters.iter().flat_map(|path| ["--adapter", path]).collect();
    let report = report(&[&["perplexity", "--text", STORY, "--json"], &adapters[..]].concat());
    report["perplexity"].as_f64().expect("a number")
}

/// What is written is a PEFT folder that the program loads, and that has learned the story.
#[test]
fn a_text_becomes_an_adapter() {
    let out = std::env::temp_dir().join(format!("lorakeet-train-{}", std::process::id()));
    let folder = out.to_str().expect("plain");
    let trained =
        report(&["train", "--data", STORY, "--out", folder, "--rank", "4", "--epochs", "2", "--json"]);
    let losses = trained["losses"].as_array().expect("a list");
    assert_eq!(trained["steps"], losses.len());
    assert!(losses.len() > 2 && losses.iter().all(|loss| loss.as_f64().is_some_and(|loss| loss > 0.0)));
    let [base, adapted] = [perplexity(&[]), perplexity(&[folder])];
    assert!(adapted < 0.95 * base, "{base} to {adapted}");
    std::fs::remove_dir_all(out).expect("it was made");
}

/// The losses that `trainAdapter` has too (tests/web/training.test.mjs): the same windows, in the same order, at
/// the same rates.
#[test]
fn a_dataset_is_learned_as_in_a_page() {
    let program: Value =
        serde_json::from_str(include_str!("../fixtures/training/program.json")).expect("JSON");
    let out = std::env::temp_dir().join(format!("lorakeet-dataset-{}", std::process::id()));
    let files = ["--data", "tests/fixtures/training/dataset.json", "--out", out.to_str().expect("plain")];
    let options = ["--rank", "4", "--epochs", "2", "--batch", "2", "--max-length", "64", "--seed", "7"];
    let rates =
        ["--learning-rate", "0.003", "--schedule", "cosine", "--warmup-steps", "1", "--dropout", "0.1"];
    let trained =
        report(&[&["train", "--context-length", "128", "--json"], &files[..], &options, &rates].concat());
    let losses = |value: &Value| -> Vec<f64> {
        value.as_array().expect("a list").iter().map(|loss| loss.as_f64().expect("a number")).collect()
    };
    let (got, want) = (losses(&trained["losses"]), losses(&program["losses"]));
    assert_eq!(got.len(), want.len(), "{got:?}");
    let worst = got.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-5, "{got:?}, expected {want:?}");
    std::fs::remove_dir_all(out).expect("it was made");
}

#[test]
fn a_text_is_scored_and_learned_chunk_by_chunk() {
    let options = ["--max-tokens", "600", "--chunk", "64", "--context", "64", "--rank", "8", "--json"];
    let text = ["temp-lora", "eval", "--text", STORY];
    let scored = report(&[&text[..], &options].concat());
    let number = |name: &str| scored[name].as_f64().unwrap_or_else(|| panic!("{name} of {scored}"));
    assert_eq!((number("tokens"), number("labels")), (600.0, 599.0));
    assert!(number("perplexity") < 0.98 * number("base_perplexity"), "{scored}");
    assert!(number("mixed_regret") <= 6f64.ln() + 1e-9, "{scored}");
    assert!(number("mean_chunk_perplexity") > 1.0 && number("mean_chunk_base_perplexity") > 1.0);
    // The paper's rate is far too small for so small a model.
    let paper = report(&[&text[..], &["--preset", "paper"], &options].concat());
    assert!(paper["perplexity"].as_f64() > scored["perplexity"].as_f64(), "{paper}");
}

#[test]
fn what_is_wrong_is_said() {
    assert!(
        refusal(&["train", "--data", "nowhere.txt", "--out", "out"])
            .starts_with("error (argument): cannot read nowhere.txt")
    );
    let train = ["train", "--out", "out", "--data", STORY];
    assert_eq!(
        refusal(&[&train[..], &["--max-length", "4000"]].concat()),
        "error (argument): maxLength 4000, expected 2 to 512, the context"
    );
    assert_eq!(
        refusal(&["temp-lora", "eval", "--text", STORY, "--chunk", "400", "--context", "400"]),
        "error (argument): chunkTokens 400 and contextTokens 400 exceed the context of 512"
    );
}
