//! Temp-LoRA draws a text of any length that ends where it should, and learns from it as it is asked to.
//! Not how a chunk is learned: temp_lora.rs has that.

use crate::common::backends;
use crate::common::temp_lora::{finish, open, options, story};
use lorakeet::engine::{ChunkReport, Engine, EngineOptions, Finish, Kv, Request, TempEvent, TempLoraOptions};
use serde_json::Value;

/// Far more text than the context holds, with each way to treat old keys and values: every chunk
/// is learned, and memory stays as it was after the first.
#[pollster::test]
async fn generation_goes_on_past_the_context_in_bounded_memory() {
    for kv in [Kv::Recompute, Kv::Stale, Kv::ResetEvery(3)] {
        let most = if kv == Kv::Stale { 2 } else { 1 }; // a software GPU is slow
        for (backend, opened) in backends().await.into_iter().skip(1).take(most) {
            let sizes =
                EngineOptions { context_length: Some(96), batch: Some(2), ..EngineOptions::default() };
            let mut engine = open(opened, &sizes);
            let prompt = engine.encode("Once upon a time there was a fox").expect("text");
            let mut temp = engine
                .begin_temp_lora(TempLoraOptions { kv, max_repetition: 1.0, ..options() })
                .await
                .expect("valid");
            let request = Request { temperature: 1.0, ..Request::greedy(prompt, 220) };
            engine.temp_generate(&mut temp, request, false).expect("valid");
            let mut bytes = None;
            let (mut chunks, mut tokens, mut finish) = (0, 0, None);
            loop {
                match engine.temp_next(&mut temp, usize::MAX).await.expect("works") {
                    TempEvent::Idle => break,
                    TempEvent::Text(delta) => {
                        tokens += delta.tokens.len();
                        finish = delta.finish;
                    }
                    TempEvent::Chunk(report) => {
                        chunks += 1;
                        assert_eq!(report.train_losses.len(), 2, "{kv:?} on {backend}: {report:?}");
                        let now = engine.model().tensors.total_bytes();
                        assert_eq!(*bytes.get_or_insert(now), now, "{kv:?} on {backend}");
                    }
                    TempEvent::Progress(..) => {}
                }
            }
            assert_eq!((tokens, finish), (220, Some(Finish::Length)), "{kv:?} on {backend}");
            assert!(chunks >= tokens / 56, "{kv:?} on {backend}: {chunks} chunks of {tokens} tokens");
            engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
        }
    }
}

/// Draws on from a text that was learned, with or without the mix.
async fn draw(
    engine: &mut Engine,
    text: &[u32],
    request: &Request,
    mix: bool,
    evaluate: bool,
) -> (Vec<ChunkReport>, Vec<u32>) {
    let options = TempLoraOptions { learning_rate: 4e-3, max_repetition: 1.0, ..options() };
    let mut temp = engine.begin_temp_lora(options).await.expect("valid");
    engine.temp_learn(&mut temp, text, evaluate).expect("valid");
    finish(engine, &mut temp).await;
    engine.temp_generate(&mut temp, request.clone(), mix).expect("valid");
    let drawn = finish(engine, &mut temp).await;
    engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    drawn
}

/// The mix draws what the heavier model alone draws, and over the text it has drawn its loss is at most ln 6
/// above that of the better of the two.
#[pollster::test]
async fn a_text_is_drawn_from_the_never_worse_mix() {
    for (backend, opened) in backends().await.into_iter().skip(1) {
        let mut engine = open(
            opened,
            &EngineOptions { context_length: Some(128), batch: Some(4), ..EngineOptions::default() },
        );
        let text = story(&engine);
        // A software GPU is slow.
        let n = if backend == "gpu" { 48 } else { 150 };
        let greedy = Request::greedy(Vec::new(), n);
        let sampled =
            Request { temperature: 0.9, top_p: 0.95, repetition_penalty: 1.1, seed: 7, ..greedy.clone() };
        // Nothing learned: both models are the base.
        for request in [&greedy, &sampled] {
            let prompt = Request { prompt: text[..20].to_vec(), ..request.clone() };
            let plain =
                draw(&mut engine, &[], &Request { max_tokens: Some(40), ..prompt.clone() }, false, false)
                    .await;
            let mixed =
                draw(&mut engine, &[], &Request { max_tokens: Some(40), ..prompt }, true, false).await;
            assert_eq!(mixed.1, plain.1, "{backend}");
            let ChunkReport { base_loss, adapted_loss, mixed_loss, .. } = mixed.0[0];
            // Not to the bit: a prompt of many rows is multiplied in another order than one of few.
            let [base, adapted, mixed] =
                [base_loss, adapted_loss, mixed_loss].map(|loss| loss.expect("mixed"));
            assert!((base - adapted).abs() < 1e-5 && (base - mixed).abs() < 1e-5, "{backend}");
        }
        // The adapted model was better by many nats when the text was scored: it weighs all.
        let learned = &text[..48 * 3];
        let adapted = draw(&mut engine, learned, &greedy, false, true).await;
        assert_eq!(
            draw(&mut engine, learned, &greedy, true, true).await.1[..40],
            adapted.1[..40],
            "{backend}"
        );
        // It begins with equal weights where nothing was scored.
        let (chunks, tokens) = draw(&mut engine, learned, &sampled, true, false).await;
        assert!(tokens.len() >= 20, "{backend}: {} tokens", tokens.len());
        let total = |loss: fn(&ChunkReport) -> Option<f64>| -> f64 {
            chunks.iter().map(|chunk| loss(chunk).expect("mixed") * chunk.tokens as f64).sum()
        };
        let [base, adapted, mixed] =
            [total(|c| c.base_loss), total(|c| c.adapted_loss), total(|c| c.mixed_loss)];
        assert!((base - adapted).abs() > 1.0, "{backend}: two models, {base} and {adapted} nats");
        let regret = mixed - base.min(adapted);
        assert!(regret <= 6f64.ln() + 1e-9, "{backend}: {regret} nats");
        // Two that differ are better together, but not without measure.
        assert!(mixed > 0.5 * base.min(adapted), "{backend}: {mixed} nats");
    }
}

/// A text drawn from the mix ends where the model ends it, as any other does.
#[pollster::test]
async fn a_mix_ends_with_the_models_end_token() {
    let files = &crate::common::models::MODELS[0];
    let request = Request::greedy(vec![3, 1, 4, 1, 5], 12);
    for (name, backend) in backends().await.into_iter().skip(1) {
        let options = EngineOptions { context_length: Some(96), batch: Some(2), ..EngineOptions::default() };
        let mut engine = files.open(backend, &options).expect("valid");
        let (_, whole) = draw(&mut engine, &[], &request, true, false).await;
        let mut config: Value = serde_json::from_slice(files.config).expect("JSON");
        config["eos_token_id"] = whole[5].into();
        let (_, backend) = backends().await.into_iter().find(|(other, _)| *other == name).expect("as before");
        let mut engine = files.open_as(config.to_string().as_bytes(), backend, &options).expect("valid");
        let (_, ended) = draw(&mut engine, &[], &request, true, false).await;
        let end = whole.iter().position(|token| *token == whole[5]).expect("it is there");
        assert_eq!(ended, whole[..end], "{name}");
    }
}

/// The mix needs two slots, and says so.
#[pollster::test]
async fn a_mix_without_room_is_refused() {
    let (_, backend) = backends().await.remove(1);
    let mut engine = open(
        backend,
        &EngineOptions { context_length: Some(128), batch: Some(1), ..EngineOptions::default() },
    );
    let prompt = story(&engine)[..8].to_vec();
    let mut temp = engine.begin_temp_lora(options()).await.expect("valid");
    let request = Request::greedy(prompt, 4);
    let error = engine.temp_generate(&mut temp, request.clone(), true).expect_err("one slot");
    let words = "keys and values that are kept, and a mix, take 2 slots in all, expected an engine of `batch` 2 or more";
    assert_eq!(error.to_string(), words);
    engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    let mut stale =
        engine.begin_temp_lora(TempLoraOptions { kv: Kv::Stale, ..options() }).await.expect("valid");
    let error = engine.temp_generate(&mut stale, request, false).expect_err("one slot");
    assert_eq!(error.to_string(), words);
}

/// What a chunk's end cuts in two, a stop string here, is whole in the text.
#[pollster::test]
async fn a_stop_string_ends_the_text_across_chunks() {
    let (_, backend) = backends().await.remove(1);
    let sizes = EngineOptions { context_length: Some(128), batch: Some(2), ..EngineOptions::default() };
    let mut engine = open(backend, &sizes);
    let prompt = engine.encode("Once upon a time").expect("text");
    for kv in [Kv::Recompute, Kv::Stale, Kv::ResetEvery(1)] {
        let options = TempLoraOptions { kv, chunk_tokens: 12, max_repetition: 1.0, ..options() };
        let mut temp = engine.begin_temp_lora(options.clone()).await.expect("valid");
        let request = Request::greedy(prompt.clone(), 40);
        engine.temp_generate(&mut temp, request.clone(), false).expect("valid");
        let (_, tokens) = finish(&mut engine, &mut temp).await;
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
        assert_eq!(tokens.len(), 40, "{kv:?}");
        // The last letters of the second chunk and the first of the third.
        let text = |range: std::ops::Range<usize>| {
            engine.tokenizer().decode(&[&prompt[..], &tokens[range]].concat(), true).expect("text")
        };
        let (cut, all) = (text(0..24), text(0..40));
        let stop = all[cut.len() - 6..cut.len() + 4].to_owned();
        assert!(!all[..cut.len()].contains(&stop), "{kv:?}: {stop:?} is in the text before");
        let mut temp = engine.begin_temp_lora(options).await.expect("valid");
        engine.temp_generate(&mut temp, Request { stop: vec![stop], ..request }, false).expect("valid");
        let mut shown = String::new();
        loop {
            match engine.temp_next(&mut temp, usize::MAX).await.expect("works") {
                TempEvent::Idle => break,
                TempEvent::Text(delta) => shown += &delta.text,
                _ => {}
            }
        }
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
        let begin = engine.tokenizer().decode(&prompt, true).expect("text");
        assert_eq!(begin + &shown, all[..cut.len() - 6], "{kv:?}");
    }
}

/// A chunk that only repeats is reported, scored where that is asked for, and not learned.
#[pollster::test]
async fn a_chunk_that_repeats_is_not_learned() {
    let (_, backend) = backends().await.remove(1);
    let sizes = EngineOptions { context_length: Some(96), batch: Some(2), ..EngineOptions::default() };
    let mut engine = open(backend, &sizes);
    let prompt = engine.encode("The king").expect("text");
    // Nothing at all may repeat: a greedy small model repeats itself soon.
    let gated = TempLoraOptions { max_repetition: 0.0, score_generated: true, ..options() };
    let mut temp = engine.begin_temp_lora(gated).await.expect("valid");
    engine.temp_generate(&mut temp, Request::greedy(prompt, 300), false).expect("valid");
    let (chunks, tokens) = finish(&mut engine, &mut temp).await;
    assert_eq!(
        chunks.iter().map(|chunk| chunk.tokens).sum::<usize>(),
        tokens.len(),
        "every token has its chunk"
    );
    assert!(chunks.iter().any(|chunk| chunk.train_losses.is_empty()), "{chunks:?}");
    assert!(chunks.iter().all(|chunk| chunk.adapted_loss.is_some()), "{chunks:?}");
    assert!(chunks.windows(2).all(|pair| pair[1].index == pair[0].index + 1));
}

/// Generated text teaches as much as is asked, given text always fully.
#[pollster::test]
async fn generated_text_teaches_at_its_own_weight() {
    let (_, backend) = backends().await.remove(1);
    let sizes = EngineOptions { context_length: Some(96), batch: Some(2), ..EngineOptions::default() };
    let mut engine = open(backend, &sizes);
    let text = story(&engine);
    for generated_weight in [0.0, 0.25] {
        let weighed = TempLoraOptions { generated_weight, max_repetition: 1.0, ..options() };
        let rate = weighed.learning_rate;
        let mut temp = engine.begin_temp_lora(weighed).await.expect("valid");
        engine.temp_learn(&mut temp, &text[..64], false).expect("valid");
        let (given, _) = finish(&mut engine, &mut temp).await;
        assert!(given.iter().all(|chunk| chunk.learning_rate == rate), "{given:?}");
        engine.temp_generate(&mut temp, Request::greedy(Vec::new(), 64), false).expect("valid");
        let (drawn, _) = finish(&mut engine, &mut temp).await;
        for chunk in &drawn {
            assert_eq!(chunk.train_losses.is_empty(), generated_weight == 0.0, "{chunk:?}");
            assert_eq!(chunk.learning_rate, rate * generated_weight, "{chunk:?}");
        }
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    }
}

/// What was given is predicted better after much generated text where it is learned again on the way, and the steps on it
/// are none of the generated chunks' own.
#[pollster::test]
async fn given_text_that_is_replayed_is_not_forgotten() {
    let (_, backend) = backends().await.remove(1);
    let sizes = EngineOptions { context_length: Some(96), batch: Some(2), ..EngineOptions::default() };
    let mut engine = open(backend, &sizes);
    let text = story(&engine)[..96].to_vec();
    let mut losses = Vec::new();
    for (replay, overlap) in [(0, false), (2, false), (2, true)] {
        let replayed = TempLoraOptions { replay, overlap, epochs: 3, max_repetition: 1.0, ..options() };
        let mut temp = engine.begin_temp_lora(replayed).await.expect("valid");
        engine.temp_learn(&mut temp, &text, false).expect("valid");
        finish(&mut engine, &mut temp).await;
        engine.temp_generate(&mut temp, Request::greedy(Vec::new(), 160), false).expect("valid");
        let (drawn, _) = finish(&mut engine, &mut temp).await;
        assert!(drawn.iter().all(|chunk| chunk.train_losses.len() == 3 - replay), "{drawn:?}");
        engine.temp_learn(&mut temp, &text, true).expect("valid");
        let (again, _) = finish(&mut engine, &mut temp).await;
        losses.push(again[0].adapted_loss.expect("scored"));
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    }
    assert!(losses[1] < losses[0] - 0.05 && losses[2] < losses[0] - 0.05, "{losses:?}");
}

/// What the model has written it does not know by heart where its lessons ask what the base would have written.
#[pollster::test]
async fn the_base_stays_near_where_generated_text_is_learned_by_its_distribution() {
    let (_, backend) = backends().await.remove(1);
    let sizes = EngineOptions { context_length: Some(96), batch: Some(2), ..EngineOptions::default() };
    let mut engine = open(backend, &sizes);
    let text = story(&engine);
    let mut away = Vec::new();
    for (generated_kl, overlap) in [(0.0, false), (1.0, false), (1.0, true)] {
        let near = TempLoraOptions { generated_kl, overlap, epochs: 4, max_repetition: 1.0, ..options() };
        let mut temp = engine.begin_temp_lora(near).await.expect("valid");
        let request = Request { temperature: 0.8, ..Request::greedy(text[..32].to_vec(), 240) };
        engine.temp_generate(&mut temp, request, false).expect("valid");
        let (drawn, tokens) = finish(&mut engine, &mut temp).await;
        assert!(drawn.iter().all(|chunk| chunk.train_losses.len() == 4), "{drawn:?}");
        assert_eq!(tokens.len(), 240);
        engine.temp_learn(&mut temp, &tokens[144..192], true).expect("valid");
        let (again, _) = finish(&mut engine, &mut temp).await;
        let [base, adapted] = [again[0].base_loss, again[0].adapted_loss].map(|loss| loss.expect("scored"));
        away.push(base - adapted);
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    }
    assert!(away[0] > 0.03 && away[1] < away[0] / 2.0 && away[2] < away[0] / 2.0, "{away:?}");
}

/// Text that is drawn while the chunk before is learned: every chunk is learned in its turn, no token waits for more than
/// its share of a lesson, and the adapter's work shows in the text.
#[pollster::test]
async fn a_chunk_is_learned_while_the_next_is_drawn() {
    let (_, backend) = backends().await.remove(1);
    let sizes = EngineOptions { context_length: Some(128), batch: Some(3), ..EngineOptions::default() };
    let mut engine = open(backend, &sizes);
    let prompt = engine.encode("The king").expect("text");
    for (kv, mix) in
        [(Kv::Recompute, false), (Kv::Stale, false), (Kv::ResetEvery(2), false), (Kv::Stale, true)]
    {
        let overlap = TempLoraOptions { overlap: true, kv, max_repetition: 1.0, ..options() };
        let (chunk_tokens, epochs) = (overlap.chunk_tokens, overlap.epochs);
        let mut temp = engine.begin_temp_lora(overlap).await.expect("valid");
        let n = 5 * chunk_tokens + 3;
        engine.temp_generate(&mut temp, Request::greedy(prompt.clone(), n), mix).expect("valid");
        let (mut chunks, mut tokens) = (Vec::new(), Vec::new());
        // Work of the lesson since the last token, as a share of all of it.
        let (mut worked, mut longest, mut before) = (0.0, 0.0f64, 0);
        loop {
            match engine.temp_next(&mut temp, 1).await.expect("works") {
                TempEvent::Idle => break,
                TempEvent::Text(delta) => {
                    tokens.extend(delta.tokens);
                    // What comes after the last token holds no text up.
                    if tokens.len() < n {
                        longest = longest.max(worked);
                    }
                    worked = 0.0;
                }
                TempEvent::Progress("train", done, all) => {
                    worked += done.saturating_sub(before) as f64 / all as f64;
                    before = done % all;
                }
                TempEvent::Progress(..) => {}
                TempEvent::Chunk(report) => chunks.push(report),
            }
        }
        assert_eq!(tokens.len(), n, "{kv:?}");
        let sizes: Vec<_> = chunks.iter().map(|chunk| (chunk.index, chunk.tokens)).collect();
        let all: usize = chunks.iter().map(|chunk| chunk.tokens).sum();
        assert_eq!(all, n, "{kv:?}: {sizes:?}");
        assert!(sizes.iter().enumerate().all(|(i, (index, _))| i == *index), "{kv:?}: {sizes:?}");
        assert!(chunks.iter().all(|chunk| chunk.train_losses.len() == epochs), "{kv:?}: {chunks:?}");
        assert!(chunks.iter().all(|chunk| chunk.mixed_loss.is_some() == mix), "{kv:?}: {chunks:?}");
        // A token waits for its share of the lesson, and the slice in which that ends.
        let share = epochs as f64 / chunk_tokens as f64;
        assert!(
            longest > 0.0 && longest < share + 0.15,
            "{kv:?}: {longest} of a step, {share} is a token's share"
        );
        // Cancelled in a lesson, it goes on with the text as it stands.
        let request = Request::greedy(Vec::new(), n);
        engine.temp_generate(&mut temp, request.clone(), mix).expect("valid");
        while !matches!(
            engine.temp_next(&mut temp, 1).await.expect("works"),
            TempEvent::Progress("train", ..)
        ) {}
        engine.temp_cancel(&mut temp);
        assert!(temp.is_idle());
        engine.temp_generate(&mut temp, Request { max_tokens: Some(9), ..request }, mix).expect("valid");
        assert_eq!(finish(&mut engine, &mut temp).await.1.len(), 9, "{kv:?}");
        engine.end_temp_lora(&mut temp, None).await.expect("it is gone");
    }
    for waits in [
        TempLoraOptions { roll_back: true, ..options() },
        TempLoraOptions { score_generated: true, ..options() },
    ] {
        let refused = engine.begin_temp_lora(TempLoraOptions { overlap: true, ..waits }).await;
        assert!(refused.expect_err("they wait").to_string().contains("overlap"));
    }
}
