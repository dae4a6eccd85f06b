// adam_w: a step of AdamW on `len` parameters, clipped by the norm of all gradients, then g = 0
//
// shapes     training   sums (gradients)   g, m, v (>= g_first + len)
//            param (>= param_first + len)                                             f32
// dispatch   (ceil(len / (4 * WORKGROUP_SIZE)), 1, 1): four elements per invocation, so that
//            the sum over all gradients is made by few workgroups
// accepts    any len >= 1
// numerics   f32; twin in f64
// twin       src/kernels/twin/adam_w.rs
// reference  arXiv:1711.05101, as torch.optim.AdamW and torch.nn.utils.clip_grad_norm_ have it
// uses       shared/training.wgsl, shared/reduce.wgsl

override WORKGROUP_SIZE: u32 = 256u;

struct Params { len: u32, g_first: u32, param_first: u32, n_sums: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> training: Training;
@group(0) @binding(2) var<storage, read> sums: array<f32>;           // (gradients)
@group(0) @binding(3) var<storage, read_write> g: array<f32>;        // (>= g_first + len)
@group(0) @binding(4) var<storage, read_write> m: array<f32>;        // as g
@group(0) @binding(5) var<storage, read_write> v: array<f32>;        // as g
@group(0) @binding(6) var<storage, read_write> param: array<f32>;    // (>= param_first + len)

// min(1, max_norm / norm). Call in uniform control flow only.
fn clip_factor(i: u32) -> f32 {
    var sum = 0.0;
    for (var at = i; at < params.n_sums; at += WORKGROUP_SIZE) {
        sum += sums[at];
    }
    let norm = sqrt(reduce_sum(i, sum));
    return select(1.0, min(1.0, training.max_norm / (norm + 1e-6)), training.max_norm != 0.0);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn adam_w(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let clip = clip_factor(i);
    let keep = 1.0 - training.learning_rate * training.weight_decay;
    for (var k = 0u; k < 4u; k++) {
        let e = (4u * group.x + k) * WORKGROUP_SIZE + i;
        if e < params.len {
            let at = params.g_first + e;
            let gradient = g[at] * clip;
            let first = m[at] + training.rates[0] * (gradient - m[at]);
            let second = v[at] + training.rates[1] * (gradient * gradient - v[at]);
            let step = first / training.corrections[0]
                / (sqrt(second) / training.corrections[1] + training.eps);
            let p = params.param_first + e;
            param[p] = param[p] * keep - training.learning_rate * step;
            m[at] = first;
            v[at] = second;
            g[at] = 0.0;
        }
    }
}
