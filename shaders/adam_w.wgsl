// adam_w: a step of AdamW on all that is trained, clipped by the norm of all gradients, then g = 0
//
// shapes     spans (workgroups)   training   sums (any)   g, m, v (any)   param (any)  f32
// dispatch   (spans, 1, 1), in several lines of y where they are many: a workgroup takes a span
//            of up to 4096 parameters that lie side by side
// accepts    any spans that do not overlap
// numerics   f32; twin in f64
// twin       src/kernels/twin/adam_w.rs
// reference  arXiv:1711.05101, as torch.optim.AdamW and torch.nn.utils.clip_grad_norm_ have it
// uses       shared/training.wgsl, shared/reduce.wgsl

override WORKGROUP_SIZE: u32 = 256u;

struct Params { n_sums: u32, n_spans: u32, across: u32 }             // across: workgroups in x

struct Span { param: u32, g: u32, len: u32, padding: u32 }           // first elements

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> spans: array<Span>;         // (n_spans)
@group(0) @binding(2) var<storage, read> training: Training;
@group(0) @binding(3) var<storage, read> sums: array<f32>;           // (n_sums)
@group(0) @binding(4) var<storage, read_write> g: array<f32>;
@group(0) @binding(5) var<storage, read_write> m: array<f32>;        // as g
@group(0) @binding(6) var<storage, read_write> v: array<f32>;        // as g
@group(0) @binding(7) var<storage, read_write> param: array<f32>;    // the whole arena

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
    let index = group.y * params.across + group.x;
    if index >= params.n_spans {
        return;
    }
    let span = spans[index];
    let clip = clip_factor(i);
    let keep = 1.0 - training.learning_rate * training.weight_decay;
    for (var e = i; e < span.len; e += WORKGROUP_SIZE) {
        let at = span.g + e;
        let gradient = g[at] * clip;
        let first = m[at] + training.rates[0] * (gradient - m[at]);
        let second = v[at] + training.rates[1] * (gradient * gradient - v[at]);
        let step = first / training.corrections[0]
            / (sqrt(second) / training.corrections[1] + training.eps);
        let p = span.param + e;
        param[p] = param[p] * keep - training.learning_rate * step;
        m[at] = first;
        v[at] = second;
        g[at] = 0.0;
    }
}
