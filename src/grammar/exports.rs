//! What a page calls: numbers in, numbers out, bytes through memory. No glue is generated, since each request
//! has an instance of this module to itself: one that stops takes nothing else with it.
//! `src/js/thread/grammar.ts` is the other side.

use std::cell::RefCell;

use crate::{Constraint, Ending, Kind, Result, Tokens};

/// Says that the answer is an error, whose words `message` has.
const FAILED: i32 = -1;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// Hears why the module is about to stop.
    safe fn panicked(at: *const u8, length: usize);
}

/// All that an instance holds.
#[derive(Default)]
struct Instance {
    /// What the page has written, or reads next.
    bytes: Vec<u8>,
    tokens: Option<Tokens>,
    constraints: Vec<Constraint>,
    mask: Vec<u32>,
}

thread_local! {
    static INSTANCE: RefCell<Instance> = RefCell::default();
}

impl Instance {
    /// Keeps what went wrong where the page reads it.
    fn told(&mut self, answer: Result<i32>) -> i32 {
        answer.unwrap_or_else(|message| {
            self.bytes = message.into_bytes();
            FAILED
        })
    }

    fn compile(&mut self, kind: u32) -> Result<i32> {
        let text = String::from_utf8_lossy(&self.bytes);
        let tokens = self.tokens.as_ref().ok_or("no tokens")?;
        let kind = match kind {
            0 => Kind::JsonSchema,
            1 => Kind::Lark,
            _ => Kind::Regex,
        };
        let constraint = tokens.compile(kind, &text)?;
        Ok(self.keep(constraint))
    }

    fn keep(&mut self, constraint: Constraint) -> i32 {
        self.constraints.push(constraint);
        self.constraints.len() as i32 - 1
    }

    fn constraint(&mut self, index: usize) -> Result<&mut Constraint> {
        self.constraints.get_mut(index).ok_or_else(|| "no such constraint".to_owned())
    }
}

fn with<T>(work: impl FnOnce(&mut Instance) -> T) -> T {
    INSTANCE.with_borrow_mut(work)
}

/// Begins: to be called first, and once.
#[unsafe(no_mangle)]
extern "C" fn begin() {
    // llguidance sets a hook of its own at its first call, which would keep silent.
    let _ = llguidance::panic_utils::catch_unwind(|| Ok(()));
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.to_string();
        panicked(message.as_ptr(), message.len());
    }));
}

/// Makes room for so many bytes, which the page writes before it calls what reads them. Returns where.
#[unsafe(no_mangle)]
extern "C" fn room(length: usize) -> *mut u8 {
    with(|instance| {
        instance.bytes = vec![0; length];
        instance.bytes.as_mut_ptr()
    })
}

/// Where the words of the last error are.
#[unsafe(no_mangle)]
extern "C" fn message() -> *const u8 {
    with(|instance| instance.bytes.as_ptr())
}

/// How many bytes they have.
#[unsafe(no_mangle)]
extern "C" fn message_length() -> usize {
    with(|instance| instance.bytes.len())
}

/// Takes the model's tokens, packed as `Tokens::new` has them. Returns the words of a mask.
#[unsafe(no_mangle)]
extern "C" fn set_tokens() -> i32 {
    with(|instance| {
        let tokens = Tokens::new(&std::mem::take(&mut instance.bytes));
        let words = tokens.map(|tokens| {
            instance.mask = vec![0; tokens.words()];
            instance.tokens = Some(tokens);
            instance.mask.len() as i32
        });
        instance.told(words)
    })
}

/// Compiles a grammar of a kind: 0 a JSON schema, 1 Lark, 2 a regular expression. Returns its constraint's number.
#[unsafe(no_mangle)]
extern "C" fn compile(kind: u32) -> i32 {
    with(|instance| {
        let answer = instance.compile(kind);
        instance.told(answer)
    })
}

/// A constraint for another text of the same grammar, which stands where this one does. Returns its number.
#[unsafe(no_mangle)]
extern "C" fn copy(constraint: usize) -> i32 {
    with(|instance| {
        let copied = instance.constraint(constraint).cloned().map(|copied| instance.keep(copied));
        instance.told(copied)
    })
}

/// Tells which tokens may come next, as bits from `mask` on. Returns 0 if the text may not end, 1 if it may, 2 if it must.
#[unsafe(no_mangle)]
extern "C" fn allowed(constraint: usize) -> i32 {
    with(|instance| {
        let mut mask = std::mem::take(&mut instance.mask);
        let ending = instance.constraint(constraint).and_then(|constraint| constraint.allowed(&mut mask));
        instance.mask = mask;
        let ending = ending.map(|ending| match ending {
            Ending::Never => 0,
            Ending::May => 1,
            Ending::Must => 2,
        });
        instance.told(ending)
    })
}

/// Where the bits are that `allowed` told last.
#[unsafe(no_mangle)]
extern "C" fn mask() -> *const u32 {
    with(|instance| instance.mask.as_ptr())
}

/// Takes the token that was drawn. Returns 0.
#[unsafe(no_mangle)]
extern "C" fn accept(constraint: usize, token: u32) -> i32 {
    with(|instance| {
        let answer = instance.constraint(constraint).and_then(|constraint| constraint.accept(token));
        instance.told(answer.map(|()| 0))
    })
}

/// Forgets all constraints.
#[unsafe(no_mangle)]
extern "C" fn clear() {
    with(|instance| instance.constraints.clear());
}
