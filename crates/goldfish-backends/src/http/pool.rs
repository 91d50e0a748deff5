//! Jobs on some threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use goldfish_audit::backend::BackendError;

/// Does every job, `threads` at a time, and returns the results in the order of the jobs. The first error stops the others
/// by the flag.
pub(super) fn each<J: Sync, T: Send>(
    jobs: &[J],
    threads: usize,
    work: impl Fn(&J, &AtomicBool) -> Result<T, BackendError> + Sync,
) -> Result<Vec<T>, BackendError> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = || {
        let mut done = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(number) else { break };
            match work(job, &stop) {
                Ok(result) => done.push((number, result)),
                // Errors after the first are most likely its consequence.
                Err(error) => return if stop.swap(true, Ordering::Relaxed) { Ok(done) } else { Err(error) },
            }
        }
        Ok(done)
    };
    let finished: Vec<Result<Vec<(usize, T)>, BackendError>> = thread::scope(|scope| {
        let more = 1..threads.min(jobs.len());
        // If the system refuses threads, there are fewer: this one works too.
        let handles: Vec<_> =
            more.map_while(|_| thread::Builder::new().spawn_scoped(scope, worker).ok()).collect();
        let own = worker();
        let joined = handles.into_iter().map(|handle| match handle.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        std::iter::once(own).chain(joined).collect()
    });
    let mut all = Vec::with_capacity(jobs.len());
    for done in finished {
        all.extend(done?);
    }
    all.sort_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn order_and_errors() {
        let jobs: Vec<u64> = (0..40).collect();
        for threads in [0, 1, 3, 100] {
            let squares = each(&jobs, threads, |job, _| {
                thread::sleep(Duration::from_micros((job * 7919) % 500));
                Ok(job * job)
            });
            assert_eq!(squares.unwrap(), jobs.iter().map(|job| job * job).collect::<Vec<_>>());
            let begun = AtomicUsize::new(0);
            let failed = each(&jobs, threads, |job, stop| {
                begun.fetch_add(1, Ordering::Relaxed);
                if *job == 3 {
                    let reason = "three".into();
                    return Err(BackendError::Failed { backend: String::new(), reason, retry_after: None });
                }
                while !stop.load(Ordering::Relaxed) && *job > 3 {
                    thread::yield_now();
                }
                Ok(())
            });
            assert!(failed.unwrap_err().to_string().contains("three"));
            assert!(begun.into_inner() <= 4 + threads, "{threads}");
        }
    }
}
