//! Trains small language models on [shards](goldfish_shard) with their masks, on the processors of this machine.
//!
//! The model is the one that audits run ([`goldfish_backends::local`]); a run ends as a Hugging Face checkpoint folder, which
//! `goldfish audit --model` and Python `transformers` read. The same options give the same bytes, whatever the number of threads, and
//! whether or not the run was killed on the way.
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
pub mod corpus;
mod data;
mod demo;
mod error;
mod experiment;
mod folder;
mod graph;
mod ops;
mod optimizer;
mod options;
mod sweep;
mod train;

pub use architecture::{
    Architecture, Batch, DecoderArchitecture, Generation, Initial, Model, Parameter, Targets, Vocabulary,
};
pub use demo::{Demo, DemoOptions, comparison, demo};
pub use error::LabError;
pub use experiment::{Event, ExperimentError, Observe};
pub use options::{ArchitectureKind, Length, ModelOptions, OptimizerOptions, TrainOptions};
pub use sweep::{SweepOptions, SweepResults, page_path, sweep};
pub use train::{StepEvent, TrainEvent, Trained, ValidationEvent, train, train_architecture};
