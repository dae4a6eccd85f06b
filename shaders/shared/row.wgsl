// row: one line of the rows (N, 4) tensor; the fields of `Row` in src/kernels/control.rs.

const INACTIVE: u32 = 0xffffffffu;

struct Row { token: u32, pos: u32, slot: u32, mix: u32 }
