//! How much memory there is to be had, where the system tells.
//! Not how much of it a model takes.

/// Bytes of main memory that can be had without taking them from other programs; `None` where that is
/// not known. In WebAssembly, what is left of its address space, and `given_back`, which tensors had.
#[cfg(target_arch = "wasm32")]
pub(crate) fn free(given_back: u64) -> Option<u64> {
    const PAGE: u64 = 64 << 10;
    const ADDRESSABLE: u64 = 1 << 32;
    let grown = PAGE * core::arch::wasm32::memory_size(0) as u64;
    Some(ADDRESSABLE - grown + given_back)
}

/// Bytes of main memory that can be had without taking them from other programs; `None` where that is
/// not known.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn free(_given_back: u64) -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let system = read("/proc/meminfo").and_then(|text| Some(1024 * number(&text, "MemAvailable:")?));
    // Of a container; files that are only cached are given up when memory is asked for.
    let group = |name: &str| read(&format!("/sys/fs/cgroup/memory.{name}"));
    let of = |name: &str| group(name)?.trim().parse::<u64>().ok();
    let group = of("max").and_then(|most| {
        let cached = group("stat").and_then(|text| number(&text, "file ")).unwrap_or(0);
        Some(most.saturating_sub(of("current")?.saturating_sub(cached)))
    });
    [system, group].into_iter().flatten().min()
}

/// The number after `name`, which begins a line.
#[cfg(not(target_arch = "wasm32"))]
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_their_names() {
        let text = "MemTotal:       16384 kB\nMemAvailable:    8192 kB\n";
        assert_eq!([number(text, "MemAvailable:"), number(text, "Swap:")], [Some(8192), None]);
        assert_eq!(number("anon 5\nfile_mapped 7\nfile 9\n", "file "), Some(9));
    }

    #[test]
    fn linux_tells() {
        assert_eq!(free(0).is_some_and(|free| free > 0), cfg!(target_os = "linux"));
    }
}
