// cross_entropy: logits[n] = (softmax(logits[n]) - onehot(targets[n])) * loss_weight * slope, and
// loss[n] = -ln softmax(logits[n])[targets[n]]; both 0 where there is no target; the slope is
// that of soft_cap
//
// shapes     training   targets (N)   logits (N, V)   loss (N)                   u32, f32
// dispatch   (N, 1, 1): one workgroup per row; invocations stride over v
// accepts    any N, V >= 1
// numerics   f32, a running maximum per invocation; twin in f64
// twin       src/kernels/twin/cross_entropy.rs
// uses       shared/cap.wgsl, shared/training.wgsl, shared/row.wgsl, shared/reduce.wgsl

override WORKGROUP_SIZE: u32 = 256u;

struct Params { v: u32, scale: f32, cap: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> training: Training;
@group(0) @binding(2) var<storage, read> targets: array<u32>;        // (N)
@group(0) @binding(3) var<storage, read_write> logits: array<f32>;   // (N, V)
@group(0) @binding(4) var<storage, read_write> loss: array<f32>;     // (N)

@compute @workgroup_size(WORKGROUP_SIZE)
fn cross_entropy(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n = group.x;
    let row = n * params.v;
    let target_id = targets[n];
    if target_id == INACTIVE {
        for (var v = i; v < params.v; v += WORKGROUP_SIZE) {
            logits[row + v] = 0.0;
        }
        if i == 0u {
            loss[n] = 0.0;
        }
        return;
    }
    var most = -3.4e38;
    var total = 0.0;
    for (var v = i; v < params.v; v += WORKGROUP_SIZE) {
        let now = max(most, logits[row + v]);
        total = total * exp(most - now) + exp(logits[row + v] - now);
        most = now;
    }
    let top = reduce_max(i, most);
    let sum = reduce_sum(i, total * exp(most - top));
    for (var v = i; v < params.v; v += WORKGROUP_SIZE) {
        let logit = logits[row + v] - top;
        var gradient = exp(logit) / sum;
        if v == target_id {
            loss[n] = log(sum) - logit;
            gradient -= 1.0;
        }
        let slope = params.scale * capped_slope(logits[row + v], params.cap);
        logits[row + v] = gradient * training.loss_weight * slope;
    }
}
