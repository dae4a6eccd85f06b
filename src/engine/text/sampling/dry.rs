//! DRY: a token that would go on with a repetition becomes the less likely, the longer that is.
//! As llama.cpp's `llama_sampler_dry` after p-e-w's proposal (oobabooga/text-generation-webui#5677).

use crate::error::Result;

use super::samplers::Samplers;

/// logit − multiplier · base^(length − allowed) of each token that followed an earlier copy of the newest `length`
/// tokens, the longest such copy, if that is `allowed` long. Copies end at a breaker, and none is penalised itself.
///
/// `text_of` is a token's text. Errors as it does.
pub(super) fn dry(
    logits: &mut [f32],
    tokens: &[u32],
    of: &Samplers,
    text_of: &dyn Fn(u32) -> Result<String>,
) -> Result<()> {
    let last = if of.dry_penalty_last_n < 0 { tokens.len() } else { of.dry_penalty_last_n as usize };
    let tokens = &tokens[tokens.len().saturating_sub(last)..];
    let allowed = of.dry_allowed_length as usize;
    if of.dry_multiplier == 0.0 || tokens.len() <= allowed {
        return Ok(());
    }
    let most = since_break(tokens, &of.dry_sequence_breakers, text_of)?;
    if most < allowed {
        return Ok(());
    }
    let mut longest: Vec<(u32, usize)> = Vec::new();
    for at in 1..tokens.len() {
        let earlier = tokens[..at].iter().rev().zip(tokens.iter().rev());
        let length = earlier.take(most).take_while(|(a, b)| a == b).count();
        if length < allowed {
            continue;
        }
        match longest.iter_mut().find(|(token, _)| *token == tokens[at]) {
            Some((_, known)) => *known = length.max(*known),
            None => longest.push((tokens[at], length)),
        }
    }
    for (token, length) in longest {
        let text = text_of(token)?;
        if !of
            .dry_sequence_breakers
            .iter()
            .any(|breaker| !breaker.is_empty() && text.contains(breaker.as_str()))
        {
            let penalty =
                f64::from(of.dry_multiplier) * f64::from(of.dry_base).powf((length - allowed) as f64);
            // So large that no other logit is near, and still a number.
            logits[token as usize] -= penalty.min(1e30) as f32;
        }
    }
    Ok(())
}

/// How many of the newest tokens stand after the last breaker.
fn since_break(
    tokens: &[u32],
    breakers: &[String],
    text_of: &dyn Fn(u32) -> Result<String>,
) -> Result<usize> {
    let most = breakers.iter().map(String::len).max().unwrap_or(0);
    let has_break = |text: &str| breakers.iter().any(|b| !b.is_empty() && text.contains(b.as_str()));
    let mut after = String::new();
    for first in (0..tokens.len()).rev() {
        let text = text_of(tokens[first])? + &after;
        if has_break(&text) {
            // It may end in a later token.
            let mut whole = String::new();
            for (i, &token) in tokens[first..].iter().enumerate() {
                whole += &text_of(token)?;
                if has_break(&whole) {
                    return Ok(tokens.len() - first - i - 1);
                }
            }
        }
        after = text.chars().take(most).collect();
    }
    Ok(tokens.len())
}
