//! A real trained model, stories260K: 200 greedy tokens as llama2.c prints them.

use std::path::Path;

use crate::common::backends;
use lorakeet::engine::{EngineOptions, Request, folder};

#[pollster::test]
#[ignore = "its data lie beside the checkout: `npm test -- beside`"]
async fn two_hundred_greedy_tokens() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/models/stories260K");
    let golden = std::fs::read_to_string(model.join("golden_greedy_200.txt")).expect("a file");
    for (name, backend) in backends().await {
        let mut engine =
            folder::open(&model, backend, &EngineOptions::default(), |_, _| {}).expect("a valid model");
        let prompt = engine.encode("").expect("the token that begins a text");
        // run.c prints a token for each of its 200 steps.
        let mut generation = engine.start(&[Request::greedy(prompt, 200)]).expect("valid");
        let mut text = String::new();
        while !generation.is_finished() {
            for delta in engine.next(&mut generation).await.expect("works") {
                text += &delta.text;
            }
        }
        assert_eq!(generation.usage(0).completion_tokens, 200, "{name}");
        assert_eq!(text.trim_end(), golden.trim_end(), "{name}");
    }
}
