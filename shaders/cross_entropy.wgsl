// cross_entropy: loss[pos[n]] = -ln softmax(logits[n])[token], of the token and the weight in
// targets[pos[n]], and with gradient
// logits[n] = (softmax(logits[n]) - onehot(token)) * weight * loss_weight * slope;
// both 0 where there is no token; the slope is that of soft_cap
//
// shapes     training   rows (N)   targets (S)   logits (N, V)   loss (S)        u32, f32
// dispatch   (N, 1, 1): one workgroup per row; invocations stride over v
// accepts    any N, V >= 1; a row that takes no part has no token, and no loss
// numerics   f32, a running maximum per invocation; twin in f64
// twin       src/kernels/twin/cross_entropy.rs
// uses       shared/cap.wgsl, shared/training.wgsl, shared/row.wgsl, shared/reduce.wgsl

override WORKGROUP_SIZE: u32 = 256u;

struct Params { v: u32, scale: f32, cap: f32, gradient: u32 }

// The fields of `Target` in src/kernels/control.rs.
struct Target { token: u32, weight: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> training: Training;
@group(0) @binding(2) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(3) var<storage, read> targets: array<Target>;     // (S)
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;   // (N, V)
@group(0) @binding(5) var<storage, read_write> loss: array<f32>;     // (S)

@compute @workgroup_size(WORKGROUP_SIZE)
fn cross_entropy(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let base = group.x * params.v;
    let row = rows[group.x];
    var wanted = Target(INACTIVE, 0.0);
    if row.slot != INACTIVE {
        wanted = targets[row.pos];
    }
    if wanted.token == INACTIVE {
        for (var v = i; v < params.v && params.gradient != 0u; v += WORKGROUP_SIZE) {
            logits[base + v] = 0.0;
        }
        if i == 0u && row.slot != INACTIVE {
            loss[row.pos] = 0.0;
        }
        return;
    }
    var most = -3.4e38;
    var total = 0.0;
    for (var v = i; v < params.v; v += WORKGROUP_SIZE) {
        let now = max(most, logits[base + v]);
        total = total * exp(most - now) + exp(logits[base + v] - now);
        most = now;
    }
    let top = reduce_max(i, most);
    let sum = reduce_sum(i, total * exp(most - top));
    // By the invocation that writes the token's gradient.
    if i == wanted.token % WORKGROUP_SIZE {
        loss[row.pos] = log(sum) - (logits[base + wanted.token] - top);
    }
    if params.gradient == 0u {
        return;
    }
    let weight = training.loss_weight * wanted.weight;
    for (var v = i; v < params.v; v += WORKGROUP_SIZE) {
        let logit = logits[base + v];
        let gradient = exp(logit - top) / sum - select(0.0, 1.0, v == wanted.token);
        logits[base + v] = gradient * weight * params.scale * capped_slope(logit, params.cap);
    }
}
