// embed_delta: y[n] = y[n] * (1 + Σ γ·gain) + scale * (Σ γ·shift + Σ γ·a[:, token]·b + Σ γ·deltas[map[token]])
//
// shapes     rows (N)   mixes (mixes)   a (R, V)   b (R + 2·adapters, C)
//            map (adapters, V)   deltas (any, C)   y (N, C)                           f32
// dispatch   (ceil(C / WORKGROUP_SIZE), N, 1): one invocation per element
// accepts    any N, C >= 1; tokens past V are virtual and left alone
// twin       src/kernels/twin/embed_delta.rs
// uses       shared/replaced.wgsl, shared/mix.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { c: u32, v: u32, ranks: u32, adapters: u32, with_rows: u32, scale: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> mixes: array<Mix>;          // (mixes)
@group(0) @binding(3) var<storage, read> a: array<f32>;              // (R, V)
@group(0) @binding(4) var<storage, read> b: array<f32>;              // (R + 2·adapters, C)
@group(0) @binding(5) var<storage, read> map: array<u32>;            // (adapters, V)
@group(0) @binding(6) var<storage, read> deltas: array<f32>;         // (any, C)
@group(0) @binding(7) var<storage, read_write> y: array<f32>;        // (N, C)

@compute @workgroup_size(WORKGROUP_SIZE)
fn embed_delta(@builtin(global_invocation_id) id: vec3<u32>) {
    let c = id.x;
    let n = id.y;
    let token = rows[n].token;
    let mix = rows[n].mix;
    if c >= params.c || token >= params.v || mixes[mix].n_blocks == 0u {
        return;
    }
    var gain = 1.0;
    var sum = 0.0;
    for (var k = 0u; k < mixes[mix].n_blocks; k++) {
        let block = mixes[mix].blocks[k];
        let gain_row = params.ranks + adapter_of(block);
        if params.ranks != 0u && is_affine(block) {
            gain += block.weight * b[gain_row * params.c + c];
            sum += block.weight * b[(gain_row + params.adapters) * params.c + c];
        }
        for (var r = first_rank(block); params.ranks != 0u && r < end_rank(block); r++) {
            sum += block.weight * a[r * params.v + token] * b[r * params.c + c];
        }
        if params.with_rows != 0u {
            let row = replaced_row(block, token);
            if row != ABSENT {
                sum += block.weight * deltas[row * params.c + c];
            }
        }
    }
    y[n * params.c + c] = y[n * params.c + c] * gain + params.scale * sum;
}
