//! Texts that the host draws: with samplers that the device does not know, and under constraints.
//! Not the distributions, which are judged where the samplers are: `src/engine/text/sampling/tests.rs`.

use crate::common::models::{LLAMA, load};
use lorakeet::Result;
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::engine::{
    Constraint, Ending, Engine, EngineOptions, Finish, Loader, Overflow, Request, Samplers, Supplied,
};

const PROMPT: [u32; 3] = [5, 90, 17];

fn engine() -> Engine {
    let backend = Backend::Cpu(Cpu::new(Kernels::Fast));
    let options = EngineOptions { batch: Some(4), ..EngineOptions::default() };
    let mut loader = Loader::new(LLAMA.config, None, LLAMA.tokenizer, backend, &options).expect("valid");
    LLAMA.weights.iter().for_each(|file| load(&mut loader, file).expect("valid"));
    loader.finish().expect("complete")
}

fn drawn(samplers: Samplers, seed: u32) -> Request {
    Request {
        max_tokens: Some(24),
        temperature: 0.9,
        top_p: 0.9,
        samplers,
        seed,
        prompt: PROMPT.to_vec(),
        ..Request::default()
    }
}

/// Tokens of each request.
async fn run(engine: &mut Engine, requests: &[Request]) -> Vec<Vec<u32>> {
    let mut generation = engine.start(requests).expect("valid");
    let mut tokens = vec![Vec::new(); requests.len()];
    while !generation.is_finished() {
        for delta in engine.next(&mut generation).await.expect("computes") {
            tokens[delta.index].extend(delta.tokens);
        }
    }
    engine.end(generation);
    tokens
}

/// On, and so small that nothing changes.
fn nearly_off() -> Samplers {
    Samplers { presence_penalty: 1e-30, ..Samplers::default() }
}

#[pollster::test]
async fn an_option_that_changes_nothing_changes_no_text() {
    let mut engine = engine();
    for seed in 0..4 {
        let device = run(&mut engine, &[drawn(Samplers::default(), seed)]).await;
        assert_eq!(run(&mut engine, &[drawn(nearly_off(), seed)]).await, device, "seed {seed}");
    }
    let greedy = Request::greedy(PROMPT.to_vec(), 24);
    let here = Request { samplers: nearly_off(), ..greedy.clone() };
    assert_eq!(run(&mut engine, &[here]).await, run(&mut engine, &[greedy]).await);
}

#[pollster::test]
async fn both_kinds_of_a_batch_draw_what_they_draw_alone() {
    let mut engine = engine();
    let dry = Samplers { dry_multiplier: 2.0, frequency_penalty: 1.0, ..Samplers::default() };
    let xtc = Samplers { xtc_probability: 0.5, xtc_threshold: 0.01, ..Samplers::default() };
    let mirostat = Request { top_p: 1.0, ..drawn(Samplers { mirostat: 2, ..Samplers::default() }, 4) };
    let told = Request { logprobs: Some(2), ..drawn(xtc, 3) };
    let requests = [drawn(Samplers::default(), 1), drawn(dry, 2), told, mirostat];
    let together = run(&mut engine, &requests).await;
    for (request, text) in requests.iter().zip(&together) {
        assert_eq!(&run(&mut engine, std::slice::from_ref(request)).await[0], text, "{request:?}");
    }
    assert_eq!(run(&mut engine, &requests).await, together);
}

#[pollster::test]
async fn options_do_what_they_say() {
    let mut engine = engine();
    let banned = Samplers { logit_bias: (0..200).map(|t| (t, -100.0)).collect(), ..Samplers::default() };
    let text = &run(&mut engine, &[drawn(banned, 1)]).await[0];
    assert!(text.iter().all(|t| *t >= 200), "{text:?}");
    let once = Samplers { no_repeat_ngram_size: 1, ..Samplers::default() };
    let mut text = run(&mut engine, &[Request { samplers: once, ..Request::greedy(PROMPT.to_vec(), 24) }])
        .await
        .remove(0);
    text.extend(PROMPT);
    let n = text.len();
    text.sort_unstable();
    text.dedup();
    assert_eq!(text.len(), n, "a token came twice");
    // Past the end of the context the window slides, and the same text comes again.
    let slides = Request {
        overflow: Overflow::Slide,
        max_tokens: Some(engine.model().context() + 20),
        ..drawn(nearly_off(), 7)
    };
    let text = run(&mut engine, std::slice::from_ref(&slides)).await;
    assert_eq!(run(&mut engine, &[slides]).await, text);
}

/// Tokens of remainder 3, then 2, then 1 by 7, and the end.
#[derive(Debug)]
struct Steps {
    left: u32,
}

impl Constraint for Steps {
    fn allowed(&mut self, mask: &mut [u32]) -> Result<Ending> {
        (10..300u32).filter(|t| t % 7 == self.left).for_each(|t| mask[t as usize / 32] |= 1 << (t % 32));
        Ok(if self.left == 0 { Ending::Must } else { Ending::Never })
    }

    fn accept(&mut self, token: u32) -> Result<()> {
        assert_eq!(token % 7, self.left, "{token}");
        self.left -= 1;
        Ok(())
    }
}

#[pollster::test]
async fn a_constraint_is_kept_to_beside_free_texts() {
    let mut engine = engine();
    let free = drawn(Samplers::default(), 9);
    let alone = run(&mut engine, std::slice::from_ref(&free)).await.remove(0);
    let bound = Request { temperature: 1e-3, ..drawn(Samplers::default(), 5) };
    let mut generation = engine.start(&[bound, free]).expect("valid");
    generation.constrain(0, Box::new(Steps { left: 3 })).expect("not begun");
    let (mut tokens, mut ends) = (vec![Vec::new(); 2], [None; 2]);
    while !generation.is_finished() {
        for delta in engine.next(&mut generation).await.expect("computes") {
            tokens[delta.index].extend(delta.tokens);
            ends[delta.index] = delta.finish;
        }
    }
    engine.end(generation);
    assert_eq!((tokens[0].len(), ends[0]), (3, Some(Finish::Stop)));
    assert_eq!(tokens[1], alone);
}

#[pollster::test]
async fn masks_are_supplied_token_by_token() {
    let mut engine = engine();
    let mut generation = engine.start(&[drawn(Samplers::default(), 5)]).expect("valid");
    assert!(generation.supply(0, &[], Ending::May).is_err(), "no constraint yet");
    generation.constrain(0, Box::<Supplied>::default()).expect("not begun");
    while generation.pending() > 0 {
        engine.next(&mut generation).await.expect("computes");
    }
    let error = engine.next(&mut generation).await.expect_err("no mask");
    assert_eq!(error.to_string(), "no mask for the next token, expected one before each");
    let words = engine.config().vocab_size.div_ceil(32);
    generation.supply(0, &vec![0; words + 1], Ending::Never).expect("constrained");
    assert!(engine.next(&mut generation).await.expect_err("too long").to_string().contains("a mask of"));
    for token in [200u32, 31, 200] {
        let mut mask = vec![0; words];
        mask[token as usize / 32] |= 1 << (token % 32);
        generation.supply(0, &mask, Ending::Never).expect("constrained");
        let deltas = engine.next(&mut generation).await.expect("computes");
        assert_eq!(deltas[0].tokens, [token]);
    }
    assert!(engine.next(&mut generation).await.is_err(), "a mask serves one token");
    generation.supply(0, &vec![0; words], Ending::Never).expect("constrained");
    let error = engine.next(&mut generation).await.expect_err("all masked");
    assert!(error.to_string().contains("no token is left to draw"), "{error}");
    generation.supply(0, &[], Ending::Must).expect("constrained");
    let deltas = engine.next(&mut generation).await.expect("ends");
    assert_eq!((deltas[0].finish, generation.is_finished()), (Some(Finish::Stop), true));
    engine.end(generation);
}
