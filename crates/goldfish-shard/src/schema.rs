use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float32Array, Int32Array, ListArray, RecordBatch, StringArray, UInt8Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A column on request, beyond `doc_id`, `input_ids` and `loss_mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
pub enum ExtraColumn {
    /// `list<int32>`: the token's id, or -100 where it is dropped. Aligned with the tokens, not shifted.
    Labels,
    /// `list<uint8>`: 1 for every token.
    AttentionMask,
    /// `list<uint8>`: the loss mask under the name that TRL reads.
    AssistantMasks,
    /// `list<float32>`: what the loss of the token is multiplied with: 0 where it is dropped, else the weight that it came with,
    /// or 1.
    LossWeights,
}

impl ExtraColumn {
    /// Name of the column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::AttentionMask => "attention_mask",
            Self::AssistantMasks => "assistant_masks",
            Self::LossWeights => "loss_weights",
        }
    }
}

/// File format of the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum OutputFormat {
    /// Uncompressed Arrow IPC stream, which Hugging Face `datasets` maps into memory.
    #[default]
    ArrowStream,
    /// Uncompressed Arrow IPC file, with random access to its batches.
    ArrowFile,
    /// Parquet with zstd.
    Parquet,
}

impl OutputFormat {
    /// The ending of the shards' names.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::ArrowStream | Self::ArrowFile => "arrow",
            Self::Parquet => "parquet",
        }
    }
}

/// The value of `labels` at a dropped token: the index that `PyTorch`'s cross entropy ignores.
pub(crate) const IGNORED_LABEL: i32 = -100;

/// A column of lists. It is nullable throughout, as readers such as Hugging Face `datasets` expect of their own files; no value is ever null
/// but in carried columns.
pub(crate) fn list_field(name: &str, item: DataType) -> Field {
    Field::new_list(name, Field::new_list_field(item, true), true)
}

/// The columns of a shard, in order.
#[derive(Debug, Clone)]
pub struct ShardSchema {
    schema: SchemaRef,
    extra: Vec<ExtraColumn>,
}

impl ShardSchema {
    /// The fixed columns, the requested ones, then the carried ones.
    #[must_use]
    pub fn new(extra: &[ExtraColumn], carried: &[FieldRef]) -> Self {
        let mut fields: Vec<FieldRef> = vec![
            Arc::new(Field::new("doc_id", DataType::Utf8, true)),
            Arc::new(list_field("input_ids", DataType::Int32)),
            Arc::new(list_field("loss_mask", DataType::UInt8)),
        ];
        fields.extend(extra.iter().map(|column| {
            Arc::new(match column {
                ExtraColumn::Labels => list_field(column.name(), DataType::Int32),
                ExtraColumn::AttentionMask | ExtraColumn::AssistantMasks => {
                    list_field(column.name(), DataType::UInt8)
                }
                ExtraColumn::LossWeights => list_field(column.name(), DataType::Float32),
            })
        }));
        fields.extend(carried.iter().cloned());
        Self { schema: Arc::new(Schema::new(fields)), extra: extra.to_vec() }
    }

    /// As an Arrow schema.
    #[must_use]
    pub fn arrow(&self) -> &SchemaRef {
        &self.schema
    }

    /// The requested columns.
    pub(crate) fn extra(&self) -> &[ExtraColumn] {
        &self.extra
    }

    /// Puts documents into a record batch. Document `i` is `ids[offsets[i]..offsets[i + 1]]`, its mask the
    /// same range of `mask`.
    ///
    /// # Errors
    ///
    /// If the columns don't have one value a document (or a token).
    pub fn batch(
        &self,
        doc_ids: StringArray,
        offsets: OffsetBuffer<i32>,
        ids: ScalarBuffer<i32>,
        mask: ScalarBuffer<u8>,
        carried: Vec<ArrayRef>,
    ) -> Result<RecordBatch, ArrowError> {
        self.weighted_batch(doc_ids, offsets, ids, mask, None, carried)
    }

    /// The same with what the loss of each token is multiplied with; of dropped tokens it doesn't matter.
    ///
    /// # Errors
    ///
    /// As [`batch`](Self::batch).
    pub fn weighted_batch(
        &self,
        doc_ids: StringArray,
        offsets: OffsetBuffer<i32>,
        ids: ScalarBuffer<i32>,
        mask: ScalarBuffer<u8>,
        weights: Option<&[f32]>,
        carried: Vec<ArrayRef>,
    ) -> Result<RecordBatch, ArrowError> {
        let list = |values: ArrayRef| -> Result<ArrayRef, ArrowError> {
            let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            Ok(Arc::new(ListArray::try_new(item, offsets.clone(), values, None)?))
        };
        let mut columns: Vec<ArrayRef> = vec![Arc::new(doc_ids)];
        for column in &self.extra {
            columns.push(match column {
                ExtraColumn::Labels => {
                    let label = |(&id, &keep): (&i32, &u8)| if keep == 1 { id } else { IGNORED_LABEL };
                    list(Arc::new(ids.iter().zip(&*mask).map(label).collect::<Int32Array>()))?
                }
                ExtraColumn::AttentionMask => {
                    list(Arc::new(UInt8Array::from_iter_values(std::iter::repeat_n(1, ids.len()))))?
                }
                ExtraColumn::AssistantMasks => list(Arc::new(UInt8Array::new(mask.clone(), None)))?,
                ExtraColumn::LossWeights => {
                    let weight = |(position, &keep): (usize, &u8)| match weights {
                        _ if keep == 0 => Some(0.0),
                        Some(weights) => weights.get(position).copied(),
                        None => Some(1.0),
                    };
                    list(Arc::new(mask.iter().enumerate().map(weight).collect::<Float32Array>()))?
                }
            });
        }
        let fixed =
            [list(Arc::new(Int32Array::new(ids, None)))?, list(Arc::new(UInt8Array::new(mask, None)))?];
        columns.splice(1..1, fixed);
        columns.extend(carried);
        RecordBatch::try_new(self.schema.clone(), columns)
    }
}
