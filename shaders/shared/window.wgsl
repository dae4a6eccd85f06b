// window: which keys a row sees: those from first_key to its own position.
// Needs shared/row.wgsl.

const SPAN: u32 = 0xffffffffu; // a window that rows tell themselves: token is the first key, pos the last

fn first_key(row: Row, window: u32) -> u32 {
    if window == SPAN {
        return row.token;
    }
    return select(0u, row.pos + 1u - window, window != 0u && row.pos >= window);
}
