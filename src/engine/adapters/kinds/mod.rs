//! The kinds of adapter, a file each: the fields of `adapter_config.json` that it takes, the names of
//! its tensors, its arithmetic, and how its config is written.
//!
//! A new one is a file here and its name in the list at the end. What it makes of its tensors is an
//! [`Adapter`]: A and B, gains and shifts of modules, virtual tokens. What every kind may bring of the
//! base's own parameters, biases, norms and rows of tables, is `saved`'s.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::format::peft::{Fields, Path, Written};

use crate::engine::adapters::adapter::{Adapter, Lead, ModuleDelta};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::common::Common;
use crate::engine::adapters::tensor::Tensor;

mod virtual_tokens;

pub use virtual_tokens::VirtualTokens;

/// What a tensor is to its module, in PEFT's word for it.
pub type Role = &'static str;

/// The tensors of one module.
pub(crate) type Roles = BTreeMap<Role, Tensor>;

/// Takes the tensor `role` of `module`, which an adapter of this kind must have.
fn find(roles: &mut Roles, role: Role, module: &str) -> Result<Tensor> {
    let missing = || Error::mismatch(format!("module `{module}`: the adapter has no {role} for it"));
    roles.remove(role).ok_or_else(missing)
}

/// One kind of adapter: what only its config has.
trait Kind: Sized {
    /// Names in `peft_type`; the first is written.
    const TYPES: &'static [&'static str];
    /// Fields that served the training only, or configure what another field switches on.
    const WITHOUT_EFFECT: &'static [&'static str];
    /// Roles that make their module a targeted one.
    const ADAPTS: &'static [Role];

    /// Takes its fields, and those that not every kind has into `common`.
    fn read(fields: &mut Fields, common: &mut Common) -> Result<Self>;

    /// Writes its fields.
    fn write(&self, common: &Common, fields: &mut Written);

    /// The module and the role of one of its tensors; no module where it belongs to the whole model.
    fn place<'a>(&self, name: Path<'a>) -> Option<(&'a str, Role)>;

    /// `R` on a module, of a kind that has ranks.
    fn rank(&self, _module: &str) -> Option<usize> {
        None
    }

    /// The factor of B (A x) on a module.
    fn scale(&self, _module: &str) -> f32 {
        1.0
    }

    /// Rows of the table `module` that it replaces.
    fn token_rows(&self, _module: &str, _is_input_embedding: bool) -> Option<&[u32]> {
        None
    }

    /// Whether a tied head follows what is done to the embedding.
    fn ties(&self) -> bool {
        false
    }

    /// Its virtual tokens, from the tensors of the whole model.
    ///
    /// Errors with `Mismatch` where they are another base's, or missing.
    fn lead(&self, _base: &Base, _shared: &mut Roles) -> Result<Option<Lead>> {
        Ok(None)
    }

    /// Adds to the tensors of the whole model those that its file leaves out; `modules` have tensors.
    fn complete(&self, _base: &Base, _modules: &BTreeMap<String, Roles>, _shared: &mut Roles) -> Result<()> {
        Ok(())
    }

    /// What it does to the linear map or the embedding that `delta` names, whose tensors it takes out of
    /// `roles`; what it does to an activation goes into `adapter`.
    async fn act(
        &self,
        _base: &mut Base<'_>,
        _delta: &mut ModuleDelta,
        _roles: &mut Roles,
        _shared: &Roles,
        _adapter: &mut Adapter,
    ) -> Result<()> {
        Ok(())
    }
}

/// A module of each kind, the enum of them all, and for each item of [`Kind`] its dispatch.
macro_rules! kinds {
    ($($vis:vis $module:ident :: $kind:ident),*) => {
        $(mod $module;)*
        $($vis use $module::$kind;)*

        /// The kind of an adapter, and what only that kind has.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Method {
            $(#[doc = concat!("See [`", stringify!($kind), "`].")] $kind($kind)),*
        }

        impl Method {
            /// Every name in `peft_type` that is read.
            fn types() -> Vec<&'static str> {
                [$($kind::TYPES),*].concat()
            }

            pub(super) fn read(peft_type: &str, fields: &mut Fields, common: &mut Common) -> Result<Self> {
                $(if $kind::TYPES.contains(&peft_type) {
                    return $kind::read(fields, common).map(Self::$kind);
                })*
                Err(Error::unsupported(format!(
                    "adapter_config.json: peft_type `{peft_type}`, expected one of {}",
                    Self::types().join(", ")
                )))
            }

            /// The name in `peft_type`.
            pub fn peft_type(&self) -> &'static str {
                match self { $(Self::$kind(_) => $kind::TYPES[0]),* }
            }

            pub(super) fn without_effect(&self) -> &'static [&'static str] {
                match self { $(Self::$kind(_) => $kind::WITHOUT_EFFECT),* }
            }

            pub(super) fn adapts(&self) -> &'static [Role] {
                match self { $(Self::$kind(_) => $kind::ADAPTS),* }
            }

            pub(super) fn write(&self, common: &Common, fields: &mut Written) {
                match self { $(Self::$kind(kind) => kind.write(common, fields)),* }
            }

            pub(super) fn place<'a>(&self, name: Path<'a>) -> Option<(&'a str, Role)> {
                match self { $(Self::$kind(kind) => kind.place(name)),* }
            }

            pub(super) fn rank(&self, module: &str) -> Option<usize> {
                match self { $(Self::$kind(kind) => kind.rank(module)),* }
            }

            pub(super) fn scale(&self, module: &str) -> f32 {
                match self { $(Self::$kind(kind) => kind.scale(module)),* }
            }

            pub(super) fn token_rows(&self, module: &str, is_input_embedding: bool) -> Option<&[u32]> {
                match self { $(Self::$kind(kind) => kind.token_rows(module, is_input_embedding)),* }
            }

            pub(super) fn ties(&self) -> bool {
                match self { $(Self::$kind(kind) => kind.ties()),* }
            }

            pub(super) fn lead(&self, base: &Base, shared: &mut Roles) -> Result<Option<Lead>> {
                match self { $(Self::$kind(kind) => kind.lead(base, shared)),* }
            }

            pub(super) fn complete(
                &self,
                base: &Base,
                modules: &BTreeMap<String, Roles>,
                shared: &mut Roles,
            ) -> Result<()> {
                match self { $(Self::$kind(kind) => kind.complete(base, modules, shared)),* }
            }

            pub(super) async fn act(
                &self,
                base: &mut Base<'_>,
                delta: &mut ModuleDelta,
                roles: &mut Roles,
                shared: &Roles,
                adapter: &mut Adapter,
            ) -> Result<()> {
                match self { $(Self::$kind(kind) => kind.act(base, delta, roles, shared, adapter).await),* }
            }
        }
    };
}

kinds! {
    pub(crate) lora::Lora,
    pub(crate) ia3::Ia3,
    pub(crate) vera::Vera,
    pub prompt_tuning::PromptTuning,
    pub prefix_tuning::PrefixTuning
}
