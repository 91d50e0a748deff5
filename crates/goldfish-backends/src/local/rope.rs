//! Rotary positions: how fast each pair of a head's elements rotates.

use std::f64::consts::PI;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::CheckpointError;
use super::settings::Settings;

/// Which elements of a head rotate together; those from `2 * pairs` on don't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    /// Elements `i` and `i + pairs`.
    Halves,
    /// Elements `2 * i` and `2 * i + 1`.
    Neighbours,
}

/// Angular speeds of the pairs, and the factor of cosine and sine.
#[derive(Debug, Clone, PartialEq)]
pub struct RotarySpeeds {
    /// Radians a position.
    pub speeds: Vec<f32>,
    /// Factor of YaRN and LongRoPE, 1 otherwise.
    pub factor: f32,
    /// What a pair is.
    pub pairs: Pairs,
}

/// Cosines and sines of positions from 0 on.
#[derive(Debug)]
pub(super) struct Angles {
    pub(super) kind: Pairs,
    pairs: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    pub(super) fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let own = position * self.pairs..(position + 1) * self.pairs;
        (&self.cos[own.clone()], &self.sin[own])
    }
}

/// Angles, computed for as many positions as were needed so far.
#[derive(Debug)]
pub(super) struct Rotary {
    speeds: RotarySpeeds,
    known: Mutex<Arc<Angles>>,
}

impl Rotary {
    pub(super) fn new(speeds: RotarySpeeds) -> Self {
        let pairs = speeds.speeds.len();
        let none = Angles { kind: speeds.pairs, pairs, cos: Vec::new(), sin: Vec::new() };
        Self { speeds, known: Mutex::new(Arc::new(none)) }
    }

    /// The angles of at least so many positions.
    pub(super) fn angles(&self, positions: usize) -> Arc<Angles> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = self.speeds.speeds.len();
        if known.cos.len() < positions * pairs {
            let positions = positions.next_power_of_two();
            // The angle is rounded as the models were trained with it: position times speed in single precision.
            let angles =
                (0..positions).flat_map(|p| self.speeds.speeds.iter().map(move |speed| p as f32 * speed));
            let (cos, sin) = angles
                .map(|angle| {
                    let (sin, cos) = f64::from(angle).sin_cos();
                    (cos as f32 * self.speeds.factor, sin as f32 * self.speeds.factor)
                })
                .unzip();
            *known = Arc::new(Angles { kind: self.speeds.pairs, pairs, cos, sin });
        }
        Arc::clone(&known)
    }
}

/// What a family rotates by, where the settings say nothing.
#[derive(Clone, Copy)]
pub(super) struct RotaryDefaults {
    pub(super) base: f64,
    /// The fraction of a head that rotates.
    pub(super) fraction: f64,
    pub(super) pairs: Pairs,
}

/// What the speeds depend on besides the settings of the rotation.
#[derive(Clone, Copy)]
pub(super) struct RotaryContext {
    pub(super) head_dim: usize,
    pub(super) context_length: usize,
    /// The context of the first training, unless the settings of the rotation give one.
    pub(super) original_context: Option<usize>,
    /// The base, unless the settings of the rotation give one.
    pub(super) base: f64,
    /// The fraction of a head that rotates, likewise.
    pub(super) fraction: f64,
    pub(super) pairs: Pairs,
}

impl RotaryDefaults {
    /// The defaults, or what the model's settings give instead.
    pub(super) fn context(
        &self,
        settings: &Settings,
        head_dim: usize,
        context_length: usize,
    ) -> Result<RotaryContext, CheckpointError> {
        let either = |key, old_key, default| -> Result<f64, CheckpointError> {
            match settings.positive(key)? {
                Some(value) => Ok(value),
                None => Ok(settings.positive(old_key)?.unwrap_or(default)),
            }
        };
        let base = either("rope_theta", "rotary_emb_base", self.base)?;
        let fraction = either("partial_rotary_factor", "rotary_pct", self.fraction)?;
        if fraction > 1.0 {
            return Err(settings.wrong("partial_rotary_factor", "must be at most 1"));
        }
        let original_context = settings.count("original_max_position_embeddings", usize::MAX)?;
        Ok(RotaryContext { head_dim, context_length, original_context, base, fraction, pairs: self.pairs })
    }
}

/// The settings of the rotation: `rope_parameters`, or `rope_scaling` as they were called before.
pub(super) fn rotary_settings(settings: &Settings) -> Result<Option<Settings>, CheckpointError> {
    match settings.object("rope_parameters")? {
        Some(rotary) => Ok(Some(rotary)),
        None => settings.object("rope_scaling"),
    }
}

/// The speeds that the settings of a rotation give.
pub(super) fn rotary_speeds(
    settings: Option<&Settings>,
    context: &RotaryContext,
) -> Result<RotarySpeeds, CheckpointError> {
    let RotaryContext { head_dim, base, fraction, pairs, .. } = *context;
    let Some(settings) = settings else { return Ok(plain(rotated(head_dim, fraction), base, pairs)) };
    let base = settings.positive("rope_theta")?.unwrap_or(base);
    let fraction = settings.positive("partial_rotary_factor")?.unwrap_or(fraction);
    if fraction > 1.0 {
        return Err(settings.wrong("partial_rotary_factor", "must be at most 1"));
    }
    let dims = rotated(head_dim, fraction);
    let plain = plain(dims, base, pairs);
    let kind = match settings.text("rope_type")? {
        Some(kind) => kind,
        None => settings.text("type")?.unwrap_or("default"),
    };
    let needed = |key| settings.positive(key)?.ok_or_else(|| settings.wrong(key, "is missing"));
    match kind {
        // Dynamic scaling begins after the context length, and longer sequences are refused.
        "default" | "dynamic" => Ok(plain),
        "linear" => {
            let factor = needed("factor")?;
            Ok(slowed(plain, |_, speed| speed / factor))
        }
        "llama3" => {
            let (factor, low, high) =
                (needed("factor")?, needed("low_freq_factor")?, needed("high_freq_factor")?);
            let original = settings
                .positive("original_max_position_embeddings")?
                .unwrap_or(context.context_length as f64);
            if high <= low {
                return Err(settings.wrong("high_freq_factor", "must be above low_freq_factor"));
            }
            Ok(slowed(plain, |_, speed| {
                let turns = original * speed / (2.0 * PI);
                let smooth = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - smooth) * speed / factor + smooth * speed
            }))
        }
        "yarn" => yarn(settings, plain, base, dims),
        "longrope" | "su" => longrope(settings, plain, context),
        _ => {
            let key = if settings.get("rope_type").is_some() { "rope_type" } else { "type" };
            Err(settings.unsupported(key, "known are default, linear, dynamic, llama3, yarn and longrope"))
        }
    }
}

/// How many elements of a head rotate.
fn rotated(head_dim: usize, fraction: f64) -> usize {
    (head_dim as f64 * fraction) as usize
}

/// Speeds of pairs of so many elements, which fall from 1 to nearly 1 over the base.
pub(super) fn plain(dims: usize, base: f64, pairs: Pairs) -> RotarySpeeds {
    let speed = |i: usize| (1.0 / base.powf((2 * i) as f64 / dims as f64)) as f32;
    // Of an odd number, the last forms a pair with the next element.
    RotarySpeeds { speeds: (0..dims.div_ceil(2)).map(speed).collect(), factor: 1.0, pairs }
}

fn slowed(rotary: RotarySpeeds, slow: impl Fn(usize, f64) -> f64) -> RotarySpeeds {
    let speeds = rotary.speeds.iter().enumerate().map(|(i, speed)| slow(i, f64::from(*speed)) as f32);
    RotarySpeeds { speeds: speeds.collect(), ..rotary }
}

/// Factors of each pair, as in "LongRoPE: Extending LLM Context Window Beyond 2 Million Tokens": those of sequences within the context of
/// the first training, which is [all that is accepted](longest).
fn longrope(
    settings: &Settings,
    plain: RotarySpeeds,
    context: &RotaryContext,
) -> Result<RotarySpeeds, CheckpointError> {
    settings.refuse("short_mscale", "known are models that compute the factor of cosine and sine")?;
    let key = "short_factor";
    let factors = settings.numbers(key)?.ok_or_else(|| settings.wrong(key, "is missing"))?;
    let pairs = plain.speeds.len();
    if factors.len() != pairs || factors.iter().any(|factor| *factor <= 0.0) {
        let reason = format!("must have {pairs} numbers above 0, one for each pair that rotates");
        return Err(settings.wrong(key, reason));
    }
    let original = original_context(settings, context)? as f64;
    let longer = settings.positive("factor")?.unwrap_or(context.context_length as f64 / original);
    let factor = match settings.positive("attention_factor")? {
        Some(factor) => factor,
        None if longer <= 1.0 => 1.0,
        None => (1.0 + longer.ln() / original.ln()).sqrt(),
    };
    let mut rotary = slowed(plain, |i, speed| speed / factors[i]);
    rotary.factor = factor as f32;
    Ok(rotary)
}

fn original_context(settings: &Settings, context: &RotaryContext) -> Result<usize, CheckpointError> {
    let key = "original_max_position_embeddings";
    let original = settings.count(key, usize::MAX)?.or(context.original_context);
    original.ok_or_else(|| settings.wrong(key, "is missing"))
}

/// The longest sequence. With LongRoPE it is the context of the first training: longer ones rotate by other factors from their first token
/// on, so that what was computed for a beginning would not hold for its continuation.
pub(super) fn longest(
    settings: Option<&Settings>,
    context: &RotaryContext,
) -> Result<usize, CheckpointError> {
    let Some(settings) = settings.filter(|settings| settings.get("short_factor").is_some()) else {
        return Ok(context.context_length);
    };
    Ok(original_context(settings, context)?.min(context.context_length))
}

/// The speeds of layers that see everything, and of those with a window: told apart by the settings, or else `whole` has the settings and
/// `windowed` none.
pub(super) fn speeds_of_kinds(
    settings: &Settings,
    whole: &RotaryContext,
    windowed: &RotaryContext,
) -> Result<Vec<RotarySpeeds>, CheckpointError> {
    let rotary = rotary_settings(settings)?;
    let of_kind = |key| rotary.as_ref().map_or(Ok(None), |rotary| rotary.object(key));
    let (of_whole, of_windowed) = match (of_kind("full_attention")?, of_kind("sliding_attention")?) {
        (None, None) => (rotary, None),
        kinds => kinds,
    };
    Ok(vec![rotary_speeds(of_whole.as_ref(), whole)?, rotary_speeds(of_windowed.as_ref(), windowed)?])
}

/// Interpolation of the slow pairs, as in "YaRN: Efficient Context Window Extension of Large Language Models".
fn yarn(
    settings: &Settings,
    plain: RotarySpeeds,
    base: f64,
    dims: usize,
) -> Result<RotarySpeeds, CheckpointError> {
    let needed = |key| settings.positive(key)?.ok_or_else(|| settings.wrong(key, "is missing"));
    let (scale, original) = (needed("factor")?, needed("original_max_position_embeddings")?);
    let fast = settings.positive("beta_fast")?.unwrap_or(32.0);
    let slow = settings.positive("beta_slow")?.unwrap_or(1.0);
    let pair_of = |turns: f64| dims as f64 * (original / (turns * 2.0 * PI)).ln() / (2.0 * base.ln());
    let (mut low, mut high) = (pair_of(fast), pair_of(slow));
    if settings.flag_or("truncate", true)? {
        (low, high) = (low.floor(), high.ceil());
    }
    let (low, mut high) = (low.max(0.0), high.min(dims as f64 - 1.0));
    if low == high {
        high += 0.001;
    }
    let mscale = |weight: f64| if scale <= 1.0 { 1.0 } else { 0.1 * weight * scale.ln() + 1.0 };
    let factor = match (
        settings.positive("attention_factor")?,
        settings.number("mscale")?,
        settings.number("mscale_all_dim")?,
    ) {
        (Some(factor), _, _) => factor,
        (None, Some(of), Some(all)) if of != 0.0 && all != 0.0 => mscale(of) / mscale(all),
        _ => mscale(1.0),
    };
    let mut rotary = slowed(plain, |i, speed| {
        let interpolated = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
        interpolated * speed / scale + (1.0 - interpolated) * speed
    });
    rotary.factor = factor as f32;
    Ok(rotary)
}
