//! The file's model as the crate's.
//! Not the crate's reader: the vocabulary is parsed once, and checked before the crate sees it.

use super::file::{Model, Vocab};
use super::vet::{check_byte_level, check_merges};
use super::{broken, unsupported};
use crate::error::Result;
use tokenizers::models::bpe::{BpeConfig, PipelineBPE};
use tokenizers::models::unigram::Unigram;
use tokenizers::pipeline::PipelineModel;

/// `byte_level`: the vocabulary is spelled in GPT-2's alphabet, as a pre-tokenizer said.
pub(super) fn build(model: Model, byte_level: bool) -> Result<PipelineModel> {
    match model.vocab {
        Vocab::List(pieces) if !byte_level => {
            let unk_id = model.unk_id.map(|id| id as usize);
            let unigram = Unigram::from(pieces, unk_id, model.byte_fallback.unwrap_or_default());
            unigram.map(PipelineModel::Unigram).map_err(broken)
        }
        Vocab::List(_) => Err(unsupported("pre_tokenizer `ByteLevel` before a Unigram model")),
        Vocab::Map(vocab) => {
            check_merges(&vocab, &model.merges.0)?;
            if byte_level {
                check_byte_level(&vocab)?;
            }
            let config = BpeConfig {
                vocab,
                merges: model.merges.0,
                byte_level,
                unk_token: model.unk_token,
                fuse_unk: model.fuse_unk.unwrap_or_default(),
                byte_fallback: model.byte_fallback.unwrap_or_default(),
                ignore_merges: model.ignore_merges.unwrap_or_default(),
                ..BpeConfig::default()
            };
            PipelineBPE::from_config(config).map(PipelineModel::BPE).map_err(broken)
        }
    }
}
