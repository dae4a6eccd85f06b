//! The one error type: a kind for programs, a message for people.

use std::fmt;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No adapter, a missing feature, a limit too small, an architecture not implemented:
    /// use another backend or model.
    Unsupported,
    /// The bytes are not what they claim to be: get another file.
    Format,
    /// Valid files that do not fit each other: choose another file.
    Mismatch,
    /// An option out of range, a prompt too long, an unknown name: fix the call.
    Argument,
    /// A fetch or a file read failed: retry.
    Network,
    /// The device was lost or refused the work: reopen it.
    Device,
    /// The memory asked for is not to be had: use something smaller.
    Memory,
    /// The caller cancelled.
    Cancelled,
}

impl ErrorKind {
    /// The lower-case name JavaScript sees as `LorakeetError.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Format => "format",
            Self::Mismatch => "mismatch",
            Self::Argument => "argument",
            Self::Network => "network",
            Self::Device => "device",
            Self::Memory => "memory",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Names the thing, then expected and got:
/// ``tensor `model.norm.weight`: shape [64], expected [128]``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// `std::result::Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {$(
        #[doc = concat!("An error of kind [`ErrorKind::", stringify!($kind), "`].")]
        pub fn $name(message: impl Into<String>) -> Self {
            Self { kind: ErrorKind::$kind, message: message.into() }
        }
    )*};
}

impl Error {
    constructors! {
        unsupported => Unsupported,
        format => Format,
        mismatch => Mismatch,
        argument => Argument,
        network => Network,
        device => Device,
        memory => Memory,
        cancelled => Cancelled,
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error with `context: ` in front of its message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
