//! Hugging Face checkpoint folders, run in this process.
