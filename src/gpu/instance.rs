//! Where adapters are asked for: natively of the system, in JavaScript of `navigator.gpu`.

/// wgpu's entry.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle())
}

/// wgpu's entry. It looks for a `navigator` in windows and workers alone; Node is neither and may
/// have one, and while this runs says it is a worker.
#[cfg(target_arch = "wasm32")]
pub(crate) fn instance() -> wgpu::Instance {
    use js_sys::Reflect;

    const WORKER: &str = "WorkerGlobalScope";
    let global = js_sys::global();
    let has = |name: &str| Reflect::has(&global, &name.into()).unwrap_or(true);
    let is_neither = !has("Window") && !has(WORKER);
    if is_neither {
        let _ = Reflect::set(&global, &WORKER.into(), &true.into());
    }
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    if is_neither {
        let _ = Reflect::delete_property(&global, &WORKER.into());
    }
    instance
}
