// replaced: which row of deltas an adapter has for a token.
// Needs the binding map (adapters, V), params.v, shared/mix.wgsl.

const ABSENT: u32 = 0xffffffffu;

fn replaced_row(block: Block, token: u32) -> u32 {
    return map[adapter_of(block) * params.v + token];
}
