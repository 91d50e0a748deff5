//! How many threads computations run on.

/// Has them run on so many threads, rather than one a core.
pub(crate) fn use_threads(threads: Option<u16>) -> anyhow::Result<()> {
    if let Some(threads) = threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global()?;
    }
    Ok(())
}

/// How many threads work on a corpus: so many, or one a core.
pub(crate) fn workers(threads: Option<u16>) -> usize {
    threads.map_or_else(|| std::thread::available_parallelism().map_or(1, Into::into), Into::into)
}
