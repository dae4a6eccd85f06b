// cap: soft caps (arXiv:2408.00118, 2.2), as attention scores and logits have them; 0 is none.

// cap · tanh(s / cap). A tanh may not be asked for more than it can take: there it is ±1.
fn capped(s: f32, cap: f32) -> f32 {
    if cap == 0.0 {
        return s;
    }
    return cap * tanh(clamp(s / cap, -15.0, 15.0));
}

// The slope of that, by its value y.
fn capped_slope(y: f32, cap: f32) -> f32 {
    if cap == 0.0 {
        return 1.0;
    }
    return 1.0 - (y / cap) * (y / cap);
}
