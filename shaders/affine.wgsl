// affine: x[n] = x[n] * (1 + Σ γ·gain) + Σ γ·shift, over the adapters of row n's mix
//
// shapes     rows (N)   mixes (mixes)   gains (2·adapters, C) = [gains; shifts]   x (N, C) f32
// dispatch   (ceil(C / WORKGROUP_SIZE), N, 1): one invocation per element
// accepts    any N, C >= 1
// twin       src/kernels/twin/affine.rs
// uses       shared/mix.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { c: u32, adapters: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> mixes: array<Mix>;          // (mixes)
@group(0) @binding(3) var<storage, read> gains: array<f32>;          // (2·adapters, C)
@group(0) @binding(4) var<storage, read_write> x: array<f32>;        // (N, C)

@compute @workgroup_size(WORKGROUP_SIZE)
fn affine(@builtin(global_invocation_id) id: vec3<u32>) {
    let c = id.x;
    let mix = rows[id.y].mix;
    if c >= params.c || mixes[mix].n_blocks == 0u {
        return;
    }
    var gain = 1.0;
    var shift = 0.0;
    for (var k = 0u; k < mixes[mix].n_blocks; k++) {
        let block = mixes[mix].blocks[k];
        if is_affine(block) {
            gain += block.weight * gains[adapter_of(block) * params.c + c];
            shift += block.weight * gains[(params.adapters + adapter_of(block)) * params.c + c];
        }
    }
    let at = id.y * params.c + c;
    x[at] = x[at] * gain + shift;
}
