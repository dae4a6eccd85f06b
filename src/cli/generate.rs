//! `generate`: continues a text.
//! Not a temporary adapter's text, which is `temp-lora generate`.

use std::io::Write;
use std::time::Instant;

use lorakeet::engine::{Engine, Finish, Overflow, Request, Samplers};
use serde_json::json;

#[derive(clap::Args)]
pub(crate) struct Generate {
    /// The text to continue
    #[arg(long, default_value = "")]
    prompt: String,
    /// Most tokens to draw [default: until the context is full]
    #[arg(long)]
    max_tokens: Option<usize>,
    /// 0 always takes the most probable token; the default is the terminal's own
    #[arg(long, default_value_t = 0.8)]
    temperature: f32,
    /// Keep this many tokens; 0 keeps all
    #[arg(long, default_value_t = Request::default().top_k)]
    top_k: u32,
    /// Keep the likeliest tokens that together reach this
    #[arg(long, default_value_t = Request::default().top_p)]
    top_p: f32,
    /// Drop tokens below this share of the likeliest one
    #[arg(long, default_value_t = Request::default().min_p)]
    min_p: f32,
    /// Above 1, tokens seen before become less likely
    #[arg(long, default_value_t = Request::default().repetition_penalty)]
    repetition_penalty: f32,
    /// Samplers beside these, by their names in requests, such as {"dry_multiplier": 0.8, "presence_penalty": 0.5}
    #[arg(long, value_name = "JSON", value_parser = samplers, default_value = "{}")]
    samplers: Samplers,
    /// The same seed draws the same text
    #[arg(long, default_value_t = Request::default().seed)]
    seed: u32,
    /// End the text before this string, which may spell special tokens; may be repeated
    #[arg(long)]
    stop: Vec<String>,
    /// End the text before this token; may be repeated
    #[arg(long, value_name = "ID")]
    stop_token_id: Vec<u32>,
    /// Go on when the context is full, dropping older text
    #[arg(long)]
    slide: bool,
}

fn samplers(json: &str) -> Result<Samplers, serde_json::Error> {
    serde_json::from_str(json)
}

/// Writes the text as it comes, or all of it at the end as JSON.
pub(crate) async fn run(engine: &mut Engine, options: &Generate, json: bool) -> lorakeet::Result<()> {
    let request = Request {
        prompt: engine.encode(&options.prompt)?,
        max_tokens: options.max_tokens,
        temperature: options.temperature,
        top_k: options.top_k,
        top_p: options.top_p,
        min_p: options.min_p,
        repetition_penalty: options.repetition_penalty,
        samplers: options.samplers.clone(),
        seed: options.seed,
        stop: options.stop.clone(),
        stop_tokens: options.stop_token_id.clone(),
        overflow: if options.slide { Overflow::Slide } else { Overflow::Error },
        ..Request::default()
    };
    let started = Instant::now();
    let mut first_token = None;
    let (mut text, mut tokens, mut finish) = (String::new(), Vec::new(), None);
    let mut generation = engine.start(&[request])?;
    while !generation.is_finished() {
        for delta in engine.next(&mut generation).await? {
            first_token.get_or_insert_with(|| started.elapsed());
            if !json {
                print!("{}", delta.text);
                // A closed pipe is the reader's choice, not a failure of ours.
                let _ = std::io::stdout().flush();
            }
            text += &delta.text;
            tokens.extend(delta.tokens);
            finish = delta.finish;
        }
    }
    let usage = generation.usage(0);
    engine.end(generation);
    let seconds = started.elapsed().as_secs_f64();
    if json {
        let report = json!({
            "text": text,
            "tokens": tokens,
            "finish_reason": finish.map(Finish::as_str),
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "first_token_seconds": first_token.map(|t| t.as_secs_f64()),
            "seconds": seconds,
        });
        println!("{report}");
    } else {
        println!();
    }
    Ok(())
}
