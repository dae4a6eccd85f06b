// four_weights: four rows of a weight at a time, in whole vec4.
// Needs shared/weight_*.wgsl.

// Step c of the rows that begin at `at`: v * weights(at, c) is v's product with each.
fn weights(at: vec4<u32>, c: u32) -> mat4x4<f32> {
    return mat4x4(weight_four(at.x, c), weight_four(at.y, c), weight_four(at.z, c), weight_four(at.w, c));
}
