//! Masks that documents come with.

use goldfish_remedy::{Remedy, Setting};

use crate::options::ExistingMask;
use crate::reject::RowError;

/// The label of a token that is excluded from the loss: the index that `PyTorch`'s cross entropy ignores.
const IGNORED: f64 = -100.0;

/// Appends what the loss of each token of a document is multiplied with, by the values beside its ids.
pub(crate) fn append_weights(
    existing: &ExistingMask,
    values: &[f64],
    ids: &[i32],
    weights: &mut Vec<f32>,
) -> Result<(), RowError> {
    let column = existing.column().unwrap_or_default();
    if values.len() != ids.len() {
        let (values, tokens) = (values.len(), ids.len());
        return Err(format!("column {column:?} has {values} values for {tokens} tokens").into());
    }
    for (position, (&value, &id)) in values.iter().zip(ids).enumerate() {
        let weight = match existing {
            ExistingMask::Labels { .. } => label_weight(value, id),
            ExistingMask::Mask { weights: true, .. } => any_weight(value),
            _ => mask_weight(value),
        };
        match weight {
            Ok(weight) => weights.push(weight),
            Err(RowError { reason, remedies, .. }) => {
                let reason = format!("column {column:?} has {value} at position {position}, {reason}");
                return Err(RowError::new(reason, remedies));
            }
        }
    }
    Ok(())
}

fn mask_weight(value: f64) -> Result<f32, RowError> {
    if value == 0.0 || value == 1.0 {
        return Ok(value as f32);
    }
    let remedy = Remedy::give(Setting::Columns).value("loss_weights").to("write weights");
    Err(RowError::new("where a mask has 0 or 1".into(), vec![remedy]))
}

fn any_weight(value: f64) -> Result<f32, RowError> {
    match value as f32 {
        weight if !weight.is_finite() || value < 0.0 => {
            Err("which is no weight: a finite number from 0 on".to_owned().into())
        }
        // Rounded to 0 it would exclude the token.
        weight if weight == 0.0 && value > 0.0 => {
            Err("which is too small for a float32: 0 excludes a token".to_owned().into())
        }
        weight => Ok(weight),
    }
}

fn label_weight(value: f64, id: i32) -> Result<f32, RowError> {
    match value {
        value if value == IGNORED => Ok(0.0),
        value if value == f64::from(id) => Ok(1.0),
        _ => Err(format!(
            "where the token is {id}: a label is the id of its own token, not of the next one, or -100"
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(existing: &ExistingMask, values: &[f64], ids: &[i32]) -> Result<Vec<f32>, String> {
        let mut weights = vec![7.0];
        append_weights(existing, values, ids, &mut weights).map_err(|error| error.reason)?;
        Ok(weights.split_off(1))
    }

    #[test]
    fn masks_are_0_or_1_weights_anything_from_0_on_and_labels_the_ids() {
        let mask = |weights| ExistingMask::Mask { column: "m".into(), weights };
        assert_eq!(read(&mask(false), &[0.0, 1.0], &[5, 6]).unwrap(), [0.0, 1.0]);
        let error = read(&mask(false), &[0.0, 0.5], &[5, 6]).unwrap_err();
        assert_eq!(error, "column \"m\" has 0.5 at position 1, where a mask has 0 or 1");
        assert_eq!(read(&mask(true), &[0.5, 3.0], &[5, 6]).unwrap(), [0.5, 3.0]);
        for bad in [-0.5, -1e-50, f64::NAN, f64::INFINITY, 1e300] {
            assert!(read(&mask(true), &[bad], &[5]).unwrap_err().contains("no weight"), "{bad}");
        }
        assert!(read(&mask(true), &[1e-50], &[5]).unwrap_err().contains("too small"));
        let labels = ExistingMask::Labels { column: "labels".into() };
        assert_eq!(read(&labels, &[-100.0, 6.0, 7.0], &[5, 6, 7]).unwrap(), [0.0, 1.0, 1.0]);
        let error = read(&labels, &[6.0, 7.0, -100.0], &[5, 6, 7]).unwrap_err();
        assert!(error.contains("has 6 at position 0, where the token is 5"), "{error}");
        let error = read(&labels, &[5.0], &[5, 6]).unwrap_err();
        assert_eq!(error, "column \"labels\" has 1 values for 2 tokens");
    }
}
