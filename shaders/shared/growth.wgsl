// growth: what queries at a position are multiplied by

fn growth_at(pos: u32, every: u32, beta: f32) -> f32 {
    return 1.0 + beta * log(1.0 + f32(pos / every));
}
