//! Trains small language models on [shards](goldfish_shard) with their masks, on the CPUs of this machine.
//!
//! The model is the one that audits run ([`goldfish_backends::local`]); the result is a Hugging Face checkpoint folder, which
//! audits and Python `transformers` read. The same options give the same bytes, whatever the number of threads, and whether or
//! not the run was killed and resumed.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use std::path::Path;
//!
//! use goldfish_lab::{Length, ModelOptions, TrainEvent, TrainOptions, train};
//!
//! # fn main() -> Result<(), goldfish_lab::LabError> {
//! let options = TrainOptions {
//!     shards: vec!["masked".into()],
//!     tokenizer: Some("tokenizer.json".into()),
//!     model: ModelOptions { layers: 2, width: 128, heads: 4, ..ModelOptions::default() },
//!     length: Length::Epochs(20),
//!     ..TrainOptions::default()
//! };
//! let trained = train(&options, Path::new("model"), false, &mut |event| {
//!     if let TrainEvent::Step(step) = event {
//!         println!("{} of {}: {:.3}", step.step, step.steps, step.loss);
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! println!("{:.3} after {} supervised tokens", trained.loss, trained.supervised_tokens);
//! # Ok(())
//! # }
//! ```

mod architecture;
mod architectures;
mod batch;
mod commands;
mod copy;
pub mod corpus;
mod corrupt;
mod data;
mod demo;
mod draw;
pub mod edits;
mod error;
mod events;
mod experiment;
mod folder;
mod graph;
mod layered;
mod lora;
mod memory;
mod mixers;
mod ops;
mod optimizer;
mod options;
mod parameter;
mod preference;
mod recitation;
mod repair;
mod selection;
mod stack;
mod start;
mod sweep;
mod tape;
mod train;

pub use architecture::{Architecture, ArchitectureKind, Generation, Size, Vocabulary, logits};
pub use architectures::{ARCHITECTURES, architecture, architecture_of};
pub use batch::{Batch, Targets};
pub use copy::options::{CopyOptions, CopyResults, PromptedOptions, PromptedResults};
pub use copy::prompted::copy_prompted;
pub use copy::tasks::{CopySample, CopyShape, CopyTask};
pub use copy::{copy, copy_page_path, longest_copy};
pub use corrupt::{CorruptOptions, Corrupted, corrupt};
pub use demo::{Demo, DemoOptions, comparison, demo};
pub use error::LabError;
pub use events::{
    PairEvent, PreferenceEvent, RecitationEvent, StepEvent, TrainEvent, Trained, ValidationEvent,
};
pub use experiment::error::ExperimentError;
pub use experiment::{Event, Observe};
pub use graph::Graph;
pub use lora::adapted;
pub use memory::options::{MemoryOptions, MemoryResults};
pub use memory::{memory, memory_page_path};
pub use ops::Operation;
pub use options::{
    Documents, Length, LoraOptions, ModelOptions, OptimizerOptions, PreferenceOptions, RecitationOptions,
    TrainOptions,
};
pub use parameter::{Initial, Parameter};
pub use repair::options::{RepairMethod, RepairOptions, RepairResults};
pub use repair::{repair, repair_page_path};
pub use sweep::options::{SweepCopies, SweepOptions, SweepPart, SweepResults, SweepSelection};
pub use sweep::{page_path, sweep};
pub use tape::{Tape, Variable};
pub use train::{train, train_architecture};
