//! What an answer must be like, whatever the protocol.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Why an answer can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResponseError {
    /// Asking again may help.
    Transient(String),
    /// Asking again won't help.
    Permanent(String),
}

impl ResponseError {
    pub(super) fn transient(reason: impl Into<String>) -> Self {
        Self::Transient(reason.into())
    }

    pub(super) fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent(reason.into())
    }
}

/// The error of an answer that is not JSON of the expected shape.
pub(super) fn malformed(error: serde_json::Error) -> ResponseError {
    ResponseError::transient(format!("the answer is not the JSON that was expected: {error}"))
}

/// One part of an answer. Valid JSON of another shape is permanent: the server always answers so.
pub(super) fn part<'a, T: Deserialize<'a>>(part: &'a RawValue) -> Result<T, ResponseError> {
    serde_json::from_str(part.get()).map_err(|error| match error.is_data() {
        true => {
            ResponseError::permanent(format!("the answer has not the fields that were expected: {error}"))
        }
        false => malformed(error),
    })
}

/// The parts of an answer, in the order of what they answer.
pub(super) fn in_order(parts: Vec<&RawValue>, asked: usize) -> Result<Vec<&RawValue>, ResponseError> {
    #[derive(Deserialize)]
    struct Indexed {
        index: usize,
    }
    if parts.len() != asked {
        return Err(ResponseError::transient(format!("{} answers came for {asked} prompts", parts.len())));
    }
    let mut ordered: Vec<Option<&RawValue>> = vec![None; asked];
    for part in parts {
        let Indexed { index } = serde_json::from_str(part.get()).map_err(malformed)?;
        match ordered.get_mut(index) {
            Some(slot @ None) => *slot = Some(part),
            Some(_) => {
                return Err(ResponseError::transient(format!(
                    "two answers came for prompt {index} of {asked}"
                )));
            }
            None => {
                return Err(ResponseError::transient(format!(
                    "an answer came for prompt {index} of {asked}"
                )));
            }
        }
    }
    Ok(ordered.into_iter().flatten().collect())
}

/// How many tokens of each sequence were evaluated, from the total over all of them.
pub(super) fn evaluated(
    total: Option<u64>,
    sent: impl Iterator<Item = usize> + Clone,
) -> impl Fn(usize) -> Option<u64> {
    let (sequences, tokens) = sent.fold((0i64, 0i64), |(n, sum), length| (n + 1, sum + length as i64));
    let more = total.map(|total| i64::try_from(total).unwrap_or(i64::MAX).saturating_sub(tokens));
    // What is added to every sequence, such as a BOS, shows in each; any other difference shows too.
    let each = more.map(|more| if more % sequences.max(1) == 0 { more / sequences.max(1) } else { more });
    move |sent| each.map(|each| (sent as i64).saturating_add(each).max(0).cast_unsigned())
}

/// A log-probability as JSON gives it: the clamp -9999 means minus infinity.
pub(super) fn log_prob(value: Option<f64>) -> Result<f64, ResponseError> {
    const CLAMP: f64 = -9999.0;
    match value {
        None => Err(ResponseError::transient("a log-probability is null")),
        Some(value) if value <= CLAMP => Ok(f64::NEG_INFINITY),
        Some(value) => Ok(value),
    }
}

/// Checks that a continuation has its length, or ended at an end of sequence, which the self-test finds.
pub(super) fn check_length(found: usize, asked: usize, reason: Option<&str>) -> Result<(), ResponseError> {
    let ended = found < asked && matches!(reason, Some("stop" | "eos"));
    if found == asked || ended {
        return Ok(());
    }
    let reason = reason.unwrap_or("no reason");
    Err(ResponseError::transient(format!("a continuation has {found} tokens instead of {asked} ({reason})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_any_order() {
        let read = |text: &str, asked| {
            let parts: Vec<&RawValue> = serde_json::from_str(text).unwrap();
            in_order(parts, asked)
                .map(|parts| parts.into_iter().map(|part| part.get().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(read(r#"[{"index":1},{"index":0}]"#, 2).unwrap(), [r#"{"index":0}"#, r#"{"index":1}"#]);
        for bad in
            [r#"[{"index":0}]"#, r#"[{"index":0},{"index":0}]"#, r#"[{"index":0},{"index":2}]"#, r#"[{},{}]"#]
        {
            assert!(matches!(read(bad, 2), Err(ResponseError::Transient(_))), "{bad}");
        }
    }

    #[test]
    fn parts_of_a_total() {
        let sent = [3usize, 5, 4];
        let parts = |total| sent.map(evaluated(total, sent.into_iter()));
        assert_eq!(parts(Some(12)), [Some(3), Some(5), Some(4)]);
        assert_eq!(parts(Some(15)), [Some(4), Some(6), Some(5)], "a BOS each");
        assert_ne!(parts(Some(13)), parts(Some(12)));
        assert_eq!(parts(None), [None; 3]);
    }
}
