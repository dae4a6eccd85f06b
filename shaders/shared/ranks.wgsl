// ranks: which rows of a stacked A (parts·R, C) a mix has switched on, and their γ; and the terms
// of their dot products. Needs the bindings mixes and a as vec4, shared/mix.wgsl.

struct FourRanks { weight: vec4<f32>, on: vec4<bool> }

// Rows first .. first + 3, which are of one part: R and first are multiples of 4.
fn four_ranks(mix: u32, first: u32, ranks: u32, rows_of_a: u32) -> FourRanks {
    var four = FourRanks(vec4(0.0), vec4(false));
    for (var k = 0u; k < mixes[mix].n_blocks && first < rows_of_a; k++) {
        let block = mixes[mix].blocks[k];
        let rank = vec4(first % ranks) + vec4(0u, 1u, 2u, 3u);
        let inside = (rank >= vec4(first_rank(block))) & (rank < vec4(end_rank(block)));
        four.weight = select(four.weight, vec4(block.weight), inside);
        four.on = four.on | inside;
    }
    return four;
}

// Whether any of the rows first .. first + count - 1 is on.
fn any_rank(mix: u32, first: u32, count: u32, ranks: u32) -> bool {
    for (var k = 0u; k < mixes[mix].n_blocks; k++) {
        let block = mixes[mix].blocks[k];
        for (var part = first / ranks * ranks; part < first + count; part += ranks) {
            if part + first_rank(block) < first + count && part + end_rank(block) > first {
                return true;
            }
        }
    }
    return false;
}

// The products of v, which is x at columns 4c .. 4c + 3, with rows first .. first + 3 of a; for C
// in steps of four.
fn four_dots(first: u32, c4: u32, c: u32, v: vec4<f32>) -> vec4<f32> {
    let at = first * c4 + c;
    return v * mat4x4(a[at], a[at + c4], a[at + 2u * c4], a[at + 3u * c4]);
}

// Column c of rows first .. first + 3 of a, for any C.
fn four_of_a(first: u32, c_all: u32, c: u32) -> vec4<f32> {
    let at = (vec4(first) + vec4(0u, 1u, 2u, 3u)) * c_all + c;
    return vec4(a[at.x / 4u][at.x % 4u], a[at.y / 4u][at.y % 4u], a[at.z / 4u][at.z % 4u], a[at.w / 4u][at.w % 4u]);
}
