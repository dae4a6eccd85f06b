// sample: draws the next token of every active row and moves the row one position on
//
// shapes     logits (N, V)   sampling (slots)   seen (slots, ceil(V / 32)) bits
//            rows (N)   ring (slots, RING)                                            f32, u32
// dispatch   (N, 1, 1): one workgroup per row; invocations stride over v
// accepts    any N, V >= 1; a stop token makes its row inactive; so do logits that hold NaN or +inf,
//            or nothing finite: the ring then holds ABSENT, seen and the row's token stay
// numerics   thresholds by radix selection on the scores' bits; probabilities summed as
//            integers in units of 2^-30, so no result depends on scheduling
// twin       src/kernels/twin/sample.rs
// uses       shared/row.wgsl, shared/reduce.wgsl, shared/noise.wgsl

override WORKGROUP_SIZE: u32 = 256u;

const RING: u32 = 64u;
const ABSENT: u32 = 0xffffffffu; // no token
// What logits hold.
const FINITE: u32 = 1u;
const WRONG: u32 = 2u;                                               // NaN or +inf

struct Params { v: u32 }

struct Sampling {
    temperature: f32,
    top_p: f32,
    min_p: f32,
    repetition_penalty: f32,
    top_k: u32,
    seed: u32,
    n_stop: u32,
    padding: u32,
    stop: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;         // (N, V)
@group(0) @binding(2) var<storage, read> sampling: array<Sampling>;  // (slots)
@group(0) @binding(3) var<storage, read_write> seen: array<u32>;     // (slots, ceil(V / 32))
@group(0) @binding(4) var<storage, read_write> rows: array<Row>;     // (N)
@group(0) @binding(5) var<storage, read_write> ring: array<u32>;     // (slots, RING)

var<workgroup> this_row: Row;
var<workgroup> histogram: array<atomic<u32>, 256>;
var<workgroup> kinds: atomic<u32>;                                   // FINITE, WRONG or both
var<workgroup> all_kinds: u32;
var<workgroup> found: vec2<u32>;                                     // bin, what is left to find
var<workgroup> top_score: array<f32, WORKGROUP_SIZE>;
var<workgroup> top_token: array<u32, WORKGROUP_SIZE>;

// Logit t of row n after the repetition penalty and the temperature.
fn score(n: u32, slot: u32, t: u32) -> f32 {
    var logit = logits[n * params.v + t];
    let word = seen[slot * ((params.v + 31u) / 32u) + t / 32u];
    if ((word >> (t % 32u)) & 1u) != 0u {
        let penalty = sampling[slot].repetition_penalty;
        logit = select(logit / penalty, logit * penalty, logit < 0.0);
    }
    let temperature = sampling[slot].temperature;
    if temperature != 0.0 {
        logit /= temperature;
    }
    return logit;
}

// Whether row n holds finite logits only, or beside them -inf. By their bits: a compiler may take
// floats for numbers.
fn can_draw(i: u32, n: u32) -> bool {
    var mine = 0u;
    for (var t = i; t < params.v; t += WORKGROUP_SIZE) {
        let bits = bitcast<u32>(logits[n * params.v + t]);
        let is_finite = (bits & 0x7f800000u) != 0x7f800000u;
        mine |= select(select(WRONG, 0u, bits == 0xff800000u), FINITE, is_finite);
    }
    atomicOr(&kinds, mine);
    workgroupBarrier();
    if i == 0u {
        all_kinds = atomicLoad(&kinds);
    }
    return workgroupUniformLoad(&all_kinds) == FINITE;
}

// A u32 that orders as the float does.
fn key_of(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

// Share of token t in units of 2^-30, or one vote where `total` is 0.
fn units(value: f32, most: f32, total: f32) -> u32 {
    if total == 0.0 {
        return 1u;
    }
    return u32(exp(value - most) / total * 1073741824.0);
}

// The key at which units, counted from the largest score down over keys >= least, reach `goal`.
fn select_key(i: u32, n: u32, slot: u32, least: u32, goal: u32, most: f32, total: f32) -> u32 {
    var prefix = 0u;
    var known = 0u;
    var left = goal;
    for (var shift = 24i; shift >= 0i; shift -= 8i) {
        for (var b = i; b < 256u; b += WORKGROUP_SIZE) {
            atomicStore(&histogram[b], 0u);
        }
        workgroupBarrier();
        for (var t = i; t < params.v; t += WORKGROUP_SIZE) {
            let value = score(n, slot, t);
            let key = key_of(value);
            if key >= least && (key & known) == prefix {
                atomicAdd(&histogram[(key >> u32(shift)) & 255u], units(value, most, total));
            }
        }
        workgroupBarrier();
        if i == 0u {
            var bin = 255u;
            var rest = left;
            for (var held = atomicLoad(&histogram[bin]); held < rest && bin > 0u; held = atomicLoad(&histogram[bin])) {
                rest -= held;
                bin -= 1u;
            }
            found = vec2(bin, rest);
        }
        let hit = workgroupUniformLoad(&found);
        prefix |= hit.x << u32(shift);
        known |= 255u << u32(shift);
        left = hit.y;
    }
    return prefix;
}

fn total_units(i: u32, n: u32, slot: u32, least: u32, most: f32, total: f32) -> u32 {
    if i == 0u {
        atomicStore(&histogram[0], 0u);
    }
    workgroupBarrier();
    for (var t = i; t < params.v; t += WORKGROUP_SIZE) {
        let value = score(n, slot, t);
        if key_of(value) >= least {
            atomicAdd(&histogram[0], units(value, most, total));
        }
    }
    workgroupBarrier();
    if i == 0u {
        found = vec2(atomicLoad(&histogram[0]), 0u);
    }
    return workgroupUniformLoad(&found).x;
}

fn gumbel(seed: u32, pos: u32, token: u32) -> f32 {
    let bits = mix(seed ^ mix(pos ^ mix(token))) >> 9u;
    let u = (f32(bits) + 0.5) / 8388608.0;
    return -log(-log(u));
}

// Token of the largest score plus noise among keys >= least; the first of equals.
fn best(i: u32, n: u32, slot: u32, pos: u32, least: u32) -> u32 {
    let noisy = sampling[slot].temperature != 0.0;
    let seed = sampling[slot].seed;
    var top = -3.4e38;
    var token = 0xffffffffu;
    for (var t = i; t < params.v; t += WORKGROUP_SIZE) {
        var value = score(n, slot, t);
        if key_of(value) >= least {
            if noisy {
                value += gumbel(seed, pos, t);
            }
            if value > top || token == 0xffffffffu {
                top = value;
                token = t;
            }
        }
    }
    top_score[i] = top;
    top_token[i] = token;
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if i < half {
            let j = i + half;
            if top_score[j] > top_score[i] || (top_score[j] == top_score[i] && top_token[j] < top_token[i]) {
                top_score[i] = top_score[j];
                top_token[i] = top_token[j];
            }
        }
    }
    workgroupBarrier();
    return top_token[0];
}

// The least key that top-k, top-p and min-p keep.
fn threshold(i: u32, n: u32, slot: u32) -> u32 {
    let top_k = sampling[slot].top_k;
    let top_p = sampling[slot].top_p;
    let min_p = sampling[slot].min_p;
    if top_k == 0u && top_p >= 1.0 && min_p <= 0.0 {
        return 0u;
    }
    var highest = -3.4e38;
    for (var t = i; t < params.v; t += WORKGROUP_SIZE) {
        highest = max(highest, score(n, slot, t));
    }
    let most = reduce_max(i, highest);
    var least = 0u;
    if top_k > 0u && top_k < params.v {
        least = select_key(i, n, slot, 0u, top_k, most, 0.0);
    }
    if top_p < 1.0 {
        var sum = 0.0;
        for (var t = i; t < params.v; t += WORKGROUP_SIZE) {
            let value = score(n, slot, t);
            if key_of(value) >= least {
                sum += exp(value - most);
            }
        }
        let total = reduce_sum(i, sum);
        let all = total_units(i, n, slot, least, most, total);
        let goal = clamp(u32(ceil(top_p * f32(all))), 1u, all);
        least = max(least, select_key(i, n, slot, least, goal, most, total));
    }
    if min_p > 0.0 {
        least = max(least, key_of(most + log(min_p)));
    }
    return least;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn sample(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n = group.x;
    if i == 0u {
        this_row = rows[n];
        atomicStore(&kinds, 0u);
    }
    let row = workgroupUniformLoad(&this_row);
    if row.slot == INACTIVE {
        return;
    }
    let slot = row.slot;
    let pos = row.pos + 1u;
    if !can_draw(i, n) {
        if i == 0u {
            ring[slot * RING + pos % RING] = ABSENT;
            rows[n] = Row(row.token, pos, INACTIVE, row.mix);
        }
        return;
    }
    var least = 0u;
    if sampling[slot].temperature != 0.0 {
        least = threshold(i, n, slot);
    }
    let token = best(i, n, slot, pos, least);
    if i != 0u {
        return;
    }
    let word = slot * ((params.v + 31u) / 32u) + token / 32u;
    seen[word] |= 1u << (token % 32u);
    ring[slot * RING + pos % RING] = token;
    var next = Row(token, pos, slot, row.mix);
    for (var s = 0u; s < sampling[slot].n_stop; s++) {
        if sampling[slot].stop[s] == token {
            next.slot = INACTIVE;
        }
    }
    rows[n] = next;
}
